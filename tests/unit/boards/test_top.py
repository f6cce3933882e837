# amaranth: UnusedElaboratable=no
# What is refused is not used.
"""What a board's top level refuses, and how its ports are named."""

import pytest
from amaranth.back import rtlil
from polyrouter.boards.phy import phy_named
from polyrouter.boards.top import BoardTop, HostLinkChoice, HostLinkKind, TopPort
from polyrouter.hdl.config import ConfigError, CoreConfig

KEY = bytes(range(1, 17))
PHY = phy_named("88E1512")


def config(**more):
    return CoreConfig(**{"ports": 2, "routers": 2, "clock_hz": 62.5e6, **more})


def ports(count, **more):
    return [TopPort(phy=PHY, phy_address=number, **more) for number in range(count)]


def choice(kind, **more):
    return HostLinkChoice(kind=kind, **({"key": KEY} if kind == HostLinkKind.AUTHENTICATED else {}), **more)


def make(kind=HostLinkKind.UART, count=2, *, core=None, link=None, **more):
    return BoardTop("test", core or config(), ports(count), link or choice(kind), **more)


@pytest.mark.parametrize("kind, count, own", [
    (HostLinkKind.PORT, 3, set()), (HostLinkKind.AUTHENTICATED, 2, {"entropy"}),
    (HostLinkKind.UART, 2, {"uart_rxd", "uart_txd"})])
def test_members(kind, count, own):
    top = make(kind, count)
    assert set(top.signature.members) == {
        *(f"rgmii{port}" for port in range(count)), *(f"rgmii{port}_rx_clk" for port in range(count)),
        "eth_clk", "mdio0", "phy_reset0", "leds", *own}
    assert len(top.leds) == count


@pytest.mark.slow
@pytest.mark.parametrize("kind", HostLinkKind)
@pytest.mark.parametrize("core, more", [
    ({}, {"slow_speeds": False}), ({"circuits": 16, "ports": 3}, {"watchdog_disables": True, "watchdog_seconds": 2})])
def test_becomes_a_design(kind, core, more):
    """With and without 10 and 100 Mb/s, and with a port that has no wire; transmitters are reset one by one."""
    count = 2 + (kind == HostLinkKind.PORT)
    top = make(kind, count, core=config(fib_words=64, adjacencies=16, mac_rows=16, **core), **more)
    text = rtlil.convert(top, name="top")
    for port in range(count):
        assert f"\\rgmii{port}__txc" in text
        assert (f"\\eth{port}_tx_on_its_way" in text) == (port > 0)


def test_a_bus_for_each_phy():
    top = BoardTop("test", config(), [TopPort(phy=PHY, phy_address=0, mdio=bus) for bus in range(2)],
                   choice(HostLinkKind.UART))
    assert {"mdio0", "mdio1", "phy_reset0", "phy_reset1"} <= set(top.signature.members)


@pytest.mark.parametrize("kind, count, message", [
    (HostLinkKind.PORT, 2, "the core has 2 data ports with a wire, and the host has a port of its own, so the board "
                           "needs 3 RGMII ports, not 2"),
    (HostLinkKind.UART, 3, "the core has 2 data ports with a wire, so the board needs 2 RGMII ports, not 3")])
def test_ports_that_do_not_fit(kind, count, message):
    with pytest.raises(ConfigError, match=message):
        make(kind, count)


@pytest.mark.parametrize("more, message", [
    ({"core": config(data_width=32, clock_hz=30e6)}, r"carries 0.96 Gb/s, less than a port of 1 Gb/s delivers"),
    ({"link": choice(HostLinkKind.UART, baud=12_000_000)}, "a UART at 12000000 b/s needs a clock of at least 96 MHz"),
    ({"link": choice(HostLinkKind.AUTHENTICATED, port=2)}, "the host link must be on one of the ports 0 to 1, not 2"),
    ({"watchdog_seconds": -1}, "the watchdog's timeout must be 0 .off. to 1099 s, not -1"),
    ({"watchdog_seconds": 1200}, "the watchdog's timeout must be 0 .off. to 1099 s, not 1200"),
])
def test_parameters_that_do_not_fit(more, message):
    with pytest.raises(ConfigError, match=message):
        make(**more)


def test_a_gap_between_buses():
    with pytest.raises(ConfigError, match="MDIO bus 0 has no PHY, but bus 1 has: number the buses from 0 on"):
        BoardTop("test", config(), ports(2, mdio=1), choice(HostLinkKind.UART))


@pytest.mark.parametrize("more, message", [
    ({}, "needs the board's key: make a file with 'openssl rand -hex 16'"),
    ({"key": b"short"}, "must be 16 bytes that are not all zero, not 5 bytes:"),
    ({"key": bytes(16)}, "must be 16 bytes that are not all zero, not 16 bytes of zero:"),
    ({"key": KEY, "mac": "02:70:6f:6c:79"}, "must be like 02:70:6f:6c:79:01, and none of a group, not"),
    ({"key": KEY, "mac": "03:70:6f:6c:79:01"}, "must be like 02:70:6f:6c:79:01, and none of a group, not"),
])
def test_link_choices_that_do_not_fit(more, message):
    with pytest.raises(ConfigError, match=message):
        HostLinkChoice(kind=HostLinkKind.AUTHENTICATED, **more)


def test_bits_of_key_and_address():
    link = HostLinkChoice(kind=HostLinkKind.AUTHENTICATED, key=KEY, mac="02:70:6F:6c:79:09")
    assert link.key_bits.to_bytes(16, "little") == KEY
    assert link.mac_bits.to_bytes(6, "little").hex() == "02706f6c7909"
    assert HostLinkChoice(kind=HostLinkKind.UART).key_bits == 0
