"""Builds a board: from its description and parameters to a bitstream, with the best of several seeds."""

import json
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import wiring
from polyrouter.hdl.config import CoreConfig

from ..description import Board
from ..ecp5_top import Ecp5Top
from .ecp5 import Ecp5Flow
from .placement import Placement
from .tools import FlowError, Tools, stopped_by_signals

__all__ = ["BuildResult", "build_ecp5"]


@dataclass(frozen=True)
class BuildResult:
    """A board that was built.

    Attributes
    ----------
    board, device : str
    host_link : str
    parameters : dict
        Of the core.
    placements : tuple of Placement
        One for each seed that was tried.
    synthesis_seconds : float
    bitstream : str or None
        Path, of the best seed; None out of context.
    """

    board: str
    device: str
    host_link: str
    parameters: dict[str, Any]
    placements: tuple[Placement, ...]
    synthesis_seconds: float
    bitstream: str | None

    def as_dict(self) -> dict[str, Any]:
        """By attribute, for JSON."""
        return asdict(self)


def build_ecp5(board: Board, inner: wiring.Component, config: CoreConfig, host_link: str, folder: Path, *,
               seeds: int = 8, all_seeds: bool = False, jobs: int = 1,
               check: Callable[[str], None] = lambda _: None,
               tell: Callable[[str], None] = lambda _: None) -> BuildResult:
    """Build a board with an ECP5.

    Parameters
    ----------
    board : Board
    inner : BoardTop
        Its top level.
    config : CoreConfig
        That the top level was made with.
    host_link : str
        Its name, for the result.
    folder : Path
        For all that is made; ``result.json`` and the bitstream are in it in the end.
    seeds : int
        Placements that are tried at most: seeds 1 to this.
    all_seeds : bool
        Try them all, rather than until one keeps its timing.
    jobs : int
        Placements at once.
    check : callable
        Is given the RTLIL before it is synthesized, and raises if it can't fit.
    tell : callable
        Is told what is being done.

    Raises
    ------
    FlowError
        If a step fails, or no seed keeps its timing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with stopped_by_signals():
        flow = Ecp5Flow(board, Ecp5Top(board, inner), folder, tell)
        flow.forget_bitstream()
        check(flow.elaborate())
        flow.synthesize()
        placements = _place(flow, range(1, seeds + 1), all_seeds, jobs)
        best = max(placements, key=lambda placement: placement.margin)
        bitstream = None if best.problem or board.out_of_context else str(flow.pack(best.seed))
    result = BuildResult(board.name, board.device.name, host_link, config.as_dict(), tuple(placements),
                         flow.synthesis_seconds(), bitstream)
    (folder / "result.json").write_text(json.dumps(result.as_dict(), indent=1))
    if best.problem:
        raise FlowError("\n".join([f"{board.name}: none of {len(placements)} seeds keeps its timing",
                                   *(f"seed {each.seed}: {each.problem}" for each in placements)]))
    return result


def _place(flow: Ecp5Flow, seeds: range, all_seeds: bool, jobs: int) -> list[Placement]:
    """Placements in the order of their seeds."""
    waiting = list(seeds)
    found: list[Placement] = []
    running: dict[Future[Placement], int] = {}
    # The tools end before the pool does, which would wait for them.
    with ThreadPoolExecutor(jobs) as pool, Tools() as tools:
        while running or waiting:
            while waiting and len(running) < jobs:
                seed = waiting.pop(0)
                running[pool.submit(flow.place, seed, tools)] = seed
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                found.append(_outcome(future, running.pop(future)))
            if not all_seeds and any(not each.problem for each in found):
                break
    return sorted(found, key=lambda each: each.seed)


def _outcome(future: "Future[Placement]", seed: int) -> Placement:
    """The placement, or that there is none: another seed may have one."""
    try:
        return future.result()
    except FlowError as error:
        return Placement(seed, (), str(error), {}, 0.0)
