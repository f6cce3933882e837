"""What a board asks of its PLL, and what the PLLs have in common."""

from dataclasses import dataclass

__all__ = ["MOST_ERROR_PPM", "Output", "PllError", "error_ppm"]

#: How far a frequency may be off what was asked for. A transmit clock may be off by 100 ppm in all (IEEE 802.3,
#: 35.5.2.3), which the board's oscillator takes nearly all of.
MOST_ERROR_PPM = 1.0


class PllError(ValueError):
    """No setting of a PLL makes these clocks of that one; the message says what there is and what was asked for."""


@dataclass(frozen=True)
class Output:
    """A clock to be made.

    Parameters
    ----------
    name : str
        Its clock domain.
    hz : float
        Frequency, in Hz.
    phase : float
        Degrees, 0 to below 360, that it is behind the first output.
    """

    name: str
    hz: float
    phase: float = 0.0


def error_ppm(found: float, wanted: float) -> float:
    """How far a frequency is off another one, in ppm."""
    return abs(found - wanted) / wanted * 1e6
