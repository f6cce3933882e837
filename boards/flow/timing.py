"""Whether a placed and routed design keeps its clocks' constraints, each of which must have counted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["UNCONSTRAINED_MHZ", "ClockTiming", "TimingError", "check_timing"]

#: What nextpnr is told (``--freq``) to check a clock at that has no constraint: no clock of a board has this frequency,
#: so one that is checked at it was forgotten.
UNCONSTRAINED_MHZ = 11.111
#: Constraints are given in Hz and reported in MHz, as single floats.
_SAME = 1e-3
#: A line of nextpnr's log about a constraint of something that there is not.
_IGNORED = re.compile(r"^.*\bignoring (?:clock )?constraint\b.*$", re.MULTILINE | re.IGNORECASE)


class TimingError(RuntimeError):
    """A design is too slow, or it is not known whether it is; the message names each clock and what is wrong."""


@dataclass(frozen=True)
class ClockTiming:
    """A clock after place and route.

    Parameters
    ----------
    net : str
        Its name in the netlist.
    mhz : float
        The fastest that it may be.
    wanted_mhz : float
        Its constraint.
    """

    net: str
    mhz: float
    wanted_mhz: float


def check_timing(report: Mapping[str, Any], log: str, clocks: Mapping[str, float]) -> list[ClockTiming]:
    """Clocks of a design, the one with the least to spare first.

    Parameters
    ----------
    report : mapping
        Of nextpnr (``--report``), which was run with ``--freq`` :data:`UNCONSTRAINED_MHZ`.
    log : str
        Of the same run (``--log``).
    clocks : mapping of str to float
        The clocks that there must be, by a name for people, and their constraints in Hz. Several may have the same.

    Raises
    ------
    TimingError
        If nextpnr ignored a constraint, a clock has none or one that nobody asked for, a clock is missing, or one is
        too slow.
    """
    problems = [f"a constraint was ignored: {line.strip()}" for line in _IGNORED.findall(log)]
    found = [ClockTiming(net, row["achieved"], row["constraint"]) for net, row in report["fmax"].items()]
    for clock in found:
        if _same(clock.wanted_mhz, UNCONSTRAINED_MHZ):
            problems.append(f"{clock.net} has no constraint: add one where its clock comes into the chip")
        elif not any(_same(clock.wanted_mhz, hz / 1e6) for hz in clocks.values()):
            problems.append(f"{clock.net} was checked at {clock.wanted_mhz:g} MHz, which is no clock of this board: "
                            f"{_all(clocks)}")
        elif clock.mhz < clock.wanted_mhz:
            problems.append(f"{clock.net} reaches {clock.mhz:.2f} MHz of {clock.wanted_mhz:g} MHz")
    problems += _missing(found, clocks)
    if problems:
        raise TimingError("\n".join(problems))
    return sorted(found, key=lambda clock: clock.mhz / clock.wanted_mhz)


def _missing(found: list[ClockTiming], clocks: Mapping[str, float]) -> list[str]:
    """Clocks that were not checked. Nets have names of their own, so those of one frequency are counted."""
    problems = []
    for hz in dict.fromkeys(clocks.values()):
        names = [name for name, other in clocks.items() if other == hz]
        count = sum(_same(clock.wanted_mhz, hz / 1e6) for clock in found)
        if not count:
            problems += [f"no clock was checked at the {hz / 1e6:g} MHz of {name}" for name in names]
        elif count < len(names):
            problems.append(f"{count} of {len(names)} clocks were checked at {hz / 1e6:g} MHz: {', '.join(names)}")
    return problems


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * other


def _all(clocks: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {hz / 1e6:g} MHz" for name, hz in clocks.items())
