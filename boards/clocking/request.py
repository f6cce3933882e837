"""What a board asks of its PLL, and what the PLLs have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FINE_STEPS", "MOST_ERROR_PPM", "Output", "PllError", "check_ranges", "divided", "error_ppm"]

#: An output is shifted in steps of an eighth of the oscillator's period, by both families' PLLs.
FINE_STEPS = 8

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


def check_ranges(cell: str, input_hz: float, outputs: Sequence[Output], inputs: tuple[float, float],
                 made: tuple[float, float]) -> None:
    """Check that a cell takes this input and makes such outputs, by their ranges in Hz.

    Raises
    ------
    PllError
        If it does not.
    """
    for what, hz, (least, most) in (("input", input_hz, inputs), *((entry.name, entry.hz, made) for entry in outputs)):
        if not least <= hz <= most:
            raise PllError(f"{what} of {hz / 1e6:g} MHz at {cell}; it takes {least / 1e6:g} to {most / 1e6:g} MHz")


def divided(vco_hz: float, outputs: Sequence[Output],
            most_divider: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Dividers of an oscillator for each output, and shifts in eighths of its period; None if there are none."""
    dividers = tuple(round(vco_hz / output.hz) for output in outputs)
    if not all(1 <= own <= most_divider and error_ppm(vco_hz / own, output.hz) <= MOST_ERROR_PPM
               for output, own in zip(outputs, dividers, strict=True)):
        return None
    shifts = tuple(output.phase / 360 * FINE_STEPS * own for output, own in zip(outputs, dividers, strict=True))
    whole = tuple(round(shift) for shift in shifts)
    return (dividers, whole) if shifts == whole else None
