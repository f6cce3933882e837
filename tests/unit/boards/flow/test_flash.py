"""Loading a bitstream: what openFPGALoader is told, and what is missing."""

import os
from pathlib import Path

import pytest
from polyrouter.boards.flow.flash import flash_board
from polyrouter.boards.flow.folder import building
from polyrouter.boards.flow.tools import FlowError
from polyrouter.boards.registry import board_named, boards


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


@pytest.fixture
def built(tmp_path):
    """A bitstream of a board, at the place where its build, or the Makefile that this writes, leaves it."""
    def make(board) -> Path:
        path = tmp_path / (f"{board.name}.bit" if board.device.family == "ecp5" else "vivado/top.bit")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\xff")
        return path
    return make


@pytest.mark.parametrize("permanent", [False, True])
@pytest.mark.parametrize("board", [board for board in boards() if board.openfpgaloader], ids=lambda board: board.name)
def test_what_it_is_told(tmp_path, loader, built, board, permanent):
    bitstream = built(board)
    steps = []
    assert flash_board(board, tmp_path, permanent=permanent, tell=steps.append) == bitstream
    assert loader() == [*board.openfpgaloader, *(["--write-flash"] if permanent else []), str(bitstream)]
    assert steps == ["loading 50 %"]


def test_a_build_is_not_in_the_way(tmp_path, loader, built):
    board = board_named("ecpix5")
    bitstream = built(board)
    with building(tmp_path, board.name):
        assert flash_board(board, tmp_path) == bitstream


def test_what_is_missing(tmp_path, monkeypatch, built):
    ecpix5 = board_named("ecpix5")
    with pytest.raises(FlowError, match=r"there is no bitstream .*: build it with 'polyrouter board build ecpix5'"):
        flash_board(ecpix5, tmp_path)
    built(ecpix5)
    built(board_named("butterstick"))
    with pytest.raises(FlowError, match=r"openFPGALoader doesn't know butterstick"):
        flash_board(board_named("butterstick"), tmp_path)
    with pytest.raises(FlowError, match="is no board, so there is nothing to load a bitstream into"):
        flash_board(board_named("ecp5_85f_4port"), tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FlowError, match="openFPGALoader is not installed: install it, for instance by apt-get"):
        flash_board(ecpix5, tmp_path)


def test_the_bitstream_of_a_7_series_board_is_vivados(tmp_path):
    """What is missing is named: the project, or a run of Vivado in it. A file beside the project is not it."""
    board, project = board_named("kc705_ethfmc"), tmp_path / "vivado"
    (tmp_path / "kc705_ethfmc.bit").write_bytes(b"\xff")
    missing = f"there is no bitstream {project}/top.bit: make"
    with pytest.raises(FlowError) as said:
        flash_board(board, tmp_path)
    assert str(said.value) == (f"{missing} its project with 'polyrouter board build kc705_ethfmc', and the bitstream "
                               f"with 'make -C {project}', which runs Vivado")
    project.mkdir()
    with pytest.raises(FlowError) as said:
        flash_board(board, tmp_path)
    assert str(said.value) == f"{missing} it with 'make -C {project}', which runs Vivado"
