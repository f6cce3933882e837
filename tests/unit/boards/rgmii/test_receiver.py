"""Receive half: bytes of nibbles at any alignment, gaps, errors, changes of speed, in-band status."""

from random import Random

import pytest
from amaranth.sim import Simulator
from polyrouter.boards.rgmii.receiver import RgmiiReceiver
from polyrouter.boards.rgmii.status import Speed

from .line_model import RxCycle, byte_cycles, idle_cycles, nibble_cycle

SFD = 0xD5


def receive(cycles: list[RxCycle], *, slow_speeds: bool = True, speeds: dict[int, Speed] | None = None):
    """Bursts on GMII, each a list of (byte, RX_ER), and the in-band status after each cycle."""
    dut = RgmiiReceiver(slow_speeds=slow_speeds)
    bursts: list[list[tuple[int, int]]] = []
    statuses = []

    async def line(ctx):
        in_burst = False
        for number, cycle in enumerate([*cycles, *idle_cycles(4)]):
            if speeds and number in speeds:
                ctx.set(dut.speed, speeds[number])
            ctx.set(dut.i.rxd, list(cycle.rxd))
            ctx.set(dut.i.rx_ctl, list(cycle.rx_ctl))
            _, _, enable, valid, octet, error, status = await ctx.tick("rx").sample(
                dut.rx_clk_enable if slow_speeds else 1, dut.rx_dv, dut.rxd, dut.rx_er, dut.status)
            statuses.append((status.link, Speed(status.speed), status.full_duplex))
            if enable:
                if valid and not in_burst:
                    bursts.append([])
                if valid:
                    bursts[-1].append((octet, error))
                in_burst = bool(valid)
        assert not in_burst

    sim = Simulator(dut)
    sim.add_clock(8e-9, domain="rx")
    sim.add_testbench(line)
    sim.run()
    return bursts, statuses


