"""Which benches are run, with how many frames and which seeds."""

from typing import NamedTuple

from polyrouter.hdl.config import CoreConfig

__all__ = ["CONFIG", "LINKS", "LONG", "LONG_GMII", "LONG_LINKS", "LONG_OTHER", "MODULES", "OTHER_CONFIGS", "QUICK",
           "QUICK_GMII", "QUICK_LINKS", "Run"]

#: Small, so that buffers fill up and the simulation is quickly built.
CONFIG = CoreConfig(routers=4, fib_words=4096, adjacencies=256, buffer_bytes=32768, queue_frames=32)
OTHER_CONFIGS = {
    # As small as it gets at all: no two stages ahead of the look-ups work at once.
    "1port-32bit": CoreConfig(ports=1, routers=1, data_width=32, fib_words=1024, fib_rings=1, adjacencies=16,
                              mac_rows=0, vmac_cycles=2, context_words=4, hash_cycles=12, stage_registers=0),
    "8ports-128bit": CoreConfig(ports=8, routers=16, data_width=128, fib_words=8192, adjacencies=512, queue_frames=16),
    # As small as it gets for so many routers: rows are read in parts, one after the other.
    "2ports-20routers": CoreConfig(ports=2, routers=20, fib_words=4096, fib_rings=1, adjacencies=256, vmac_cycles=2,
                                   context_words=4, headers=4, slices=0, access_bits=16, buffer_bytes=32768,
                                   queue_frames=32, clock_hz=62.5e6),
    "3ports-256bit-jumbo": CoreConfig(ports=3, routers=5, data_width=256, fib_words=2048, adjacencies=64,
                                      max_frame=9018, cell_bytes=128),
}
#: With a link port; queues as long as what a frame's list has copies.
LINKS = CoreConfig(ports=5, circuits=64, routers=8, vmac_slots=1024, fib_words=8192, adjacencies=512,
                   queue_frames=64)
#: Module of each bench.
MODULES = {
    "random_traffic": "bench_random", "learning": "bench_random",
    "lengths": "bench_load", "line_rate": "bench_load", "bad_frames_back_to_back": "bench_load",
    "full_queues": "bench_load", "overload": "bench_load",
    "policing": "bench_queues", "classes": "bench_queues", "quotas": "bench_queues", "shaping": "bench_queues",
    "requests": "bench_control", "updates_under_traffic": "bench_updates",
}


class Run(NamedTuple):
    """A bench, how many frames it sends (some take no number), and its seed."""

    test: str
    frames: int
    seed: int = 1

    def __str__(self) -> str:
        return f"{self.test}-{self.frames}-{self.seed}"


#: In ``make test``: several short runs of random traffic take less time than a long one, on more than one processor.
QUICK = [
    *(Run("random_traffic", 2500, seed) for seed in range(1, 5)),
    Run("lengths", 400), Run("bad_frames_back_to_back", 200), Run("full_queues", 0), Run("overload", 300),
    Run("requests", 300), Run("updates_under_traffic", 0), Run("learning", 150), Run("policing", 300),
    Run("classes", 0), Run("quotas", 0), Run("shaping", 0),
]
QUICK_GMII = [
    Run("random_traffic", 120), Run("lengths", 300), Run("line_rate", 200), Run("bad_frames_back_to_back", 60),
    Run("updates_under_traffic", 0),
]
QUICK_LINKS = [
    *(Run("random_traffic", 800, seed) for seed in range(1, 3)), Run("requests", 200), Run("learning", 100),
]
#: Only in ``make nightly``.
LONG = [
    Run("lengths", 0),
    *(Run("random_traffic", 7500, seed) for seed in range(5, 15)),
    *(Run(test, 3000, seed) for seed in range(2, 12) for test in (
        "bad_frames_back_to_back", "full_queues", "overload", "requests", "updates_under_traffic", "learning",
        "policing", "quotas")),
]
LONG_OTHER = [Run("random_traffic", 6000, 7), *(Run(test, 1000, 7) for test in (
    "bad_frames_back_to_back", "requests", "learning"))]
LONG_LINKS = [*(Run("random_traffic", 4000, seed) for seed in range(15, 25)), Run("requests", 3000, 2),
              *(Run("learning", 1000, seed) for seed in range(2, 6))]
LONG_GMII = [
    Run("lengths", 0),
    *(Run("random_traffic", 3000, seed) for seed in range(2, 6)),
    *(Run(test, 2000, seed) for seed in range(2, 6) for test in (
        "line_rate", "bad_frames_back_to_back", "updates_under_traffic")),
]
