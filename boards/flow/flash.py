"""Loads a bitstream into a board, by openFPGALoader."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..description import Board
from ..devices import ECP5
from .bitstream import bitstream_of, vivado_project
from .tools import FlowError, Tools, find_tool

__all__ = ["flash_board"]

#: Of openFPGALoader: the board has a bootloader that takes bitstreams, and no adapter is needed.
_DFU = "--dfu"


def flash_board(board: Board, folder: Path, *, permanent: bool = False, cable: str | None = None,
                more: Sequence[str] = (), tell: Callable[[str], None] = lambda _: None) -> Path:
    """Load a board's bitstream; returns its path.

    Parameters
    ----------
    board : Board
    folder : Path
        That it was built in.
    permanent : bool
        Into the flash memory; else into the FPGA, until the power is switched off.
    cable : str or None
        JTAG adapter, by openFPGALoader's name of it; None: what the board's description says.
    more : sequence of str
        Further arguments of openFPGALoader.
    tell : callable
        Is told what is being done.

    Raises
    ------
    FlowError
        If it was not built, openFPGALoader is not installed or fails, or nobody says how it gets to the board; or if
        that is a way by which a board can be loaded permanently only.
    """
    bitstream = bitstream_of(board, folder)
    if board.figures_only:
        raise FlowError(f"{board.name} is no board, so there is nothing to load a bitstream into")
    if not bitstream.is_file():
        raise FlowError(f"there is no bitstream {bitstream}: {_advice(board, folder)}")
    way = _way(board, cable)
    if not way:
        raise FlowError(f"the description of {board.name} has no openfpgaloader, which would tell how to get to it: "
                        f"give the adapter by --cable, or load {bitstream} with the board's own tool")
    if _DFU in way and not permanent:
        raise FlowError(f"{board.name} is loaded by its bootloader, which writes the flash memory: give --permanent, "
                        "and start the bootloader (docs/boards.md, \"The boards\"); or a JTAG adapter by --cable")
    program = find_tool("openFPGALoader", "install it, for instance by apt-get install openfpgaloader")

    def line(text: str) -> None:
        if text.strip():
            tell(text.strip())

    with Tools() as tools:
        tools.run(f"loading {bitstream}", [
            program, *way, *(["--write-flash"] if permanent and _DFU not in way else []), *more,
            str(bitstream.resolve())], folder, line)
    return bitstream


def _way(board: Board, cable: str | None) -> tuple[str, ...]:
    """Arguments that tell openFPGALoader how it gets to a board."""
    known = board.openfpgaloader
    if cable is None:
        return known
    if _DFU in known:
        known = ()
    elif "--cable" in known:
        place = known.index("--cable")
        known = known[:place] + known[place + 2:]
    return (*known, "--cable", cable)


def _advice(board: Board, folder: Path) -> str:
    """How the bitstream that is missing is made."""
    build, project = f"'polyrouter board build {board.name}'", vivado_project(folder)
    if board.device.family == ECP5:
        return f"build it with {build}"
    run = f"'make -C {project}', which runs Vivado"
    return f"make it with {run}" if project.is_dir() else f"make its project with {build}, and the bitstream with {run}"
