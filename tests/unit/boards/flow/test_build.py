# amaranth: UnusedElaboratable=no
"""Builds of a board as a whole: what one leaves of another in the same folder."""

import pytest
from polyrouter.boards.flow import build
from polyrouter.boards.flow.cells import Resources
from polyrouter.boards.flow.tools import FlowError
from polyrouter.boards.flow.vivado import VivadoFlow
from polyrouter.boards.hostlink import HostLinkKind
from polyrouter.boards.registry import board_named

from ..echo_top import EchoTop


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
