"""Puts results into the tables of a Markdown page: ``python -m polyrouter.host.benchmarks.document PAGE FOLDER``.

What is between ``<!-- NAME -->`` and ``<!-- end -->`` is replaced by the results of ``FOLDER/NAME.json``, if there is
such a file.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["fill_tables", "table"]

_TABLE = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(result: dict[str, Any]) -> str:
    """Rows of a result as a Markdown table; the bar is left out if no row has one.

    Rows that are figures of several cores are put next to each other.
    """
    rows = result["results"]
    if all("core" in row for row in rows):
        return _side_by_side(rows)
    barred = any(row.get("bar") is not None for row in rows)
    columns = ["result", *(["bar"] if barred else []), "figure", "unit", *(["met"] if barred else [])]
    lines = [_line(columns), "|" + "---|" * len(columns)]
    for row in rows:
        bar = row.get("bar")
        met = "" if bar is None else "yes" if row["ok"] else "**no**"
        cells = [f"`{row['name']}`", *([_figure(bar)] if barred else []),
                 row["error"].splitlines()[0] if "error" in row else _figure(row["value"]), row["unit"],
                 *([met] if barred else [])]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _side_by_side(rows: list[dict[str, Any]]) -> str:
    cores = list(dict.fromkeys(row["core"] for row in rows))
    units = {row["figure"]: row["unit"] for row in rows}
    # What is part of the same figure stays together, also if not all cores have it.
    kinds = list(dict.fromkeys(figure.partition("[")[0] for figure in units))
    order = sorted(units, key=lambda figure: (kinds.index(figure.partition("[")[0]), figure.endswith("[others]")))
    values = {(row["figure"], row["core"]): row["value"] for row in rows}
    lines = [_line(["result", *cores, "unit"]), "|" + "---|" * (len(cores) + 2)]
    lines += [_line([f"`{figure}`", *(_figure(values.get((figure, core))) for core in cores), units[figure]])
              for figure in order]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"


def fill_tables(page: str, result: Callable[[str], dict[str, Any] | None]) -> str:
    """A page with its tables anew; ``result`` gives that of a name, None to leave the table as it is."""
    def replace(found: re.Match) -> str:
        new = result(found[2])
        return found[0] if new is None else found[1] + table(new) + found[3]

    return _TABLE.sub(replace, page)


def main(page: Path, folder: Path) -> None:
    """Fill the tables of a page from a folder of results."""
    def read(name: str) -> dict[str, Any] | None:
        path = folder / f"{name}.json"
        text = path.read_text() if path.exists() else ""
        return json.loads(text) if text else None

    page.write_text(fill_tables(page.read_text(), read))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