def after_sfd(burst: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return burst[[octet for octet, _ in burst].index(SFD) + 1:]


@pytest.mark.parametrize("slow_speeds", [False, True])
def test_a_cycle_is_a_byte_at_gigabit(slow_speeds):
    rng = Random(1)
    cycles, sent = [], []
    for _ in range(40):
        burst = [(rng.randrange(256), rng.random() < 0.05) for _ in range(rng.randint(1, 40))]
        sent.append(burst)
        for octet, error in burst:
            cycles += byte_cycles(octet, Speed.GIGABIT, error)
        cycles += idle_cycles(rng.randint(1, 12))
    got, _ = receive(cycles, slow_speeds=slow_speeds)
    assert got == sent


@pytest.mark.parametrize("seed", range(4))
def test_nibbles_are_paired_from_the_start_frame_delimiter_on(seed):
    """Whatever the gaps, the length of the preamble, the pairs before, and an odd nibble at the end."""
    rng = Random(seed)
    cycles, sent = idle_cycles(10), []
    for _ in range(60):
        # Falling edges of slow nibbles are for the PHY to fill
        start = len(cycles)
        cycles += [nibble_cycle(5)] * rng.choice((1, 2, 14, 15, rng.randint(1, 30))) + [nibble_cycle(0xD)]
        burst = [(rng.choice((rng.randrange(256), 0xD5, 0x5D, 0x55)), rng.random() < 0.05)
                 for _ in range(rng.randint(1, 40))]
        sent.append(burst)
        for octet, error in burst:
            cycles += byte_cycles(octet, Speed.HUNDRED, error)
        if rng.random() < 0.3:
            cycles.append(nibble_cycle(rng.randrange(16)))
        cycles[start:] = [RxCycle((cycle.rxd[0], rng.randrange(16)), cycle.rx_ctl) for cycle in cycles[start:]]
        cycles += idle_cycles(rng.choice((1, 2, 3, rng.randint(1, 24))))
    got, _ = receive(cycles, speeds={0: Speed.HUNDRED})
    assert [after_sfd(burst) for burst in got] == [[(octet, int(error)) for octet, error in burst] for burst in sent]


@pytest.mark.parametrize("error_in", [0, 1])
def test_an_error_in_either_nibble_is_one_of_the_byte(error_in):
    nibbles = [5, 5, 5, 0xD, 1, 2, 3, 4]
    cycles = idle_cycles(6) + [nibble_cycle(nibble, at == 4 + error_in) for at, nibble in enumerate(nibbles)]
    got, _ = receive(cycles, speeds={0: Speed.TEN})
    assert after_sfd(got[0]) == [(0x21, 1), (0x43, 0)]


@pytest.mark.parametrize("old", [Speed.TEN, Speed.HUNDRED, Speed.GIGABIT])
@pytest.mark.parametrize("new", [Speed.TEN, Speed.HUNDRED, Speed.GIGABIT])
@pytest.mark.parametrize(("change_at", "gap"), [(0, 1), (17, 2), (34, 24), (59, 1), (59, 2)])
def test_a_new_speed_waits_for_the_end_of_the_frame(old, new, change_at, gap):
    """The frame under way is whole, and never goes on with the next one's bytes."""
    rng = Random(change_at)
    frames = [bytes([0x55] * 7 + [SFD]) + rng.randbytes(20) for _ in range(2)]
    cycles = idle_cycles(8)
    first = len(cycles)
    for octet in frames[0]:
        cycles += byte_cycles(octet, old)
    last = len(cycles)
    cycles += idle_cycles(gap)
    for octet in frames[1]:
        cycles += byte_cycles(octet, new)
    got, _ = receive(cycles, speeds={0: old, min(first + 1 + change_at * (last - first) // 60, last - 1): new})
    assert len(got) == 2
    assert [bytes(octet for octet, _ in after_sfd(burst)) for burst in got] == [frame[8:] for frame in frames]


def test_a_reserved_speed_changes_nothing():
    cycles = idle_cycles(10)
    for octet in (0x55, SFD, 1, 2, 3):
        cycles += byte_cycles(octet, Speed.HUNDRED)
    got, _ = receive(cycles, speeds={0: Speed.HUNDRED, 4: Speed.RESERVED})
    assert [octet for octet, _ in after_sfd(got[0])] == [1, 2, 3]


def in_band(link: int, speed: Speed, duplex: int) -> int:
    return link | speed.value << 1 | duplex << 3


@pytest.mark.parametrize("speed", [Speed.TEN, Speed.HUNDRED, Speed.GIGABIT])
def test_in_band_status_counts_after_eight_equal_samples(speed):
    status = in_band(1, speed, 1)
    for samples, counts in ((7, False), (8, True)):
        cycles = idle_cycles(10) + idle_cycles(samples, status) + idle_cycles(1)
        _, statuses = receive(cycles)
        assert ((1, speed, 1) in statuses) is counts
        assert statuses[0] == (0, Speed.TEN, 0)


@pytest.mark.parametrize("speed", [Speed.HUNDRED, Speed.GIGABIT])
def test_frames_and_carrier_codes_are_no_status(speed):
    """Neither data nor what RX_ER between frames says, such as carrier extension (IEEE 802.3 table 35-1)."""
    rng = Random(5)
    status = in_band(1, speed, 1)
    cycles = idle_cycles(20, status)
    for _ in range(20):
        for octet in (0x55, SFD, *rng.randbytes(30), *[0] * 20):
            cycles += byte_cycles(octet, speed)
        cycles += idle_cycles(rng.randint(1, 12), status)
        cycles += [RxCycle((0xF, 0), (0, 1))] * 10
    _, statuses = receive(cycles, speeds={0: speed})
    assert set(statuses[20:-1]) == {(1, speed, 1)}


def test_an_unstable_status_does_not_count():
    rng = Random(6)
    cycles = []
    for _ in range(200):
        cycles += idle_cycles(rng.randint(1, 3), rng.choice((1, 5, 9, 13)))
        cycles += idle_cycles(1, 0)
    _, statuses = receive(cycles)
    assert set(statuses) == {(0, Speed.TEN, 0)}


