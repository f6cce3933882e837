"""A description is checked when it is made; what follows from it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.description import Board, BoardError, BoardPort
from polyrouter.boards.hostlink import HostLinkChoice, HostLinkKind
from polyrouter.boards.registry import BOARD_NAMES, board_named
from polyrouter.hdl.config import ConfigError

VERSA = board_named("versa_ecp5")


@given(st.sampled_from(BOARD_NAMES), st.sampled_from(HostLinkKind), st.integers(1, 64))
def test_ports_of_the_core_follow_from_the_host_link(name, kind, routers):
    board = board_named(name)
    try:
        config = board.config(kind, routers=routers)
    except BoardError as error:
        assert (kind is HostLinkKind.PORT and len(board.ports) == 1) or (kind is HostLinkKind.UART and not board.uart)
        assert "host link" in str(error)
        return
    assert config.ports == len(board.ports) - (kind is HostLinkKind.PORT)
    assert (config.routers, config.clock_hz) == (routers, board.core_hz)
    assert config.data_width * config.clock_hz >= (config.ports if board.line_rate else 1) * 1e9


def test_a_link_port_comes_on_top():
    assert VERSA.config(HostLinkKind.UART, circuits=16).wired_ports == 2


@pytest.mark.parametrize("changes,said", [
    ({"name": "Versa"}, "small letters, digits and underscores, at most 16 of them, not 'Versa'"),
    ({"name": "a_name_of_17_char"}, "at most 16 of them"),
    ({"ports": ()}, "it must have 1 to 8 ports, not 0"),
    ({"core_hz": 62.5}, "core_hz must be 20 to 250 MHz"),
    ({"core": {"ports": 2}}, "ports is no parameter to give: it follows from"),
    ({"ports": (replace(VERSA.ports[0], mdio=1),)}, "MDIO buses must be numbered from 0 on, not 1"),
    ({"ports": (VERSA.ports[0], replace(VERSA.ports[1], mdio=0))}, "two PHYs have address 0 on MDIO bus 0"),
])
def test_a_wrong_board(changes, said):
    with pytest.raises(BoardError, match=said):
        replace(VERSA, **changes)


@pytest.mark.parametrize("parameters,said", [
    ({"phy": "88E9999", "phy_address": 0}, "there is no PHY named '88E9999'"),
    ({"phy": "generic", "phy_address": 32}, "phy_address must be 0 to 31, not 32"),
    ({"phy": "RTL8211E", "phy_address": 0, "phy_rx_delay": True}, "takes its RGMII delays from its straps"),
    ({"phy": "88E1512", "phy_address": 0, "phy_tx_delay": True, "fpga_txc_delay_ns": 2}, "TXC would be delayed twice"),
])
def test_a_wrong_port(parameters, said):
    with pytest.raises(ConfigError, match=said):
        BoardPort(**parameters)


@pytest.mark.parametrize("clock,said", [("clk200", "clk200#0 does not exist, which is to be its clock"),
                                        ("rst", "has no Clock, so its frequency is not known")])
def test_a_wrong_clock(clock, said):
    with pytest.raises(BoardError, match=said):
        replace(VERSA, clock=clock).clock_hz()


@pytest.mark.parametrize("parameters,said", [({"rooters": 3}, "a core has no parameter rooters; it has access_bits, "),
                                             ({"clock_hz": 5}, "clock_hz can't be chosen"),
                                             ({"routers": 0}, "routers must be 1 to 1024")])
def test_wrong_parameters_of_the_core(parameters, said):
    with pytest.raises(ConfigError, match=said):
        VERSA.config(HostLinkKind.UART, **parameters)


def test_a_core_that_is_too_slow_for_its_ports():
    with pytest.raises(ConfigError, match="less than 2 ports of 1 Gb/s"):
        replace(VERSA, core_hz=25e6).config(HostLinkKind.UART)
    assert replace(VERSA, core_hz=25e6, line_rate=False).config(HostLinkKind.UART).clock_hz == 25e6
    with pytest.raises(ConfigError, match="less than a port of 1 Gb/s delivers"):
        replace(VERSA, core_hz=25e6, line_rate=False).config(HostLinkKind.UART, data_width=32)


def test_the_port_of_the_host_link():
    key = bytes(range(16))
    VERSA.check(HostLinkChoice(kind=HostLinkKind.AUTHENTICATED, port=1, key=key))
    with pytest.raises(BoardError, match="must be on one of the ports 0 to 1, not 2"):
        VERSA.check(HostLinkChoice(kind=HostLinkKind.AUTHENTICATED, port=2, key=key))


def test_boards_without_a_clock_or_a_name():
    class Nameless(VERSA.platform):
        default_clk = None

    with pytest.raises(BoardError, match="has no default_clk, so clock must be given"):
        replace(VERSA, platform=Nameless).clock_hz()
    with pytest.raises(TypeError, match="missing"):
        Board(name="no_ports")
