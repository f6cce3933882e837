"""Boards by name, and by file."""

import pytest
from polyrouter.boards.description import BoardError
from polyrouter.boards.registry import BOARD_NAMES, board_named, boards


def test_every_name_is_its_boards():
    assert tuple(board.name for board in boards()) == BOARD_NAMES


def test_a_board_that_there_is_not():
    with pytest.raises(BoardError, match="there is no board 'versa'; there are versa_ecp5, versa_ecp5_5g, "):
        board_named("versa")


@pytest.mark.parametrize("text,said", [
    (None, "there is no board file"),
    ("BOARD = 3\n", "declares no board: it needs BOARD = Board"),
    ("BOARD = \n", "can't be read: SyntaxError"),
    ("from polyrouter.boards.nowhere import BOARD\n", "can't be read: ModuleNotFoundError"),
])
def test_a_file_that_declares_none(tmp_path, text, said):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BoardError, match=said):
        board_named(str(path))


def test_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from dataclasses import replace\nfrom polyrouter.boards.ecpix5 import BOARD as OTHER\n"
                    'BOARD = replace(OTHER, name="mine")\n')
    assert board_named(str(path)).name == "mine"
