"""The timeline of a move as a picture, drawn from its events:

    polyrouter events west --json | python -m polyrouter.host.migration.picture > move.svg

Above, its stages; below, larger, what was done while the routing stack stood still. The last move of the events is
taken.
"""

import json
import sys
from collections.abc import Iterable
from html import escape
from typing import Any

from .move import Stage

__all__ = ["draw"]

_WIDTH, _LEFT, _BAR, _GAP = 960, 150, 22, 8
_COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#777777")
_FONT = 'font-family="sans-serif" font-size="12"'
#: Steps of a step, as they are named, are shown within it only by their milliseconds.
_INNER = ": "


def draw(events: Iterable[dict[str, Any]]) -> str:
    """The picture, SVG.

    Parameters
    ----------
    events : iterable of dict
        Events of the node that the router went from.

    Raises
    ------
    ValueError
        If there is no whole move among them.
    """
    found = [event for event in events if event["what"] == "moved"]
    if not found:
        raise ValueError("these events have no move: take those of the node that a router went from")
    moved = found[-1]
    stages = [(stage.value, moved["stages_ms"][stage.value]) for stage in Stage]
    steps = [(name, value) for name, value in moved["steps_ms"].items() if _INNER not in name]
    title = (f"{moved['router']} moves to {moved['to']}: {moved['total_ms']:.0f} ms, of which its routing stack stands "
             f"still for {moved['freeze_ms']:.0f} ms, and its data plane for none")
    rows = [_text(8, 20, title, bold=True)]
    bottom = _bars(rows, 40, stages)
    rows.append(_text(8, bottom + 24, "while the routing stack stands still"))
    bottom = _bars(rows, bottom + 36, steps)
    notes = [f"{name.replace(_INNER, ', ')}: {value:.0f} ms" for name, value in moved["steps_ms"].items()
             if _INNER in name]
    rows.append(_text(8, bottom + 20, "; ".join(notes)))
    height = bottom + 34
    size = f'width="{_WIDTH}" height="{height}"'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {size}>\n'
            f'<rect {size} fill="white"/>\n' + "\n".join(rows) + "\n</svg>\n")


def _bars(rows: list[str], top: int, parts: list[tuple[str, float]]) -> int:
    """One bar below the other, each beginning where the one before ends; returns where they end."""
    total = sum(value for _, value in parts) or 1.0
    scale = (_WIDTH - _LEFT - 90) / total
    begin = 0.0
    for index, (name, value) in enumerate(parts):
        y = top + index * (_BAR + _GAP)
        x, width = _LEFT + begin * scale, max(1.0, value * scale)
        rows.append(_text(8, y + 16, name))
        rows.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" '
                    f'fill="{_COLOURS[index % len(_COLOURS)]}"/>')
        rows.append(_text(x + width + 6, y + 16, f"{value:.0f} ms"))
        begin += value
    return top + len(parts) * (_BAR + _GAP)


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" {_FONT}{weight}>{escape(text)}</text>'


def main() -> int:
    """Events by standard input, the picture by standard output."""
    try:
        sys.stdout.write(draw(json.loads(line) for line in sys.stdin if line.strip()))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
