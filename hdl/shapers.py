"""Token buckets of the output queues: how they fill and how they are charged."""

from amaranth.hdl import Cat, Const, Mux, Value

from .config import CoreConfig
from .layouts import RATE_FRACTION
from .queues import TOKENS, shaper_rows

__all__ = ["SWEEP_CYCLES", "capped", "charged", "full_bucket", "shaper_cycles"]

#: Cycles from the refill of one bucket to that of the next one.
SWEEP_CYCLES = 16


def shaper_cycles(config: CoreConfig) -> int:
    """Core cycles from one refill of a shaper to its next, on average (Info.SHAPER_CYCLES)."""
    return SWEEP_CYCLES * shaper_rows(config)


def full_bucket(burst: Value) -> Value:
    """Tokens of a full bucket."""
    return Cat(Const(0, RATE_FRACTION), burst)


def charged(tokens: Value, charge: Value) -> Value:
    """Tokens after a frame of ``charge`` bytes left; only the part above the fraction changes."""
    whole = tokens[RATE_FRACTION:].as_signed() - charge
    return Cat(tokens[:RATE_FRACTION], whole)[:TOKENS.width].as_signed()


def capped(tokens: Value, burst: Value) -> Value:
    """Tokens that a bucket keeps. What is above the burst runs over; below zero there is no cap."""
    return Mux(tokens > full_bucket(burst), full_bucket(burst), tokens)
