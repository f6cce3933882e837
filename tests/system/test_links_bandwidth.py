"""Limits of VNICs as iperf3 meets them on a live board.

The board is far slower than real time. Its shapers count core cycles, so rates are bytes for so many of these.
"""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.sim.live.board import LiveBoard

from .site import Site, new_site, wait_until

pytestmark = [pytest.mark.root, pytest.mark.skipif(
    shutil.which("iperf3") is None, reason="iperf3 is not installed: apt-get install iperf3")]

#: Two VNICs are limited as they send, one as it receives.
TEXT = """\
name: NAME
topology:
  nodes: {left: {kind: board, ports: 1, core: LINK_CORE}}
  networks: {}
  switches: {stub: {node: left}}
  vnics:
    a: {switch: stub, address: 10.0.0.1/24, max-bw: 25M}
    b: {switch: stub, address: 10.0.0.2/24}
    c: {switch: stub, address: 10.0.0.3/24, max-bw: 25M}
    d: {switch: stub, address: 10.0.0.4/24}
    e: {switch: stub, address: 10.0.0.5/24}
    f: {switch: stub, address: 10.0.0.6/24, max-bw: 50M}
"""
#: Sender, receiver and limit in bits a second: what senders can exceed on a machine that has other work, too.
FLOWS = (("a", "b", 25e6), ("c", "d", 25e6), ("e", "f", 50e6))
ADDRESSES = {name: f"10.0.0.{number}" for number, name in enumerate("abcdef", 1)}
#: Frames of the slowest flow that are measured.
FRAMES = 100
#: What iperf3 is told, and what part of its limit each flow gets, at least and at most: one frame at each end may be
#: missing or too many. TCP takes breaks; after one, a shaper lets a burst of 4 ms through, a tenth of what is measured.
KINDS = {"tcp": ((), 0.9, 1.15), "udp": (("-u", "-b", "20M", "-l", "1472"), 0.98, 1.02)}
#: Shapers count this with each frame.
FCS = 4


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_site(None, "w", TEXT) as made:
        yield made


def received(site: Site, vnic: str) -> tuple[int, int]:
    """Bytes, as shapers count them, and frames that came in at a VNIC's interface."""
    done = subprocess.run(["ip", "-n", site.namespace(vnic), "-s", "-j", "link", "show", "dev", vnic],
                          capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout)[0]["stats64"]["rx"]
    return counts["bytes"] + FCS * counts["packets"], counts["packets"]


@contextlib.contextmanager
def iperf(site: Site, *options: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """Traffic from each sender to its receiver, more than the board takes; yields the senders."""
    def start(vnic: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(["ip", "netns", "exec", site.namespace(vnic), "iperf3", "--forceflush", *arguments],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    started: list[subprocess.Popen[str]] = []
    try:
        for _, receiver, _ in FLOWS:
            server = start(receiver, "-s", "-1")
            assert server.stdout is not None
            while "listening" not in (line := server.stdout.readline()):
                assert line, "iperf3 does not listen"
        yield [start(sender, "-c", ADDRESSES[receiver], "-t", "600", *options) for sender, receiver, _ in FLOWS]
    finally:
        for process in started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.mark.parametrize("kind", ["udp", pytest.param("tcp", marks=pytest.mark.slow)])
def test_each_flow_has_its_limit_and_no_more(site, kind):
    options, least, most = KINDS[kind]
    board = LiveBoard.adopt(site.top / "run" / site.name / "left/board.pid")
    assert board is not None
    for sender, receiver, _ in FLOWS:
        wait_until(lambda sender=sender, receiver=receiver: site.ping(sender, ADDRESSES[receiver]), "the VNICs are up")

    def figures() -> tuple[int, dict[str, tuple[int, int]]]:
        stats = board.stats()
        assert stats is not None
        return stats["cycles"], {receiver: received(site, receiver) for _, receiver, _ in FLOWS}

    def frames_since(before: dict[str, tuple[int, int]]) -> int:
        assert all(sender.poll() is None for sender in senders), "iperf3 has ended"
        return min(received(site, receiver)[1] - frames for receiver, (_, frames) in before.items())

    with iperf(site, *options) as senders:
        _, idle = figures()
        wait_until(lambda: frames_since(idle) > 50, "the shapers' first bursts are gone", 120)
        cycles, before = figures()
        wait_until(lambda: frames_since(before) > FRAMES, f"{FRAMES} frames of each flow", 300)
        later, after = figures()
    seconds = (later - cycles) / CoreConfig().clock_hz      # of the board
    parts = {sender: 8 * (after[receiver][0] - before[receiver][0]) / seconds / limit
             for sender, receiver, limit in FLOWS}
    print(f"{later - cycles} cycles:", *(f"{sender} {parts[sender] * limit / 1e6:.2f} of {limit / 1e6:.0f} Mb/s;"
                                         for sender, _, limit in FLOWS))
    assert all(least <= part <= most for part in parts.values()), parts
