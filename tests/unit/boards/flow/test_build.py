# amaranth: UnusedElaboratable=no
"""Builds of a board as a whole: what one leaves of another in the same folder."""

import stat

import pytest
from polyrouter.boards.flow import build
from polyrouter.boards.flow.cells import Resources
from polyrouter.boards.flow.tools import FlowError
from polyrouter.boards.flow.vivado import VivadoFlow
from polyrouter.boards.hostlink import HostLinkChoice, HostLinkKind
from polyrouter.boards.registry import board_named

from ..echo_top import EchoTop

KEY = bytes(range(0x41, 0x51))


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Builds a 7-series board with a small top level into a folder, without yosys' figures."""
    monkeypatch.setattr(VivadoFlow, "synthesize", lambda *_: (Resources(1, 1, 1, 1, {}, {}), 1.0))

    def make(kind: HostLinkKind = HostLinkKind.UART) -> build.BuildResult:
        board = board_named("netfpga_1g_cml")
        return build.build_top(board, EchoTop(board, kind), board.config(kind), "some", tmp_path / "made")
    return make


def test_what_vivado_has_made_of_a_project_stays_with_it(built, tmp_path):
    """Until the project is another one: then it would be of something else."""
    project = tmp_path / "made" / "vivado"
    assert built().output == str(project)
    times = {path.name: path.stat().st_mtime_ns for path in project.iterdir()}
    (project / "top.bit").write_text("of hours")
    (project / ".Xil").mkdir()
    assert built().output == str(project)
    assert (project / "top.bit").read_text() == "of hours" and (project / ".Xil").is_dir()
    # Nor does make think that it must be made anew.
    assert {name: (project / name).stat().st_mtime_ns for name in times} == times
    built(HostLinkKind.AUTHENTICATED)
    assert {path.name for path in project.iterdir()} == set(times)
    assert "COMBINATORIAL" in (project / "top.tcl").read_text()


def test_a_core_that_is_refused_leaves_the_project_of_another(built, tmp_path, monkeypatch):
    def refuse(*_):
        raise FlowError("too large")

    project = tmp_path / "made" / "vivado"
    built()
    (project / "top.bit").write_text("of hours")
    before = {path.name: path.read_bytes() for path in project.iterdir()}
    monkeypatch.setattr(build, "check_fit", refuse)
    with pytest.raises(FlowError, match="too large"):
        built(HostLinkKind.AUTHENTICATED)
    assert {path.name: path.read_bytes() for path in project.iterdir()} == before


@pytest.mark.parametrize("kind,mode", [(HostLinkKind.AUTHENTICATED, 0o700), (HostLinkKind.UART, 0o755)])
def test_with_a_key_nobody_else_reads_what_is_built(tmp_path, monkeypatch, kind, mode):
    """From the first file on: the key is in RTLIL, Verilog, netlists and bitstream."""
    def first_file(*_):
        raise FlowError(f"{stat.S_IMODE(tmp_path.stat().st_mode):o}")

    tmp_path.chmod(0o755)
    monkeypatch.setattr(build, "board_top", first_file)
    board = board_named("versa_ecp5")
    choice = HostLinkChoice(kind=kind, key=KEY if kind == HostLinkKind.AUTHENTICATED else None)
    with pytest.raises(FlowError, match=f"^{mode:o}$"):
        build.build_board(board, board.config(kind), choice, tmp_path)


def test_the_figures_of_a_build_do_not_have_the_key(tmp_path, monkeypatch):
    """Nor has what it is told; a traceback or a log has what a choice is shown as."""
    monkeypatch.setattr(VivadoFlow, "synthesize", lambda *_: (Resources(1, 1, 1, 1, {}, {}), 1.0))
    monkeypatch.setattr(build, "board_top", lambda board, _, choice: EchoTop(board, choice.kind))
    board, kind, said = board_named("netfpga_1g_cml"), HostLinkKind.AUTHENTICATED, []
    choice = HostLinkChoice(kind=kind, key=KEY)
    result = build.build_board(board, board.config(kind), choice, tmp_path, tell=said.append)
    shown = [repr(choice), str(choice), repr(result), (tmp_path / "result.json").read_text(), *said]
    assert not [text for text in shown for key in (KEY.hex(), repr(KEY)[2:-1], str(choice.key_bits)) if key in text]
    assert "AUTHENTICATED" in repr(choice)
