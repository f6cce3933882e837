"""The boards by name."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from .description import Board, BoardError

__all__ = ["BOARD_NAMES", "board_named", "boards"]

#: Each is a module of this folder with a :class:`.Board` by the name of ``BOARD``.
BOARD_NAMES = (
    "versa_ecp5", "versa_ecp5_5g", "colorlight_5a75b", "ecpix5", "butterstick", "ecp5_85f_4port",
    "netfpga_1g_cml", "kc705_ethfmc", "ac701_ethfmc", "genesys2_ethfmc",
)


def board_named(name: str) -> Board:
    """A board by its name, or by the path of a board file, which ends in ``.py``.

    Raises
    ------
    BoardError
        If there is none, or the file declares none.
    """
    if name.endswith(".py"):
        return _of_file(Path(name))
    if name not in BOARD_NAMES:
        raise BoardError(f"there is no board {name!r}; there are {', '.join(BOARD_NAMES)}. A board of your own is a "
                         "file that ends in .py; see docs/add-a-board.md")
    return import_module(f".{name}", __package__).BOARD


def boards() -> Iterator[Board]:
    """All boards that have a name."""
    return map(board_named, BOARD_NAMES)


def _of_file(path: Path) -> Board:
    if not path.is_file():
        raise BoardError(f"there is no board file {path}")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None     # what ends in .py has a loader
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, TypeError) as error:
        raise BoardError(f"the board file {path} can't be read: {type(error).__name__}: {error}") from error
    board = getattr(module, "BOARD", None)
    if not isinstance(board, Board):
        raise BoardError(f"the board file {path} declares no board: it needs BOARD = Board(...)")
    return board
