"""Benchmark: how many frames a second the core forwards under cocotb, to compare the live board with."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from polyrouter.hdl.config import CoreConfig

from .cocotb_build import build_simulation, run_simulation
from .verilated.build import cache_root

__all__ = ["cocotb_frames_per_second"]


def cocotb_frames_per_second(config: CoreConfig, frames: int = 500, *, cache: Path | None = None,
                             progress: Callable[[str], None] | None = None) -> dict[str, float]:
    """Forward minimum-size frames through the core at the frame-stream boundary, driven by cocotb.

    The time is that between the first frame's way in and the last one's way out, without build and start.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    frames : int
        Frames to forward, spread over all ports.
    cache : Path
        Where builds are kept; by default in ``$POLYROUTER_CACHE``.
    progress : Callable[[str], None]
        Is told what is being done.

    Returns
    -------
    dict
        ``frames``, ``seconds``, ``cycles``, ``frames_per_second`` and ``cycles_per_second``.

    Raises
    ------
    CocotbError
        If cocotb is missing (``pip install polyrouter[test]``), or the run fails.
    """
    tell = progress or (lambda _: None)
    tell("building the cocotb simulation")
    build = build_simulation("core", config, cache or cache_root() / "cocotb")
    tell(f"forwarding {frames} frames under cocotb")
    with tempfile.TemporaryDirectory(prefix="polyrouter-cocotb-") as name:
        result = Path(name, "result.json")
        run_simulation(build, "polyrouter.sim.cocotb_bench_run", "forward", Path(name), env={
            "POLYROUTER_CONFIG": json.dumps(config.as_dict()), "POLYROUTER_FRAMES": str(frames),
            "POLYROUTER_RESULT": str(result),
        })
        return json.loads(result.read_text())
