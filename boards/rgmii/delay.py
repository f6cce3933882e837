"""Delays in nanoseconds, as taps of a delay cell."""

from math import isfinite

__all__ = ["DelayError", "delay_taps"]


class DelayError(ValueError):
    """A delay is not one that the cell can make; the message names it, its value and its range."""


def delay_taps(name: str, delay_ns: float, *, tap_ps: float, most: int, cell: str) -> int:
    """Number of taps that comes closest to a delay.

    Parameters
    ----------
    name : str
        What the delay is called, for the message.
    delay_ns : float
        Delay, ns.
    tap_ps : float
        Delay of a tap, ps.
    most : int
        Largest number of taps.
    cell : str
        Name of the cell, for the message.

    Raises
    ------
    DelayError
        If the delay is negative, no number, or more than ``most`` taps.
    """
    if isinstance(delay_ns, bool) or not isinstance(delay_ns, int | float) or not isfinite(delay_ns):
        raise DelayError(f"{name} must be a number of nanoseconds, not {delay_ns!r}")
    taps = round(delay_ns * 1000 / tap_ps)
    if delay_ns < 0 or taps > most:
        raise DelayError(f"{name} must be 0 to {most * tap_ps / 1000:g} ns ({most} taps of {tap_ps:g} ps of {cell}), "
                         f"not {delay_ns:g} ns: let the PHY make the delay, or the rest of it")
    return taps
