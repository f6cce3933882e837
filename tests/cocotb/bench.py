"""What the benches of the core share."""

import json
import os
from collections.abc import Mapping
from random import Random

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason
from polyrouter.sim.cocotb_board import CocotbBoard
from polyrouter.sim.frames import RxFrame, ethernet, ipv4
from polyrouter.sim.tablegen import RouterSetup

from .coverage import reached_by

__all__ = ["FRAMES", "GMII", "assert_reached", "config", "packet", "rng", "start", "unreached"]

GMII = os.environ["POLYROUTER_TOP"] == "gmii"
FRAMES = int(os.environ.get("POLYROUTER_FRAMES", "300"))


def config() -> CoreConfig:
    """Parameters of the core that was built."""
    return CoreConfig(**json.loads(os.environ["POLYROUTER_CONFIG"]))


def rng() -> Random:
    """Generator of all random choices of a run."""
    return Random(int(os.environ.get("COCOTB_RANDOM_SEED", "1")))


async def start(dut, *, may_drop: bool = False) -> CocotbBoard:
    """A board after reset."""
    board = CocotbBoard(dut, config(), gmii=GMII, may_drop=may_drop)
    await board.start()
    return board


def packet(setup: RouterSetup, port: int, destination: int, length: int, serial: int, **fields) -> RxFrame:
    """A good IPv4 frame of ``length`` bytes for a router, with a serial number at the start of its payload."""
    payload = serial.to_bytes(4, "big").ljust(length - 34, b"\xa5")
    source = 0x060000000000 | setup.number << 8 | port
    return RxFrame(port, ethernet(setup.own[port], source, 0x0800,
                                  ipv4(0x0A000001, destination, payload, identification=serial & 0xFFFF, **fields)))


def unreached(test: str, counters: Mapping[tuple[int, int, int], int]) -> frozenset[Reason]:
    """Reasons that a run is responsible for and these counters have not."""
    return reached_by(test, config(), FRAMES) - {Reason(reason) for _, _, reason in counters}


def assert_reached(test: str, counters: Mapping[tuple[int, int, int], int]) -> None:
    """Whether the core has counted every reason that a run is responsible for.

    Raises
    ------
    AssertionError
        If one is missing.
    """
    missing = sorted(reason.name for reason in unreached(test, counters))
    assert not missing, f"{test} has not reached {missing}"
