"""A core in a cocotb simulation, seen as a board: frames in, frames out, and requests at the host port."""

from collections.abc import Iterable
from random import Random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import QUEUE_STATS, REASONS, HitStat, HostStatus, OpStatus, QueueStat, RxError, Table

from .cocotb_stream import FrameSink, FrameSource, GmiiFrameSink, GmiiFrameSource, StreamClock
from .frames import RxFrame
from .golden import GoldenModel
from .host_frames import HostFrame, Op
from .scoreboard import Scoreboard
from .tablegen import RowWrite, requests

__all__ = ["HOST_MAC", "CocotbBoard"]

HOST_MAC = bytes.fromhex("0a0000000001")
LEAST_FRAME = 60
#: Periods in ps of the receive clocks, further apart than what IEEE 802.3 allows (100 ppm).
RX_PERIODS = (8000, 7998, 8002)
#: Without anything coming out for so many core cycles, a run has ended, or is stuck.
QUIET_CYCLES = 4000


class CocotbBoard:
    """Drives a core and compares it with the golden model.

    Parameters
    ----------
    dut : handle
        Top module: a ``Core``, or a ``GmiiCore``.
    config : CoreConfig
        Parameters of the core.
    gmii : bool
        Whether it is a ``GmiiCore``.
    may_drop : bool
        Buffers may be full, so that frames are missing.
    policer_cycles, shaper_cycles : int
        What ``Info.POLICER_CYCLES`` and ``Info.SHAPER_CYCLES`` must tell.
    """

    def __init__(self, dut: Any, config: CoreConfig, *, gmii: bool = False, may_drop: bool = False,
                 policer_cycles: int = 0, shaper_cycles: int = 0):
        self.dut = dut
        self.config = config
        self.gmii = gmii
        self.model = GoldenModel(config, has_macs=gmii, policer_cycles=policer_cycles,
                                 shaper_cycles=shaper_cycles)
        self.scoreboard = Scoreboard(self.model, self.wire, may_drop=may_drop)
        self.period_ps = round(1e12 / config.clock_hz)
        self.sources: dict[int, FrameSource | GmiiFrameSource] = {}        # by port
        self.sinks: dict[int, FrameSink | GmiiFrameSink] = {}
        self.clock = StreamClock(dut.clk)
        self._sequence: int | None = None

    def wire(self, frame: bytes) -> bytes:
        """What a MAC makes of a frame: not shorter than 60 bytes."""
        return frame.ljust(LEAST_FRAME, b"\0") if self.gmii else frame

    async def start(self) -> None:
        """Start clocks, drivers and monitors, and reset the core."""
        dut, config = self.dut, self.config
        for wire, port in enumerate((*range(config.wired_ports), config.host_port)):
            def leave(frame: bytes, port: int = port) -> None:
                self.scoreboard.leave(port, frame)

            if self.gmii:
                name = f"gmii{wire}"
                max_frame = config.max_frame + 32 * (port == config.host_port)
                rx_period = RX_PERIODS[port % len(RX_PERIODS)]
                rx_clk, tx_clk = getattr(dut, f"{name}_rx_clk"), getattr(dut, f"{name}_tx_clk")
                Clock(rx_clk, rx_period, "ps").start()
                Clock(tx_clk, 8000, "ps").start()
                self.sources[port] = GmiiFrameSource(dut, name, rx_clk, max_frame)
                sink = GmiiFrameSink(dut, name, tx_clk, leave)
                cocotb.start_soon(sink.run())
                self.sinks[port] = sink
            else:
                is_host = port == config.host_port
                self.sources[port] = FrameSource(dut, "host_rx" if is_host else f"rx__{port}", config, self.clock)
                self.sinks[port] = FrameSink(dut, "host_tx" if is_host else f"tx__{port}", config, self.clock, leave)
        if not self.gmii:
            dut.underflow.value = 0
        dut.rst.value = 1
        Clock(dut.clk, self.period_ps, "ps").start()
        await self.cycles(20)
        dut.rst.value = 0
        await self.cycles(20)
        if not self.gmii:
            cocotb.start_soon(self.clock.run())

    async def cycles(self, count: int) -> None:
        """Wait for ``count`` core cycles."""
        if count:
            await Timer(count * self.period_ps, "ps")
        await RisingEdge(self.dut.clk)

    async def room(self, outstanding: int) -> None:
        """Wait until no more than so many frames are still to come out, and the frame buffer is mostly free.

        With frames lost, this does not last for ever.
        """
        waited, received = 0, self.scoreboard.received
        most_bytes = self.config.buffer_bytes // 4
        while self.scoreboard.outstanding > outstanding or self.scoreboard.outstanding_bytes > most_bytes:
            await self.cycles(50)
            waited = waited + 1 if received == self.scoreboard.received else 0
            received = self.scoreboard.received
            if waited > 1000:
                self.scoreboard.finish()

    def send(self, frame: RxFrame) -> None:
        """Send a frame to a data port, and tell the scoreboard."""
        port, octets, error = frame
        if error == RxError.NONE:
            octets = self.wire(octets)
        self.scoreboard.enter(port, octets, error)
        self.sources[port].send(octets, error)

    def send_host(self, frame: bytes, error: RxError = RxError.NONE) -> None:
        """Send a frame other than a REQUEST to the host port, and tell the scoreboard."""
        if error == RxError.NONE:
            frame = self.wire(frame)
        self.scoreboard.enter_host(frame, error)
        self.sources[self.config.host_port].send(frame, error)

    async def _exchange(self, frame: bytes) -> HostFrame:
        self.sources[self.config.host_port].send(frame)
        waited = 0
        while not self.scoreboard.responses:
            waited += 1
            assert waited < 4000, "no response"
            await self.cycles(20)
        return self.scoreboard.responses.popleft()

    async def request(self, ops: list[Op]) -> list[Op]:
        """Have accesses made, in the core and in the model; gives the core's answers."""
        sync = self._sequence is None
        sequence = self._sequence or 0
        frame = HostFrame.request(sequence, ops, source=HOST_MAC, sync=sync).to_bytes()
        await self.transact(frame, compare=False)
        self._sequence = sequence + 1 & 0xFFFFFFFF
        return self._response.ops

    async def transact(self, frame: bytes, *, compare: bool = True) -> HostFrame:
        """Send a well-formed REQUEST to core and model, and compare header and, on demand, all of the answers."""
        frame = self.wire(frame)
        (output,) = self.model.host_receive(frame)
        expected = HostFrame.from_bytes(self.wire(output.frame))
        self._response = response = await self._exchange(frame)
        assert response.reason == expected.reason, (HostStatus(response.reason), HostStatus(expected.reason))
        if not compare:
            assert [op.status for op in response.ops] == [op.status for op in expected.ops]
            response_payload, response.payload = response.payload, expected.payload
        assert response == expected, f"{response}\n{expected}"
        if not compare:
            response.payload = response_payload
        return response

    def resynchronize(self) -> None:
        """Have the next request set the sequence number, after requests that a test made itself."""
        self._sequence = None

    async def write(self, writes: Iterable[RowWrite]) -> None:
        """Write rows."""
        for frame in requests(writes, sequence=0, source=HOST_MAC):
            answers = await self.request(frame.ops)
            assert {op.status for op in answers} == {OpStatus.OK}

    async def read(self, ops: list[Op]) -> list[int]:
        """Read words."""
        values = []
        for offset in range(0, len(ops), 64):
            answers = await self.request(ops[offset:offset + 64])
            assert {op.status for op in answers} == {OpStatus.OK}
            values += [op.data for op in answers]
        return values

    async def drain(self) -> None:
        """Wait until everything was sent and has come out, and nothing more comes."""
        received, quiet = self.scoreboard.received, 0
        def idle() -> bool:
            return all(source.idle for source in self.sources.values())

        while quiet < QUIET_CYCLES and (self.scoreboard.outstanding or not idle()):
            await self.cycles(50)
            quiet = quiet + 50 if received == self.scoreboard.received else 0
            received = self.scoreboard.received
            if not idle():
                quiet = min(quiet, QUIET_CYCLES // 2)
        await self.cycles(600)

    async def check(self) -> dict[tuple[int, int, int], int]:
        """Wait for the end of all traffic, then compare frames, counters, hits of rules and statistics of queues.

        Gives the core's counters.
        """
        await self.drain()
        self.scoreboard.finish()
        counters = await self.read_counters()
        self.scoreboard.check_counters(counters)
        self.scoreboard.check_hits(await self.read_hits())
        self.scoreboard.check_queues(await self.read_queues(), counters)
        return counters

    async def read_counters(self) -> dict[tuple[int, int, int], int]:
        """All counters that are not zero, by router, ingress port and reason."""
        keys = [(router, port, reason) for router in range(self.config.routers + 1)
                for port in range(self.config.all_ports) for reason in range(REASONS)]
        values = await self.read([Op.read(Table.COUNTER, router, port * REASONS + reason)
                                  for router, port, reason in keys])
        return {key: value for key, value in zip(keys, values, strict=True) if value}

    async def read_queues(self) -> dict[tuple[int, int, QueueStat], int]:
        """All statistics of all queues, by router and port."""
        keys = [(router, port, stat) for router in range(self.config.routers + 1)
                for port in range(self.config.all_ports) for stat in QueueStat]
        values = await self.read([Op.read(Table.QUEUE, router, port * QUEUE_STATS + stat)
                                  for router, port, stat in keys])
        return dict(zip(keys, values, strict=True))

    async def read_hits(self) -> dict[int, int]:
        """All rows of the hit table that a router's window reaches, by row of the memory."""
        rows = {}
        for router in range(self.config.routers):
            base, size, rules = self.model.tables.window(Table.HIT, router) or (0, 0, 0)
            for row in range(len(HitStat) * max(0, min(size, rules - base))):
                rows[base * len(HitStat) + row] = Op.read(Table.HIT, router, row)
        return dict(zip(rows, await self.read(list(rows.values())), strict=True))

    def pause_randomly(self, rng: Random, *, sources: float = 0.0, sinks: float = 0.0, longest: int = 10) -> None:
        """Let frame streams wait, before a beat with these probabilities."""
        assert not self.gmii, "a GMII cannot wait"

        def pauses(probability: float):
            return lambda: rng.randint(1, longest) if rng.random() < probability else 0

        for ends, probability in ((self.sources, sources), (self.sinks, sinks)):
            for end in ends.values():
                end.pause = pauses(probability)     # type: ignore[union-attr]
