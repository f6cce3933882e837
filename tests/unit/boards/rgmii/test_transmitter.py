"""Transmit half: bytes, TXC, set-up and hold at every speed, changes of speed."""

from itertools import pairwise
from random import Random

import pytest
from amaranth.sim import Simulator
from polyrouter.boards.rgmii.status import Speed
from polyrouter.boards.rgmii.transmitter import RgmiiTransmitter

from .line_model import TXC_CYCLES, read_bursts, txc_edges

SPEEDS = [Speed.TEN, Speed.HUNDRED, Speed.GIGABIT]


def transmit(octets: list[tuple[int, int, int]], *, slow_speeds: bool = True, speeds: dict[int, Speed] | None = None,
             tail: int = 4):
    """Recording of (TXC, TXD, TX_CTL) a half cycle, of bytes (TXD, TX_EN, TX_ER) on GMII; ``speeds`` by byte."""
    dut = RgmiiTransmitter(slow_speeds=slow_speeds)
    halves: list[tuple[int, int, int]] = []

    async def gmii(ctx):
        for number, (txd, tx_en, tx_er) in enumerate([*octets, *[(0, 0, 0)] * tail]):
            if speeds and number in speeds:
                ctx.set(dut.speed, speeds[number])
            ctx.set(dut.txd, txd)
            ctx.set(dut.tx_en, tx_en)
            ctx.set(dut.tx_er, tx_er)
            enable = 0
            while not enable:
                _, _, enable, txc, txd, tx_ctl = await ctx.tick("tx").sample(
                    dut.tx_clk_enable if slow_speeds else 1, dut.o.txc, dut.o.txd, dut.o.tx_ctl)
                halves.extend((txc[half], txd[half], tx_ctl[half]) for half in (0, 1))

    sim = Simulator(dut)
    sim.add_clock(8e-9, domain="tx")
    sim.add_testbench(gmii)
    sim.run()
    return halves


def random_bursts(rng: Random, count: int) -> tuple[list[tuple[int, int, int]], list[tuple[bytes, set[int], int]]]:
    """Bytes on GMII, and the bursts in them: bytes, those with TX_ER, gap before."""
    octets, bursts = [], []
    for _ in range(count):
        gap = rng.randint(1, 14)
        data = rng.randbytes(rng.randint(1, 30))
        errors = {at for at in range(len(data)) if rng.random() < 0.05}
        octets += [(rng.randrange(256), 0, 0)] * gap + [(octet, 1, at in errors) for at, octet in enumerate(data)]
        bursts.append((data, errors, gap))
    return octets, bursts


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("speed", "slow_speeds"), [*((speed, True) for speed in SPEEDS), (Speed.GIGABIT, False)])
def test_bytes_errors_and_gaps(speed, slow_speeds, seed):
    octets, bursts = random_bursts(Random(seed), 6 if speed == Speed.TEN else 40)
    warm_up = 4     # byte times that the change of speed may take
    halves = transmit([(0, 0, 0)] * warm_up + octets, slow_speeds=slow_speeds, speeds={0: speed} if slow_speeds else {})
    edges = txc_edges(halves)
    start = next(at for at, edge in enumerate(edges) if edge.rising and edge.time > 8)
    got = read_bursts(edges[start:], speed)
    assert [(burst.octets, burst.errors) for burst in got] == [burst[:2] for burst in bursts]
    assert [burst.gap for burst in got[1:]] == [gap for _, _, gap in bursts[1:]]


@pytest.mark.parametrize("speed", SPEEDS)
def test_clock_and_margins(speed):
    """TXC has the right period and is high for half of it; what it samples is steady around its edges."""
    octets, _ = random_bursts(Random(3), 5)
    halves = transmit(octets, speeds={0: speed})
    edges = [edge for edge in txc_edges(halves) if 2 * TXC_CYCLES[speed] + 16 < edge.time < len(halves) - 8]
    distances = {b.time - a.time for a, b in pairwise(edges)}
    assert distances == {TXC_CYCLES[speed]}
    if speed != Speed.GIGABIT:
        # In half cycles of 4 ns; TXC may yet be delayed by 2 ns or so
        assert min(edge.setup for edge in edges) >= 2
        assert min(edge.hold for edge in edges) >= 2


@pytest.mark.parametrize("old", SPEEDS)
@pytest.mark.parametrize("new", SPEEDS)
@pytest.mark.parametrize("change_at", [2, 9, 21, 22, 23])
def test_a_new_speed_waits_for_the_end_of_the_burst(old, new, change_at):
    """Each burst is whole, in one speed, and TXC has no pulse shorter than the faster speed's."""
    rng = Random(change_at)
    data = [rng.randbytes(18), rng.randbytes(6)]
    octets = [(0, 0, 0)] * 4
    for burst in data:
        octets += [(octet, 1, 0) for octet in burst] + [(0, 0, 0)] * 3
    halves = transmit(octets, speeds={0: old, change_at: new})
    edges = txc_edges(halves)
    assert min(b.time - a.time for a, b in pairwise(edges)) >= 1
    # TX_CTL of both bursts: when it rises and falls
    control = [ctl for _, _, ctl in halves]
    rises = [at for at in range(1, len(control)) if control[at] and not control[at - 1]]
    falls = [at for at in range(1, len(control)) if control[at - 1] and not control[at]]
    if change_at == 2:
        old = new
    for rise, fall, speed, octets_sent in zip(rises, falls, (old, new), data, strict=True):
        inside = [edge for edge in edges if rise <= edge.time < fall]
        assert {b.time - a.time for a, b in pairwise(inside)} == {TXC_CYCLES[speed]}
        bursts = read_bursts([*inside, *[edge for edge in edges if edge.time >= fall][:2]], speed)
        assert [burst.octets for burst in bursts] == [octets_sent]


def test_a_reserved_speed_changes_nothing():
    octets, _ = random_bursts(Random(4), 8)
    edges = txc_edges(transmit(octets, speeds={0: Speed.HUNDRED, 10: Speed.RESERVED}))[8:]
    assert {b.time - a.time for a, b in pairwise(edges)} == {TXC_CYCLES[Speed.HUNDRED]}
