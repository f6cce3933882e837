"""What the MAC tests share: a line at a GMII, frame streams, and the clocks of both."""

from dataclasses import dataclass, field
from zlib import crc32

from amaranth.sim import Simulator
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import RxError

__all__ = ["PREAMBLE", "Line", "LineFrame", "StreamFrame", "collect", "fcs", "line_bytes", "name", "receive_line",
           "send", "simulate"]

PREAMBLE = b"\x55" * 7 + b"\xd5"
LINE_HZ = 125e6


def name(value: object) -> str:
    """Identifier of a test parameter."""
    if isinstance(value, CoreConfig):
        return f"{value.ports}ports-{value.data_width}bit-{value.clock_hz / 1e6:g}MHz"
    return str(value)


def fcs(octets: bytes) -> bytes:
    """Frame check sequence as on the wire."""
    return crc32(octets).to_bytes(4, "little")


def line_bytes(frame: bytes) -> bytes:
    """A good frame with preamble and FCS, unpadded."""
    return PREAMBLE + frame + fcs(frame)


@dataclass
class Line:
    """What is to be sent on a line: bytes with RX_DV, or None for a byte time without; RX_ER at some positions."""

    octets: list[int | None] = field(default_factory=list)
    errors: set[int] = field(default_factory=set)

    def burst(self, octets: bytes, gap: int = 12, error_at: int | None = None) -> None:
        """Add a burst and the gap after it."""
        if error_at is not None:
            self.errors.add(len(self.octets) + error_at)
        self.octets += [*octets, *[None] * gap]


@dataclass
class LineFrame:
    """A burst seen on a line: its bytes, the gap before it, and whether TX_ER was high in it."""

    octets: bytes
    gap: int
    error: bool = False


@dataclass
class StreamFrame:
    """A frame of a frame stream."""

    octets: bytes
    error: int = RxError.NONE


async def receive_line(ctx, dut, line: Line, domain: str = "rx") -> None:
    """Put a line's bytes on the receive side of a GMII."""
    for position, octet in enumerate(line.octets):
        ctx.set(dut.rxd, octet or 0)
        ctx.set(dut.rx_dv, octet is not None)
        ctx.set(dut.rx_er, position in line.errors)
        await ctx.tick(domain)
    ctx.set(dut.rx_dv, 0)
    ctx.set(dut.rx_er, 0)


async def collect(ctx, dut, config: CoreConfig, frames: list[StreamFrame], pause=lambda: 0) -> None:
    """Take frames from a stream for ever, with ``pause()`` cycles before each beat."""
    octets = b""
    while True:
        for _ in range(pause()):
            ctx.set(dut.ready, 0)
            await ctx.tick()
        ctx.set(dut.ready, 1)
        _, _, valid, beat = await ctx.tick().sample(dut.valid, dut.payload)
        if valid:
            octets += beat.data.to_bytes(config.beat_bytes, "little")
            if beat.last:
                frames.append(StreamFrame(octets[:len(octets) - beat.empty], beat.error))
                octets = b""


async def send(ctx, dut, config: CoreConfig, frame: bytes, pause=lambda: 0) -> None:
    """Put a frame on a stream, with ``pause()`` cycles before each beat."""
    n = config.beat_bytes
    for offset in range(0, len(frame), n):
        for _ in range(pause()):
            await ctx.tick()
        chunk = frame[offset:offset + n]
        ctx.set(dut.valid, 1)
        ctx.set(dut.payload, {"data": int.from_bytes(chunk, "little"), "empty": n - len(chunk),
                              "last": offset + n >= len(frame), "error": 0})
        await ctx.tick().until(dut.ready)
        ctx.set(dut.valid, 0)


def simulate(dut, config: CoreConfig, *processes, background=(), ppm: dict[str, float] | None = None) -> None:
    """Run until all ``processes`` have ended; ``ppm`` is how much faster a line's domain is."""
    sim = Simulator(dut)
    sim.add_clock(1 / config.clock_hz)
    for domain, offset in (ppm or {}).items():
        sim.add_clock(1 / LINE_HZ / (1 + offset * 1e-6), domain=domain)
    for process in background:
        sim.add_process(process)
    for process in processes:
        sim.add_testbench(process)
    sim.run()
