# amaranth: UnusedElaboratable=no
# For its signature alone a core is made and not used.
"""The core can be built for every corner of its parameters; what it does is tested by the cocotb benches."""

import re

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import MAX_FRAME_JUMBO, CoreConfig
from polyrouter.hdl.core import Core
from polyrouter.hdl.gmii_core import GmiiCore
from polyrouter.hdl.layouts import REASONS
from polyrouter.hdl.memories import whole_blocks


@pytest.mark.parametrize("config", [
    CoreConfig(ports=1, routers=1, data_width=32, fib_words=64, adjacencies=4, vmac_slots=16, buffer_bytes=4096,
               queue_frames=4, cell_bytes=32),
    pytest.param(
        CoreConfig(ports=3, routers=5, data_width=256, fib_words=100, adjacencies=7, max_frame=MAX_FRAME_JUMBO,
                   buffer_bytes=1 << 15, cell_bytes=512, queue_frames=16), marks=pytest.mark.slow),
    pytest.param(CoreConfig(ports=8, routers=1024, data_width=128, fib_words=1024), marks=pytest.mark.slow),
], ids=lambda config: f"{config.ports} ports, {config.routers} routers, {config.data_width} bits")
def test_elaborates(config):
    text = rtlil.convert(Core(config))
    rows = (config.routers + 1) * config.all_ports * REASONS
    assert f"memory width 64 size {whole_blocks(rows)}" in text, "the counters: router, port, reason"
    assert f"memory width 72 size {config.fib_words}" in text


SMALL = CoreConfig(ports=1, routers=1, data_width=32, fib_words=64, adjacencies=4, vmac_slots=16, buffer_bytes=4096,
                   queue_frames=4, cell_bytes=32, clock_hz=62.5e6)
OF_A_BOARD = {"board", "host_alive", "disable"}


@pytest.mark.parametrize("kind", [Core, GmiiCore])
def test_only_with_a_board_it_has_the_boards_ports(kind):
    without, with_board = (set(kind(SMALL, has_board=has_board).signature.members) for has_board in (False, True))
    assert with_board - without == OF_A_BOARD and without < with_board


def test_with_a_board_it_elaborates():
    text = rtlil.convert(GmiiCore(SMALL, has_board=True))
    _, _, top = text.partition("attribute \\top 1\n")
    top, _, _ = top.partition("\nend\n")
    ports = set(re.findall(r"^  wire .*(?:input|output) \d+ +\\(\w+)$", top, re.MULTILINE))
    assert {"board__stb", "board__ack", "board__r_data", "host_alive", "disable"} <= ports
    # Into the core, and from there to where routers are looked up.
    for module in ("core", "core.context", "core.buffer.replicator.membership"):
        _, _, inside = text.partition(f"module \\top.{module}\n")
        assert re.search(r"^  wire .*input \d+ +\\disable$", inside.partition("\nend\n")[0],
                         re.MULTILINE), module
