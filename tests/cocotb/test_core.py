"""The whole core in Verilator, at the frame-stream boundary."""

import pytest
from polyrouter.hdl.config import CoreConfig

#: Small, so that buffers fill up and the simulation is quickly built.
CONFIG = CoreConfig(routers=4, fib_words=4096, adjacencies=256, buffer_bytes=32768, queue_frames=32)


@pytest.mark.parametrize(("test", "frames"), [
    ("random_traffic", 600), ("every_length", 0), ("bad_frames_back_to_back", 200), ("full_queues", 0),
    ("overload", 300), ("requests", 300), ("updates_under_traffic", 0), ("learning", 150), ("policing", 300),
    ("classes", 0), ("quotas", 0), ("shaping", 0),
])
def test_core(simulate, test, frames):
    simulate("core", CONFIG, "bench_core", test, POLYROUTER_FRAMES=frames)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
@pytest.mark.parametrize("test", ["random_traffic", "bad_frames_back_to_back", "full_queues", "overload", "requests",
                                  "updates_under_traffic", "learning", "policing", "quotas"])
def test_core_long(simulate, test, seed):
    simulate("core", CONFIG, "bench_core", test, seed=seed, POLYROUTER_FRAMES=3000)


@pytest.mark.slow
@pytest.mark.parametrize("config", [
    CoreConfig(ports=1, routers=1, data_width=32, fib_words=1024, adjacencies=16),
    CoreConfig(ports=8, routers=16, data_width=128, fib_words=8192, adjacencies=512, queue_frames=16),
    CoreConfig(ports=3, routers=5, data_width=256, fib_words=2048, adjacencies=64, max_frame=9018, cell_bytes=128),
], ids=["1port-32bit", "8ports-128bit", "3ports-256bit-jumbo"])
@pytest.mark.parametrize("test", ["random_traffic", "bad_frames_back_to_back", "requests", "learning"])
def test_other_parameters(simulate, config, test):
    simulate("core", config, "bench_core", test, seed=7, POLYROUTER_FRAMES=1000)
