"""The recipe of docs/add-a-board.md makes a board."""

import re
from pathlib import Path

import pytest
from polyrouter.boards.ecp5_top import Ecp5Top
from polyrouter.boards.flow.build import build_top
from polyrouter.boards.flow.design import board_top
from polyrouter.boards.flow.ecp5 import Ecp5Flow
from polyrouter.boards.flow.estimate import check_fit, estimate
from polyrouter.boards.flow.rtlil import read_design
from polyrouter.boards.hostlink import HostLinkChoice
from polyrouter.boards.registry import board_named

from .echo_top import EchoTop

_PAGE = Path(__file__).parents[3] / "docs" / "add-a-board.md"


@pytest.fixture
def board(tmp_path):
    text = re.search(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)[1]
    path = tmp_path / "made_up.py"
    path.write_text(text)
    return board_named(str(path))


def test_it_is_short():
    text = re.search(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)[1]
    assert len(text.splitlines()) < 60


def test_its_netlist_and_constraints(board, tmp_path):
    """The whole of it, as it goes to yosys and nextpnr."""
    config = board.config(board.host_link)
    top = Ecp5Top(board, board_top(board, config, HostLinkChoice(kind=board.host_link)))
    flow = Ecp5Flow(board, top, tmp_path, lambda _: None)
    found = estimate(read_design(flow.elaborate()), board.device.family)
    check_fit(board.name, board.device, found)
    constraints = dict(re.findall(r'FREQUENCY PORT "(\w+)" ([\d.]+) HZ', flow.constraints))
    assert {name: float(hz) for name, hz in constraints.items()} == {
        "clk50_0__io": 50e6, "eth_rgmii_0__rx_clk__io": 125e6, "eth_rgmii_1__rx_clk__io": 125e6}
    places = dict(re.findall(r'LOCATE COMP "(.+?)" SITE "(\w+)"', flow.constraints))
    assert len(places) == 1 + 2 + 2 + 2 + 2 + 2 * 12 and len(set(places.values())) == len(places)
    assert places["eth_rgmii_1__rx_data__io[3]"] == "H17" and places["eth_rgmii_0__mdio__io"] == "U18"


@pytest.mark.slow
def test_its_bitstream(board, tmp_path):
    """Around a small top level, since the whole core takes an hour; a second build takes over what is there."""
    config = board.config(board.host_link)
    folder = tmp_path / "build"
    first, second = [], []
    found = build_top(board, EchoTop(board, board.host_link), config, "uart", folder, seeds=2, tell=first.append)
    assert found.output == str(folder / "made_up.bit")
    bitstream = Path(found.output).read_bytes()
    assert b"LFE5U-45F" in bitstream[:200] and len(bitstream) > 50_000
    placement = found.placements[-1]
    assert not placement.problem and len(placement.clocks) == 4
    assert {round(clock.wanted_mhz) for clock in placement.clocks} == {50, 125}
    again = build_top(board, EchoTop(board, board.host_link), config, "uart", folder, seeds=2, tell=second.append)
    assert again == found and Path(again.output).read_bytes() == bitstream
    assert any("synthesis" in step for step in first) and not any("synthesis" in step for step in second)
    assert sorted(path.name for path in folder.iterdir()) == sorted([
        ".lock", "made_up.bit", "made_up.svf", "result.json", "synthesis",
        *(f"seed-{each.seed}" for each in found.placements)])
