"""A board's top level in Verilator: cocotbext-eth's PHYs at its RGMII pins, the real driver at its host link."""

import pytest
from polyrouter.hdl.config import CoreConfig

CONFIG = CoreConfig(ports=2, routers=2, fib_words=64, adjacencies=16, buffer_bytes=8192, queue_frames=16,
                    filter_rules=4, policers=4, mac_rows=16, clock_hz=62.5e6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_host_and_traffic_on_one_port(simulate):
    simulate("rgmii_top", CONFIG, "bench_rgmii_top", "host_and_traffic_on_one_port")
