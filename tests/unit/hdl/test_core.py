"""The core can be built for every corner of its parameters; what it does is tested by the cocotb benches."""

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import MAX_FRAME_JUMBO, CoreConfig
from polyrouter.hdl.core import Core
from polyrouter.hdl.layouts import REASONS


@pytest.mark.parametrize("config", [
    CoreConfig(ports=1, routers=1, data_width=32, fib_words=64, adjacencies=4, vmac_slots=16, buffer_bytes=4096,
               queue_frames=4, cell_bytes=32),
    CoreConfig(ports=3, routers=5, data_width=256, fib_words=100, adjacencies=7, max_frame=MAX_FRAME_JUMBO,
               buffer_bytes=1 << 15, cell_bytes=512, queue_frames=16),
    pytest.param(CoreConfig(ports=8, routers=1024, data_width=128, fib_words=1024), marks=pytest.mark.slow),
], ids=lambda config: f"{config.ports} ports, {config.routers} routers, {config.data_width} bits")
def test_elaborates(config):
    text = rtlil.convert(Core(config))
    rows = (config.routers + 1) * config.all_ports * REASONS
    assert f"memory width 64 size {rows}" in text, "the counters have a row for each router, port and reason"
    assert f"memory width 72 size {config.fib_words}" in text
