"""What place and route has made of a design with one seed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .timing import ClockTiming, TimingError, check_timing

__all__ = ["Placement", "placement_of"]

#: nextpnr's name of a look-up table.
_LUT = "TRELLIS_COMB"


@dataclass(frozen=True)
class Placement:
    """A design after place and route.

    Attributes
    ----------
    seed : int
    clocks : tuple of ClockTiming
        The one with the least to spare first; all of them, also if they are too slow.
    problem : str
        What is wrong with its timing, or why there is none; empty if nothing is.
    used : mapping of str to pair of int
        Cells of the FPGA by their kind in nextpnr: how many are used, and how many there are.
    seconds : float
        How long it took.
    """

    seed: int
    clocks: tuple[ClockTiming, ...]
    problem: str
    used: Mapping[str, tuple[int, int]]
    seconds: float

    @property
    def margin(self) -> float:
        """How many times faster than it must be the worst clock is; 0 if there is a problem."""
        return 0.0 if self.problem else self.clocks[0].mhz / self.clocks[0].wanted_mhz

    def as_dict(self) -> dict[str, Any]:
        """By attribute, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Placement":
        """What :meth:`as_dict` was made of."""
        return cls(found["seed"], tuple(ClockTiming(**clock) for clock in found["clocks"]), found["problem"],
                   {kind: (used, there) for kind, (used, there) in found["used"].items()}, found["seconds"])


def placement_of(seed: int, report: Mapping[str, Any], log: str, clocks: Mapping[str, float],
                 seconds: float, empty: int = 0) -> Placement:
    """Judge a run of nextpnr.

    Parameters
    ----------
    seed : int
    report, log, clocks
        As for :func:`.check_timing`.
    seconds : float
    empty : int
        Look-up tables that nextpnr counts as used, although they are there to stay empty.
    """
    try:
        check_timing(report, log, clocks)
        problem = ""
    except TimingError as error:
        problem = str(error)
    found = [ClockTiming(net, row["achieved"], row["constraint"]) for net, row in report["fmax"].items()]
    return Placement(seed, tuple(sorted(found, key=lambda clock: clock.mhz / clock.wanted_mhz)), problem,
                     {kind: (row["used"] - (empty if kind == _LUT else 0), row["available"])
                      for kind, row in report["utilization"].items() if row["used"]}, seconds)
