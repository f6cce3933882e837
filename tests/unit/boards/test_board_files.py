# amaranth: UnusedElaboratable=no
"""Boards' pins are those of the sources; each board's top level takes them, with all its clocks constrained."""

import re

import pytest
from amaranth_boards.colorlight_5a75b_r7_0 import Colorlight_5A75B_R70Platform
from amaranth_boards.genesys2 import Genesys2Platform
from amaranth_boards.kc705 import KC705Platform
from polyrouter.boards.description import BoardError
from polyrouter.boards.devices import ECP5, XILINX7, device_named
from polyrouter.boards.ecp5_top import Ecp5Top
from polyrouter.boards.hostlink import HostLinkKind
from polyrouter.boards.registry import BOARD_NAMES, board_named, boards
from polyrouter.boards.xilinx7_top import Xilinx7Top
from polyrouter.hdl.config import ConfigError

from .echo_top import EchoTop
from .ethernet_fmc_pins import BOARDS, ETHERNET_FMC_PINS

#: The same pin by the names of the FMC's table and of platforms.
_SIGNALS = {"rxc": "rx_clk", "rx_ctl": "rx_ctl", "rd": "rx_data", "txc": "tx_clk", "tx_ctl": "tx_ctl",
            "td": "tx_data"}


def pins_of(platform, name: str, number: int, pin: str) -> list[str]:
    port = platform.request(name, number, dir="-")
    return [entry.name for entry in getattr(port, pin).io.metadata]


@pytest.mark.parametrize("name", BOARDS)
def test_pins_of_the_ethernet_fmc(name):
    platform = board_named(name).platform()
    ports = [platform.request("eth_rgmii", number, dir="-") for number in range(4)]
    for signal, pins in ETHERNET_FMC_PINS.items():
        if match := re.fullmatch(r"rgmii_port_(\d)_(\w+?)(?:\[(\d)\])?", signal):
            port, pin, bit = int(match[1]), _SIGNALS[match[2]], int(match[3] or 0)
        elif match := re.fullmatch(r"mdio_io_port_(\d)_(mdc|mdio)(?:_io)?", signal):
            port, pin, bit = int(match[1]), match[2], 0
        elif match := re.fullmatch(r"reset_port_(\d)", signal):
            port, pin, bit = int(match[1]), "rst", 0
        else:
            raise AssertionError(f"{signal} is none of a port's signals")
        found = getattr(ports[port], pin).io.metadata[bit]
        assert (found.name, found.attrs["IOSTANDARD"]) == (pins[name], "LVCMOS25"), signal
    assert len(ETHERNET_FMC_PINS) == 4 * 15


def test_the_colorlights_second_port_is_that_of_its_platform():
    ours, theirs = board_named("colorlight_5a75b").platform(), Colorlight_5A75B_R70Platform()
    for number in range(2):
        one, other = (platform.request("eth_rgmii", number, dir="-") for platform in (ours, theirs))
        for pin in ("tx_clk", "tx_ctl", "tx_data", "rx_clk", "rx_ctl", "rx_data"):
            assert ([entry.name for entry in getattr(one, pin).io.metadata]
                    == [entry.name for entry in getattr(other, pin).io.metadata])
        theirs = Colorlight_5A75B_R70Platform()     # which can't give both ports, as they share pins


def test_clocks_and_lights_as_in_other_peoples_platforms():
    ours = board_named("genesys2_ethfmc").platform().request("clk", 0, dir="-")
    theirs = Genesys2Platform().request("clk", 0, dir="-")
    assert [entry.name for entry in ours.p.metadata] == [entry.name for entry in theirs.p.metadata]
    for number in range(4):
        one, other = (platform.request("led", number, dir="-") for platform in (
            board_named("kc705_ethfmc").platform(), KC705Platform()))
        assert one.io.metadata[0].name == other.io.metadata[0].name


@pytest.mark.parametrize("name", BOARD_NAMES)
def test_no_two_pins_of_a_board_are_the_same(name):
    board = board_named(name)
    platform = board.platform()
    groups = [platform.request(*board.resource_of(port), dir="-") for port in range(len(board.ports))]
    pins = [entry.name for group in groups for port in vars(group).values() for entry in port.io.metadata]
    assert len(pins) == len(set(pins))
    assert len(pins) >= len(board.ports) * 12


@pytest.mark.parametrize("board,kind", [
    *((board, board.host_link) for board in boards() if board.device.family == ECP5),
    *((board_named("versa_ecp5"), kind) for kind in HostLinkKind if kind is not board_named("versa_ecp5").host_link),
], ids=lambda value: value.name.lower())
def test_every_clock_of_an_ecp5_is_constrained_at_its_pin(board, kind):
    top = Ecp5Top(board, EchoTop(board, kind))
    plan = board.platform().build(top, name="top", do_build=False, emit_src=False, debug_verilog=False)
    constraints = dict(re.findall(r'FREQUENCY PORT "(\w+)" ([\d.]+) HZ', plan.files["top.lpf"]))
    inputs = [name for name in constraints if "rx_clk" in name]
    assert len(inputs) == len(board.ports) and all(float(constraints[name]) == 125e6 for name in inputs)
    assert {float(hz) for name, hz in constraints.items() if name not in inputs} == {board.clock_hz()}
    assert set(top.clocks()) == {"sync", "eth", *(f"rgmii{port}_rx" for port in range(len(board.ports)))}
    places = re.findall(r'LOCATE COMP "(.+?)" SITE', plan.files["top.lpf"])
    assert len(places) >= len(board.ports) * 12
    rings = plan.files["top.il"].count("cell \\LUT4")
    assert (rings > 0) == (kind is HostLinkKind.AUTHENTICATED)


@pytest.mark.parametrize("board", [board for board in boards() if board.device.family == XILINX7],
                         ids=lambda board: board.name)
def test_every_clock_of_a_7_series_fpga_is_constrained_at_its_pin(board):
    plan = board.platform().build(Xilinx7Top(board, EchoTop(board, board.host_link)), name="top", do_build=False,
                                  emit_src=False, debug_verilog=False)
    periods = dict(re.findall(r"create_clock -name (\w+) -period ([\d.]+)", plan.files["top.xdc"]))
    assert sorted(map(float, periods.values())) == [5.0, 8.0, 8.0, 8.0, 8.0]
    shifted = "CLKOUT2_PHASE" in plan.files["top.v"]
    assert shifted == any(port.fpga_txc_delay_ns for port in board.ports)
    assert plan.files["top.v"].count("LUT1") >= 26


def test_delays_that_a_7_series_fpga_has_not():
    from dataclasses import replace

    board = board_named("netfpga_1g_cml")
    wrong = replace(board, ports=(replace(board.ports[0], fpga_txc_delay_ns=1.5), *board.ports[1:]))
    with pytest.raises(BoardError, match="port 0: a 7-series FPGA delays TXC by 2 ns or not at all"):
        Xilinx7Top(wrong, EchoTop(wrong, HostLinkKind.UART))


def test_a_bus_without_pins():
    from dataclasses import replace

    board = board_named("colorlight_5a75b")
    wrong = replace(board, ports=(board.ports[0], replace(board.ports[1], mdio=1)))
    with pytest.raises(BoardError, match="no port of MDIO bus 1 has pins mdc and mdio"):
        board.platform().build(Ecp5Top(wrong, EchoTop(wrong, HostLinkKind.UART)), do_build=False)


def test_an_fpga_that_is_not_known():
    with pytest.raises(ConfigError, match="nothing is known of the FPGA 'LFE3-17'; known are LFE5U-12F, "):
        device_named("LFE3-17")
