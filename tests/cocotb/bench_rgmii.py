"""cocotb bench of a MAC behind an RGMII: cocotbext-eth's PHY at the pins, frame streams at the other side."""

import json
import os
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Timer, ValueChange
from cocotb.utils import get_sim_time
from cocotbext.eth import RgmiiPhy
from polyrouter.boards.rgmii.status import InBandStatus, Speed
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import RxError
from polyrouter.sim.cocotb_stream import FrameSink, FrameSource, StreamClock, line_burst

BITS_A_SECOND = {Speed.TEN: 10e6, Speed.HUNDRED: 100e6, Speed.GIGABIT: 1000e6}
#: RXC is exact; this is 250 ppm slower. In ps.
TX_PERIOD = 8002
#: RGMII 2.0, table 2: set-up and hold at the receiver of a clock that is late by design, ps.
LEAST_MARGIN = 1000
GAP_BYTES = 12


class Bench:
    """What drives and watches both sides.

    Attributes
    ----------
    from_line : list of (bytes, RxError)
        Frames that the MAC received.
    to_line : list of bytes
        Frames that the PHY received and whose FCS is right; ``bad_bursts`` counts the others.
    """

    def __init__(self, dut, seed: int):
        self.dut = dut
        self.config = CoreConfig(**json.loads(os.environ["POLYROUTER_CONFIG"]))
        self.rng = Random(seed)
        self.from_line: list[tuple[bytes, RxError]] = []
        self.to_line: list[bytes] = []
        self.bad_bursts = 0
        self.speed = Speed.GIGABIT
        self.phy = RgmiiPhy(dut.txd, dut.tx_ctl, dut.txc, dut.rxd, dut.rx_ctl, dut.rxc)
        self._clock = StreamClock(dut.clk)
        self.stream = FrameSource(dut, "tx", self.config, self._clock)
        self.sink = FrameSink(dut, "rx", self.config, self._clock,
                               lambda frame: self.from_line.append((frame, self.sink.error)))
        self.check_gaps = True

    async def start(self, speed: Speed) -> None:
        """Clocks and reset, then the speed."""
        dut = self.dut
        dut.speed.value = Speed.GIGABIT.value
        dut.rst.value = 1
        Clock(dut.clk, round(1e12 / self.config.clock_hz), "ps").start()
        Clock(dut.tx_clk, TX_PERIOD, "ps").start()
        await Timer(TX_PERIOD // 4, "ps")
        Clock(dut.tx90_clk, TX_PERIOD, "ps").start()
        await Timer(200, "ns")
        dut.rst.value = 0
        await Timer(200, "ns")
        cocotb.start_soon(self._clock.run())
        cocotb.start_soon(self._receive())
        cocotb.start_soon(self._vary_gaps())
        await self.set_speed(speed)

    async def set_speed(self, speed: Speed) -> None:
        """Change the speed of both sides, while nothing is under way."""
        self.speed = speed
        self.phy.set_speed(BITS_A_SECOND[speed])
        self.dut.speed.value = speed.value
        # Up to two byte times until the old speed is left, and the synchronizer before
        await Timer(4, "us")

    def byte_times(self, count: float) -> int:
        """In ps."""
        return round(count * 8e12 / BITS_A_SECOND[self.speed])

    def send_to_mac(self, frame: bytes, error: RxError = RxError.NONE) -> None:
        self.phy.rx.send_nowait(line_burst(frame, self.config.max_frame, error))

    async def _vary_gaps(self) -> None:
        """Gaps from one cycle of RXC on."""
        while True:
            self.phy.rx.ifg = self.rng.choice((1, 2, 12, 24, self.rng.randint(1, 40)))
            await Timer(self.byte_times(50), "ps")

    async def _receive(self) -> None:
        end = None
        while True:
            burst = await self.phy.tx.recv()
            # A burst of another speed, or cut by a reset, may have no start frame delimiter
            if 0xD5 in burst.data and burst.error is None and len(burst) >= 72 and burst.check_fcs():
                self.to_line.append(bytes(burst.get_payload()))
                if self.check_gaps:
                    assert bytes(burst.get_preamble()) == b"\x55" * 7 + b"\xd5"
                    assert end is None or burst.sim_time_start - end >= self.byte_times(GAP_BYTES) - 10, "gap too short"
            else:
                self.bad_bursts += 1
            end = burst.sim_time_end

    async def watch_margins(self) -> None:
        """Fail if what TXC samples changes too near to its edges, and see that it ticks at the right rate."""
        changed = edge = rise = -10**9
        half = self.byte_times(1 if self.speed == Speed.GIGABIT else 0.5) // 2
        triggers = [ValueChange(pin) for pin in (self.dut.txc, self.dut.txd, self.dut.tx_ctl)]

        async def clock() -> None:
            nonlocal edge, rise
            while True:
                await triggers[0]
                now = get_sim_time("ps")
                assert now - changed >= LEAST_MARGIN, "set-up"
                if edge > 0:
                    assert abs(now - edge - half) <= half // 1000 + 2, "not half of a period"
                edge = now

        async def pin(trigger) -> None:
            nonlocal changed
            while True:
                await trigger
                changed = get_sim_time("ps")
                assert changed - edge >= LEAST_MARGIN, "hold"

        for task in (clock(), pin(triggers[1]), pin(triggers[2])):
            cocotb.start_soon(task)

    async def until(self, condition, byte_times: int) -> None:
        """Wait for a condition, but not for ever."""
        for _ in range(byte_times // 100 + 1):
            if condition():
                return
            await Timer(self.byte_times(100), "ps")
        raise AssertionError(f"timeout: {len(self.from_line)} from and {len(self.to_line)} to the line")

    async def exchange(self, frames: list[bytes]) -> None:
        """Send frames both ways, with random pauses, and check that all arrive as they are."""
        first_in, first_out = len(self.from_line), len(self.to_line)
        for frame in frames:
            self.send_to_mac(frame)
            self.stream.send(frame)
        total = sum(len(frame) + 64 for frame in frames) + 1000
        await self.until(lambda: len(self.from_line) - first_in >= len(frames)
                         and len(self.to_line) - first_out >= len(frames), total)
        assert self.from_line[first_in:] == [(frame, RxError.NONE) for frame in frames]
        assert self.to_line[first_out:] == frames


async def start(dut) -> Bench:
    """A bench at the speed of the run."""
    bench = Bench(dut, cocotb.RANDOM_SEED)
    await bench.start(Speed[os.environ.get("POLYROUTER_SPEED", "GIGABIT")])
    return bench


@cocotb.test()
async def lengths_both_ways(dut):
    bench = await start(dut)
    step = int(os.environ["POLYROUTER_STEP"])
    if step > 1:
        await bench.watch_margins()
    bench.stream.pause = lambda: bench.rng.choice((0, 0, 0, bench.config.ports))
    frames = [bench.rng.randbytes(length) for length in range(60, 1515, step)]
    await bench.exchange([*frames, bench.rng.randbytes(1514)])
    assert not bench.bad_bursts


@cocotb.test()
async def short_frames_are_padded(dut):
    bench = await start(dut)
    frames = [bench.rng.randbytes(length) for length in range(1, 61, 7)]
    for frame in frames:
        bench.stream.send(frame)
    await bench.until(lambda: len(bench.to_line) == len(frames), 1000 * len(frames))
    assert bench.to_line == [frame.ljust(60, b"\0") for frame in frames]


@cocotb.test()
async def bad_frames_between_good_ones(dut):
    bench = await start(dut)
    rng = bench.rng
    sent = []
    for error in [RxError.FCS, RxError.PHY, RxError.LENGTH] * 4:
        frame = rng.randbytes(rng.randint(60, 200))
        bad = rng.randbytes(rng.randint(1, 59)) if error == RxError.LENGTH else frame
        bench.send_to_mac(bad, error)
        bench.send_to_mac(frame)
        sent += [(bad, error), (frame, RxError.NONE)]
    await bench.until(lambda: len(bench.from_line) == len(sent), 400 * len(sent))
    assert bench.from_line == sent


@cocotb.test()
async def speeds_in_turn(dut):
    """All frames arrive at each speed, whichever one was before."""
    bench = await start(dut)
    rng = bench.rng
    last = bench.speed
    for speed in (Speed.HUNDRED, Speed.TEN, Speed.GIGABIT, Speed.TEN, Speed.HUNDRED, Speed.GIGABIT):
        # The line's own pause between frames, in which it is idle for the PHY, too
        await Timer(bench.byte_times(100), "ps")
        bench.check_gaps = last == speed
        await bench.set_speed(speed)
        last = speed
        await bench.exchange([rng.randbytes(rng.randint(60, 300)) for _ in range(4)])
        assert not bench.bad_bursts


@cocotb.test()
async def speed_that_is_not_the_lines(dut):
    """Whatever the speed is set to, and when: what passes as good was sent, in this order; and all is well again."""
    bench = await start(dut)
    bench.check_gaps = False
    rng = bench.rng
    sent = []
    for _ in range(60):
        for speed in (rng.choice(list(Speed)), bench.speed):
            frame = rng.randbytes(rng.randint(60, 120))
            sent.append(frame)
            bench.send_to_mac(frame)
            bench.stream.send(frame)
            dut.speed.value = speed.value
            await Timer(rng.randrange(bench.byte_times(200)), "ps")
    dut.speed.value = bench.speed.value
    await bench.until(lambda: bench.phy.rx.idle() and bench.stream.idle, 100 * 200 * len(sent))
    await Timer(400, "us")

    def follow_each_other(got: list[bytes]) -> bool:
        rest = iter(sent)
        return all(frame in rest for frame in got)

    good = [frame for frame, error in bench.from_line if error == RxError.NONE]
    assert len(good) > 10 and len(bench.to_line) > 10
    assert follow_each_other(good)
    assert follow_each_other(bench.to_line)
    assert len(good) < len(sent), "the speed had no effect"
    await bench.exchange([rng.randbytes(rng.randint(60, 300)) for _ in range(4)])


@cocotb.test()
async def reset_in_a_frame(dut):
    """After a reset at any time, frames pass again."""
    bench = await start(dut)
    bench.check_gaps = False
    rng = bench.rng
    for _ in range(4):
        for _ in range(3):
            frame = rng.randbytes(100)
            bench.send_to_mac(frame)
            bench.stream.send(frame)
        await Timer(rng.randrange(bench.byte_times(300)), "ps")
        dut.rst.value = 1
        # The PHY's frames end in peace, those of the core are lost
        await bench.until(lambda: bench.phy.rx.idle(), 2000)
        bench.stream.abandon()
        bench.sink.abandon()
        await Timer(bench.byte_times(20), "ps")
        dut.rst.value = 0
        await Timer(4, "us")
        bench.from_line.clear()
        bench.to_line.clear()
        await bench.exchange([rng.randbytes(rng.randint(60, 200)) for _ in range(3)])


@cocotb.test()
async def in_band_status(dut):
    bench = await start(dut)
    for _ in range(8):
        link, duplex = bench.rng.randrange(2), bench.rng.randrange(2)
        value = InBandStatus.const({"link": link, "speed": bench.speed, "full_duplex": duplex}).as_value().value
        dut.rxd.value = value
        await Timer(bench.byte_times(20), "ps")
        assert int(dut.status.value) == value
