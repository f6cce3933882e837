"""polyrouter board selftest"""

from typing import Annotated

import typer

from .board_common import HostLink, Netns, Timeout, open_board
from .common import FAILED, USAGE, Json, fail, progress, show_rows

__all__ = ["selftest"]

#: A frame that was sent has come back, or is lost, after so many times as an answer takes at most.
_ANSWERS = 4


def selftest(
    *,
    host_link: HostLink,
    netns: Netns = None,
    timeout: Timeout = 0.25,
    loop: Annotated[list[str] | None, typer.Option(
        "--loop", metavar="A:B",
        help="A cable connects ports A and B: check forwarding over it. May be repeated.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames that each check sends.")] = 64,
    force: Annotated[bool, typer.Option(
        "--force", help="Also if a router is enabled. The tables are empty afterwards in any case.")] = False,
    as_json: Json = False,
) -> None:
    """Check a board: MDIO and PHYs, the tables' memory, loop-backs, forwarding. It empties the tables."""
    from ..board.selftest.result import CheckResult, Outcome
    from ..board.selftest.run import PATIENCE, run_self_test

    cables = [_cable(text) for text in loop or ()]
    results: list[CheckResult] = []
    with open_board(host_link, netns, timeout) as driver, progress("self-test") as step:
        checks = run_self_test(driver, force=force, cables=cables, frames=frames,
                               patience=max(PATIENCE, _ANSWERS * timeout), tell=step)
        try:
            results.extend(checks)
        finally:
            checks.close()      # also on Ctrl-C: the board is left as it was, with empty tables
    show_rows("Self-test", [result.as_dict() for result in results], as_json=as_json)
    wrong = sum(result.outcome == Outcome.FAILED for result in results)
    if wrong:
        raise fail(f"{wrong} of {len(results)} checks failed", FAILED)


def _cable(text: str) -> tuple[int, int]:
    first, colon, second = text.partition(":")
    if not (colon and first.isdecimal() and second.isdecimal()):
        raise fail(f"--loop takes two ports, as in 0:1, not {text!r}", USAGE)
    return int(first), int(second)
