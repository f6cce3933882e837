"""Loading a bitstream: what openFPGALoader is told, and what is missing."""

import os

import pytest
from polyrouter.boards.flow.flash import flash_board
from polyrouter.boards.flow.tools import FlowError
from polyrouter.boards.registry import board_named


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """A program of that name, which writes its arguments down."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "openFPGALoader"
    program.write_text(f"#!/bin/sh\necho loading 50 %\necho \"$@\" > {tmp_path}/said\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: (tmp_path / "said").read_text().split()


@pytest.mark.parametrize("permanent", [False, True])
def test_what_it_is_told(tmp_path, loader, permanent):
    bitstream = tmp_path / "ecpix5.bit"
    bitstream.write_bytes(b"\xff")
    steps = []
    assert flash_board(board_named("ecpix5"), tmp_path, permanent=permanent, tell=steps.append) == bitstream
    assert loader() == ["--board", "ecpix5", *(["--write-flash"] if permanent else []), str(bitstream)]
    assert steps == ["loading 50 %"]


def test_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(FlowError, match=r"there is no bitstream .*: build it with 'polyrouter board build ecpix5'"):
        flash_board(board_named("ecpix5"), tmp_path)
    for name in "ecpix5", "butterstick":
        (tmp_path / f"{name}.bit").write_bytes(b"\xff")
    with pytest.raises(FlowError, match=r"openFPGALoader doesn't know butterstick"):
        flash_board(board_named("butterstick"), tmp_path)
    with pytest.raises(FlowError, match="is no board, so there is nothing to load a bitstream into"):
        flash_board(board_named("ecp5_85f_4port"), tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FlowError, match="openFPGALoader is not installed: install it, for instance by apt-get"):
        flash_board(board_named("ecpix5"), tmp_path)
