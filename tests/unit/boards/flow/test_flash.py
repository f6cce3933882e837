"""Loading a bitstream: what openFPGALoader is told, and what is missing."""

import os
from dataclasses import replace
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


def is_dfu(board) -> bool:
    return "--dfu" in board.openfpgaloader


REAL = [board for board in boards() if not board.figures_only]


@pytest.mark.parametrize("board,permanent", [
    (board, permanent) for board in REAL for permanent in (False, True) if permanent or not is_dfu(board)],
    ids=lambda value: getattr(value, "name", str(value)))
def test_what_it_is_told(tmp_path, loader, built, board, permanent):
    bitstream = built(board)
    steps = []
    assert flash_board(board, tmp_path, permanent=permanent, tell=steps.append) == bitstream
    assert loader() == [*board.openfpgaloader, *(["--write-flash"] if permanent and not is_dfu(board) else []),
                        str(bitstream)]
    assert steps == ["loading 50 %"]


@pytest.mark.parametrize("name,told", [
    ("colorlight_5a75b", ["--board", "colorlight", "--cable", "ft232"]),    # it has none of its own
    ("versa_ecp5", ["--cable", "ft232"]),                                   # instead of its own
    ("butterstick", ["--cable", "ft232"]),                                  # by JTAG, which needs no bootloader
])
def test_another_cable_and_further_arguments(tmp_path, loader, built, name, told):
    board = board_named(name)
    bitstream = built(board)
    flash_board(board, tmp_path, cable="ft232", more=["--freq", "1e6"])
    assert loader() == [*told, "--freq", "1e6", str(bitstream)]
    flash_board(board, tmp_path, cable="ft232", permanent=True)
    assert loader() == [*told, "--write-flash", str(bitstream)]


def test_what_a_bootloader_writes_stays(tmp_path, loader, built):
    """So it is not done by somebody who does not know that."""
    board = board_named("butterstick")
    built(board)
    with pytest.raises(FlowError, match=r"butterstick is loaded by its bootloader, which writes the flash memory: give "
                       r"--permanent, and start the bootloader .*; or a JTAG adapter by --cable"):
        flash_board(board, tmp_path)
    with pytest.raises(FileNotFoundError):
        loader()
    flash_board(board, tmp_path, permanent=True)
    assert loader()[:-1] == ["--dfu", "--vid", "0x1209", "--pid", "0x5af1", "--altsetting", "0"]


def test_a_board_of_which_openfpgaloader_is_told_nothing(tmp_path, loader, built):
    board = replace(board_named("ecpix5"), openfpgaloader=())
    bitstream = built(board)
    with pytest.raises(FlowError, match=r"the description of ecpix5 has no openfpgaloader, .*: give the adapter by "
                       rf"--cable, or load {bitstream} with the board's own tool"):
        flash_board(board, tmp_path)
    flash_board(board, tmp_path, cable="ft232")
    assert loader() == ["--cable", "ft232", str(bitstream)]


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
