"""Builds a board: from its description and parameters to a bitstream, with the best of several seeds."""

import json
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import wiring
from polyrouter.hdl.config import CoreConfig

from ..description import Board, link_name
from ..devices import ECP5
from ..ecp5_top import Ecp5Top
from ..hostlink import HostLinkChoice
from ..xilinx7_top import Xilinx7Top
from .design import board_top
from .ecp5 import Ecp5Flow
from .estimate import check_fit, estimate
from .folder import building
from .placement import Placement
from .rtlil import read_design
from .tools import FlowError, Tools, stopped_by_signals
from .vivado import VivadoFlow

__all__ = ["BuildResult", "build_board", "build_top"]

#: What nextpnr calls what is used of an ECP5.
_ECP5_CELLS = {"luts": "TRELLIS_COMB", "registers": "TRELLIS_FF", "block_rams": "DP16KD", "dsps": "MULT18X18D"}


@dataclass(frozen=True)
class BuildResult:
    """A board that was built.

    Attributes
    ----------
    board, device, host_link : str
    parameters : dict
        Of the core.
    used : dict
        ``luts``, ``registers``, ``block_rams`` (of 18 kbit) and ``dsps``; of a 7-series FPGA, before packing.
    placements : tuple of Placement
        One for each seed that was tried; none for a 7-series FPGA.
    synthesis_seconds : float
    output : str
        Path of the bitstream of the best seed, or of the Vivado project; empty for an FPGA without a board.
    """

    board: str
    device: str
    host_link: str
    parameters: dict[str, Any]
    used: dict[str, int]
    placements: tuple[Placement, ...]
    synthesis_seconds: float
    output: str

    def as_dict(self) -> dict[str, Any]:
        """By attribute, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> "BuildResult":
        """What :meth:`as_dict` was made of."""
        return cls(**{**found, "placements": tuple(map(Placement.from_dict, found["placements"]))})


def build_board(board: Board, config: CoreConfig, choice: HostLinkChoice, folder: Path, *, seeds: int = 8,
                all_seeds: bool = False, jobs: int = 1, tell: Callable[[str], None] = lambda _: None) -> BuildResult:
    """Build a board: the bitstream of an ECP5, the Vivado project of a 7-series FPGA.

    Parameters
    ----------
    board : Board
    config : CoreConfig
        Of :meth:`.Board.config`.
    choice : HostLinkChoice
        Of the same kind. With a key, the folder is its owner's alone: the key is in all that is made.
    folder, seeds, all_seeds, jobs, tell
        As for :func:`build_top`.

    Raises
    ------
    ConfigError
        If the parts of the description don't fit together.
    FlowError
        If a step fails, the design can't fit, no seed keeps its timing, there is another build in the folder, or others
        can get into it although there is a key.
    """
    with building(folder, board.name, private=choice.key is not None):
        return _build(board, board_top(board, config, choice), config, link_name(choice.kind), folder, seeds, all_seeds,
                      jobs, tell)


def build_top(board: Board, inner: wiring.Component, config: CoreConfig, host_link: str, folder: Path, *,
              seeds: int = 8, all_seeds: bool = False, jobs: int = 1,
              tell: Callable[[str], None] = lambda _: None) -> BuildResult:
    """Build a board around a top level.

    Parameters
    ----------
    board : Board
    inner : BoardTop
        What has its members does.
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
    tell : callable
        Is told what is being done.

    Raises
    ------
    FlowError
        If a step fails, no seed keeps its timing, or there is another build in the folder.
    """
    with building(folder, board.name):
        return _build(board, inner, config, host_link, folder, seeds, all_seeds, jobs, tell)


def _build(board: Board, inner: wiring.Component, config: CoreConfig, host_link: str, folder: Path, seeds: int,
           all_seeds: bool, jobs: int, tell: Callable[[str], None]) -> BuildResult:
    (folder / "result.json").unlink(missing_ok=True)
    with stopped_by_signals():
        if board.device.family == ECP5:
            used, placements, seconds, output = _ecp5(board, inner, folder, seeds, all_seeds, jobs, tell)
        else:
            used, placements, seconds, output = _xilinx7(board, inner, folder, tell)
    result = BuildResult(board.name, board.device.name, host_link, config.as_dict(), used, placements, seconds, output)
    (folder / "result.json").write_text(json.dumps(result.as_dict(), indent=1))
    if placements and all(each.problem for each in placements):
        raise FlowError("\n".join([f"{board.name}: there is no placement that keeps its timing",
                                   *(f"seed {each.seed}: {each.problem}" for each in placements)]))
    return result


_Outcome = tuple[dict[str, int], tuple[Placement, ...], float, str]


def _ecp5(board: Board, inner: wiring.Component, folder: Path, seeds: int, all_seeds: bool, jobs: int,
          tell: Callable[[str], None]) -> _Outcome:
    flow = Ecp5Flow(board, Ecp5Top(board, inner), folder, tell)
    flow.forget_bitstream()
    _check_fit(board, flow.elaborate(), tell)
    flow.synthesize()
    placements = _place(flow, range(1, seeds + 1), all_seeds, jobs)
    best = max(placements, key=lambda placement: placement.margin)
    output = "" if best.problem or board.figures_only else str(flow.pack(best.seed))
    used = {name: best.used.get(kind, (0, 0))[0] for name, kind in _ECP5_CELLS.items()}
    return used, tuple(placements), flow.synthesis_seconds(), output


def _xilinx7(board: Board, inner: wiring.Component, folder: Path, tell: Callable[[str], None]) -> _Outcome:
    flow = VivadoFlow(board, Xilinx7Top(board, inner), folder, tell)
    _check_fit(board, flow.elaborate(), tell)
    project = flow.export()
    resources, seconds = flow.synthesize()
    used = {"luts": resources.luts, "registers": resources.registers, "block_rams": resources.block_rams,
            "dsps": resources.dsps}
    return used, (), seconds, str(project)


def _check_fit(board: Board, rtlil: str, tell: Callable[[str], None]) -> None:
    tell("estimating the size")
    check_fit(board.name, board.device, estimate(read_design(rtlil), board.device.family))


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
