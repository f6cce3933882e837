"""Puts figures of boards into a page: ``python -m polyrouter.host.benchmarks.boards_report PAGE FOLDER [BOARD ...]``.

What is between ``<!-- boards -->`` and ``<!-- end -->`` is made of what ``polyrouter board build NAME --all-seeds`` has
left in ``FOLDER/NAME/result.json``, and ``polyrouter bench boards --json`` in ``FOLDER/line_rate.json``; without that,
or if it can't be read, a line rate counts as not measured. All boards take hours; so if boards are named, the rows of
the others stay as they are, with the day on which they were built. What was to be built and was not has no row, and is
named as such.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from polyrouter.boards.description import Board
from polyrouter.boards.devices import ECP5
from polyrouter.boards.flow.build import BuildResult
from polyrouter.boards.flow.timing import ClockTiming
from polyrouter.boards.registry import boards

__all__ = ["Built", "boards_table", "fill_page", "rows_of"]

_SECTION = re.compile(r"(<!-- boards -->\n).*?(<!-- end -->)", re.DOTALL)
_ROW = re.compile(r"^\| `(\w+)` \|.*\|$", re.MULTILINE)
#: Parameters that the tables' sizes are, and what the columns call them.
_TABLES = {"routers": "VRs", "fib_words": "FIB words", "adjacencies": "adjacencies", "filter_rules": "filter rules",
           "mac_rows": "MAC rows", "buffer_bytes": "buffer, kB"}


@dataclass(frozen=True)
class Built:
    """What there is of a board.

    Attributes
    ----------
    result : BuildResult
    line : dict or None
        Its row of the line-rate bench; None if that was not run.
    day : date
        When it was built.
    """

    result: BuildResult
    line: dict[str, Any] | None
    day: date


def boards_table(entries: Iterable[tuple[Board, Built | None]],
                 before: Mapping[str, tuple[str, str]] = MappingProxyType({})) -> str:
    """Tables of parameters and of figures.

    Parameters
    ----------
    entries : iterable of tuple
        A board, and what it was built to, or None.
    before : mapping
        Of :func:`rows_of`: rows to be kept, of boards that were not built.
    """
    rows, missing = [], []
    for board, built in entries:
        if built:
            rows.append((_line(f"`{board.name}`", *_parameters(built.result)),
                         _line(f"`{board.name}`", *_figures(board, built))))
        elif board.name in before:
            rows.append(before[board.name])
        else:
            missing.append(f"`{board.name}`")
    lines = [_line("board", "ports for data", "host link", *_TABLES.values()), _rule(3 + len(_TABLES)),
             *(row for row, _ in rows), "",
             _line("board", "LUT", "FF", "block RAM", "DSP", "core clock, worst", "RGMII clocks, worst", "seeds",
                   "line rate", "build, min", "built on"), _rule(11), *(row for _, row in rows)]
    if missing:
        lines += ["", f"Not built for this table: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def rows_of(page: str) -> dict[str, tuple[str, str]]:
    """The rows that a page has, of parameters and of figures, by board."""
    found: dict[str, list[str]] = {}
    section = _SECTION.search(page)
    for row in _ROW.finditer(section[0] if section else ""):
        found.setdefault(row[1], []).append(row[0])
    return {name: (rows[0], rows[1]) for name, rows in found.items() if len(rows) == 2}


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _parameters(result: BuildResult) -> list[str]:
    chosen = result.parameters
    values = {name: chosen[name] for name in _TABLES}
    values["buffer_bytes"] //= 1024
    ports = chosen["ports"] - (chosen["circuits"] > 0)
    return [str(ports), result.host_link, *(f"{value:,}" for value in values.values())]


def _figures(board: Board, built: Built) -> list[str]:
    device, result = board.device, built.result
    used = [_share(result.used["luts"], device.luts), f"{result.used['registers']:,}",
            _share(result.used["block_rams"], device.block_rams), f"{result.used['dsps']:,}"]
    if device.family != ECP5:
        clocks = ["Vivado only", "Vivado only", ""]
    else:
        core_mhz = result.parameters["clock_hz"] / 1e6
        found = [clock for placement in result.placements for clock in placement.clocks]
        kept = sum(not placement.problem for placement in result.placements)
        clocks = [_worst(clock for clock in found if _is(clock, core_mhz)),
                  _worst(clock for clock in found if not _is(clock, core_mhz)),
                  f"{kept} of {len(result.placements)} keep them"]
    placing = sum(each.seconds for each in result.placements) / max(len(result.placements), 1)
    seconds = result.synthesis_seconds + placing
    return [*used, *clocks, _verdict(built.line), f"{seconds / 60:.0f}", built.day.isoformat()]


def _is(clock: ClockTiming, mhz: float) -> bool:
    """Whether a clock is one of this frequency; nextpnr gives it by a period of whole picoseconds."""
    return abs(clock.wanted_mhz - mhz) < 1e-3 * mhz


def _worst(clocks: Iterable[ClockTiming]) -> str:
    worst = min(clocks, key=lambda clock: clock.mhz / clock.wanted_mhz, default=None)
    return "" if worst is None else f"{worst.mhz:.1f} of {worst.wanted_mhz:g} MHz"


def _share(used: int, there: int) -> str:
    return f"{used:,} ({100 * used / there:.0f} %)"


def _verdict(line: dict[str, Any] | None) -> str:
    if line is None:
        return "not measured"
    kept = "yes" if line["ok"] else "**no**"
    return f"{kept}: {line['value']:.2f} of {line['bar']:.2f} Mpps"


def fill_page(page: str, table: str) -> str:
    """A page with its table anew.

    Raises
    ------
    ValueError
        If it has no place for it.
    """
    filled, count = _SECTION.subn(lambda found: found[1] + table + found[2], page)
    if count != 1:
        raise ValueError(f"there must be one place for the boards' table, <!-- boards --> to <!-- end -->, not {count}")
    return filled


def _line_rates(path: Path) -> dict[str, dict[str, Any]]:
    """Rows of the line-rate bench by board; none if there is no file, or nothing of it in the file."""
    try:
        return {row["name"]: row for row in json.loads(path.read_text())["results"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{path} has no results of 'polyrouter bench boards --json' ({type(error).__name__}: {error}): the line "
              "rates count as not measured", file=sys.stderr)
        return {}


def main(page: Path, folder: Path, *names: str) -> None:
    """Fill the table of a page from a folder of results: the rows of the boards that are named, by default all."""
    named = set(names) or {board.name for board in boards()}
    lines = _line_rates(folder / "line_rate.json")

    def built(board: Board) -> Built | None:
        path = folder / board.name / "result.json"
        if board.name not in named or not path.exists():
            return None
        return Built(BuildResult.from_dict(json.loads(path.read_text())), lines.get(board.name),
                     date.fromtimestamp(path.stat().st_mtime))

    text = page.read_text()
    kept = {name: rows for name, rows in rows_of(text).items() if name not in named}
    page.write_text(fill_page(text, boards_table([(board, built(board)) for board in boards()], kept)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
