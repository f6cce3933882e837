"""MAC alone in Verilator, with cocotbext-eth at its GMII; the whole core has the same MACs."""

import pytest
from polyrouter.hdl.config import CoreConfig

CONFIG = CoreConfig(data_width=64, clock_hz=62.5e6)


@pytest.mark.slow
@pytest.mark.parametrize("test", ["lengths_both_ways", "short_frames_are_padded", "bad_frames_between_good_ones"])
def test_mac(simulate, test):
    simulate("mac", CONFIG, "bench_mac", test)
