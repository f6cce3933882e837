"""Rates as people know them, and as the registers of policers and shapers have them."""

from dataclasses import dataclass

from polyrouter.hdl.layouts import MAC_AGES, POLICER_ROW, RATE_FRACTION, SHAPER_ROW

__all__ = ["LARGEST_BURST", "LEAST_BURST", "LEAST_RATE", "LINE_RATE", "RateError", "Rates", "format_rate"]

#: Bits a second that may be asked for.
LEAST_RATE, LINE_RATE = 64_000, 1_000_000_000
#: As a burst: the smallest bucket that does, which keeps the rate from the first frame on.
LEAST_BURST = 0
#: Size of the largest bucket, in bytes.
LARGEST_BURST = (1 << POLICER_ROW["burst"].width) - 1
#: Where no burst is asked for, a bucket holds what comes in so many seconds.
_POLICER_SECONDS, _SHAPER_SECONDS = 0.02, 0.004
#: With a smaller register the rate would be off by more than 1 %.
_LEAST_REGISTER = 50


class RateError(ValueError):
    """The board can't do this rate, or not with this burst; the message says what it can.

    Attributes
    ----------
    found, expected : str
        The two parts of the message.
    """

    def __init__(self, found: str, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(f"{found}; this board can do {expected}")


def format_rate(rate: float) -> str:
    """Bits a second for people, e.g. ``10M``."""
    for unit, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if rate >= factor:
            return f"{rate / factor:.4g}{unit}"
    return f"{rate:.4g}"


@dataclass(frozen=True)
class Rates:
    """How a board counts time.

    Parameters
    ----------
    clock_hz : float
        Core clock (``Info.CLOCK_HZ``).
    policer_cycles, shaper_cycles : int
        Cycles from one refill of a bucket to its next (``Info.POLICER_CYCLES``, ``Info.SHAPER_CYCLES``).
    max_frame : int
        Longest frame, with FCS.
    """

    clock_hz: float
    policer_cycles: int
    shaper_cycles: int
    max_frame: int

    def policer(self, rate: int, burst: int | None = None) -> tuple[int, int]:
        """Registers ``rate`` and ``burst`` of a policer of so many bits a second.

        Raises
        ------
        RateError
            If the board can't do it. A bucket that does not hold the longest frame and a refill would let less than
            its rate pass.
        """
        return self._bucket(rate, burst, self.policer_cycles, POLICER_ROW["rate"].width, self.max_frame,
                            _POLICER_SECONDS)

    def shaper(self, rate: int, burst: int | None = None) -> tuple[int, int]:
        """Registers ``rate`` and ``burst`` of a shaper. Its bucket may go below zero, so it only has to hold a refill.

        Raises
        ------
        RateError
            If the board can't do it.
        """
        return self._bucket(rate, burst, self.shaper_cycles, SHAPER_ROW["rate"].width, 0, _SHAPER_SECONDS)

    def policer_bits(self, register: int) -> float:
        """Bits a second of a policer's register."""
        return self._bits(register, self.policer_cycles)

    def shaper_bits(self, register: int) -> float:
        """Bits a second of a shaper's register."""
        return self._bits(register, self.shaper_cycles)

    def mac_age_cycles(self, seconds: float) -> int:
        """Register ``MAC_AGE_CYCLES`` for addresses that are forgotten after so long; they age in steps."""
        return max(1, round(seconds * self.clock_hz / MAC_AGES)) if seconds else 0

    def _bucket(self, rate: int, burst: int | None, cycles: int, width: int, frame: int, seconds: float
                ) -> tuple[int, int]:
        register = round(rate / 8 * cycles / self.clock_hz * (1 << RATE_FRACTION))
        if not _LEAST_REGISTER <= register < 1 << width:
            most, least = self._bits((1 << width) - 1, cycles), self._bits(_LEAST_REGISTER, cycles)
            raise RateError(f"{format_rate(rate)} bit/s", f"{format_rate(least)} to {format_rate(most)} bit/s")
        least_burst = frame + -(-register >> RATE_FRACTION)
        if burst == LEAST_BURST:
            burst = least_burst
        elif burst is None:
            burst = min(LARGEST_BURST, max(2 * self.max_frame, least_burst, round(rate / 8 * seconds)))
        if not least_burst <= burst <= LARGEST_BURST:
            raise RateError(f"a burst of {burst} bytes at {format_rate(rate)} bit/s",
                            f"{least_burst} to {LARGEST_BURST} bytes")
        return register, burst

    def _bits(self, register: int, cycles: int) -> float:
        return register / (1 << RATE_FRACTION) * 8 * self.clock_hz / cycles
