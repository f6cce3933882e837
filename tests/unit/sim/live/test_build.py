"""Builds of live boards: cached, once for callers in parallel, and with errors that say what failed."""

import threading

import pytest
from amaranth.hdl import Fragment
from polyrouter.hdl.config import CoreConfig
from polyrouter.sim.live.build import BuildError, build_board, compile_board, write_verilog
from polyrouter.sim.verilated import build
from polyrouter.sim.verilated.build import Harness
from polyrouter.sim.verilated.top import StreamTop

from .crossbar import Crossbar

SMALL = CoreConfig(ports=2, routers=1, fib_words=64, adjacencies=4)


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Configurations that were compiled, with a compiler that only leaves a file."""
    calls = []

    def compile_nothing(_, top, config, directory, **options):
        Fragment.get(top, None)     # or Amaranth warns of a component that was never elaborated
        calls.append((config, options["macs"], options["trace"]))
        (directory / "board").write_text("")

    monkeypatch.setenv("POLYROUTER_CACHE", str(tmp_path))
    monkeypatch.setattr(Harness, "compile", compile_nothing)
    return calls


def test_what_was_built_is_kept(compiled):
    first = build_board(SMALL)
    assert first.exists()
    assert build_board(SMALL) == first
    assert len(compiled) == 1
    others = {build_board(SMALL, macs=True), build_board(SMALL, trace=True), build_board(CoreConfig(ports=3))}
    assert len({first, *others}) == 4 == len(compiled)


def test_each_optimization_has_a_build_of_its_own(compiled, monkeypatch):
    monkeypatch.delenv("POLYROUTER_OPTIMIZE", raising=False)
    usual = build_board(SMALL)
    monkeypatch.setenv("POLYROUTER_OPTIMIZE", "-O2")
    assert build_board(SMALL) == usual
    monkeypatch.setenv("POLYROUTER_OPTIMIZE", "-O0")
    assert build_board(SMALL) != usual
    assert len(compiled) == 2


def test_callers_in_parallel_build_once(compiled):
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(build_board(SMALL))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4 and len(set(paths)) == 1
    assert len(compiled) == 1


def test_a_build_that_fails_leaves_nothing(compiled, monkeypatch, tmp_path):
    def fail(_, top, config, directory, **options):
        Fragment.get(top, None)
        (directory / "half").write_text("")
        raise BuildError("make failed")

    with monkeypatch.context() as patch:
        patch.setattr(Harness, "compile", fail)
        with pytest.raises(BuildError):
            build_board(SMALL)
    assert [path.suffix for path in (tmp_path / "boards").iterdir()] == [".lock"]
    assert build_board(SMALL).exists()


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("POLYROUTER_CACHE", str(tmp_path))
    with pytest.raises(BuildError, match=r"g\+\+ is not installed"):
        build_board(SMALL)


def test_a_step_that_fails_shows_its_output(monkeypatch, tmp_path):
    top = StreamTop(Crossbar(SMALL), SMALL)
    broken = build._verilog(top) + "nonsense\n"
    monkeypatch.setattr(build, "_verilog", lambda _: broken)
    with pytest.raises(BuildError, match=r"Verilator failed:(?s:.*)syntax error"):
        compile_board(top, SMALL, tmp_path)


def test_only_zeros_of_memories_are_left_out():
    text = ("  initial begin\n    memory[0] = 8'h00;\n    memory[1] = 8'h2a;\n    memory[2] = 8'h00;\n  end\n"
            "  always @* begin\n    bus[3] = 1'h0;\n  end\n")
    assert build._without_zeros(text) == ("  initial begin\n    memory[1] = 8'h2a;\n  end\n"
                                          "  always @* begin\n    bus[3] = 1'h0;\n  end\n")


def test_write_verilog(tmp_path):
    write_verilog(SMALL, tmp_path / "core.v")
    text = (tmp_path / "core.v").read_text()
    assert "module core(" in text
    assert "host_rx__payload" in text
