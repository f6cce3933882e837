"""Drivers and monitors of frame streams and GMIIs, for cocotb benches."""

from collections import deque
from collections.abc import Callable
from typing import Any
from zlib import crc32

from cocotb.handle import Immediate
from cocotb.triggers import RisingEdge
from cocotbext.eth import GmiiFrame, GmiiSink, GmiiSource
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import RxError
from polyrouter.hdl.stream import frame_layout

__all__ = ["FrameSink", "FrameSource", "GmiiFrameSink", "GmiiFrameSource", "StreamClock", "line_burst"]

LEAST_PAYLOAD = 60
#: 12 byte times, less rounding; times are in ps.
GAP_PS = 12 * 8000 - 10




class StreamClock:
    """One coroutine for all frame streams of a clock: a coroutine for each would cost most of the run.

    Parameters
    ----------
    clock : handle
        Clock of the streams.
    """

    def __init__(self, clock: Any):
        self._clock = clock
        self.steps: list[Callable[[], None]] = []
        self.cycle = 0

    async def run(self) -> None:
        """Call every step in every cycle, with the values as they are before the edge."""
        edge = RisingEdge(self._clock)
        while True:
            await edge
            self.cycle += 1
            for step in self.steps:
                step()


class FrameSource:
    """Drives a frame stream, without a gap unless ``pause`` says so.

    Parameters
    ----------
    dut, prefix
        Where the stream's signals are: ``<prefix>__valid`` and so on.
    config : CoreConfig
        Gives the layout of a beat.
    clock : StreamClock
        Clock of the stream.

    Attributes
    ----------
    pause : Callable[[], int]
        Cycles to wait before a beat.
    """

    def __init__(self, dut: Any, prefix: str, config: CoreConfig, clock: StreamClock):
        self._valid, self._ready = getattr(dut, f"{prefix}__valid"), getattr(dut, f"{prefix}__ready")
        self._payload = getattr(dut, f"{prefix}__payload")
        self._bytes = config.beat_bytes
        layout = frame_layout(config.data_width)
        self._empty, self._last, self._error = (layout[name].offset for name in ("empty", "last", "error"))
        self._beats: deque[int] = deque()
        self._driving = False
        self._wait = 0
        self.pause: Callable[[], int] = lambda: 0
        self._valid.set(Immediate(0))
        clock.steps.append(self._step)

    @property
    def idle(self) -> bool:
        """Whether everything was sent."""
        return not self._driving and not self._beats

    def abandon(self) -> None:
        """Forget all frames that were not sent; only while the other side is reset."""
        self._beats.clear()
        self._driving = False
        self._valid.value = 0

    def send(self, frame: bytes, error: RxError = RxError.NONE) -> None:
        """Queue a frame."""
        n = self._bytes
        for offset in range(0, len(frame), n):
            chunk = frame[offset:offset + n]
            beat = int.from_bytes(chunk, "little")
            if offset + n >= len(frame):
                beat |= n - len(chunk) << self._empty | 1 << self._last | error << self._error
            self._beats.append(beat)

    def _step(self) -> None:
        if self._driving:
            if not self._ready.value:
                return
            self._driving = False
            self._wait = self.pause()
            if self._wait or not self._beats:
                self._valid.value = 0
        elif not self._beats:
            return
        if self._wait:
            self._wait -= 1
        elif self._beats:
            self._payload.value = self._beats.popleft()
            self._valid.value = 1
            self._driving = True


class FrameSink:
    """Takes frames from a frame stream.

    Parameters
    ----------
    received : Callable[[bytes], None]
        Is given each frame.

    Attributes
    ----------
    pause : Callable[[], int]
        Cycles to wait, not ready, after a beat.
    error : RxError
        Of the frame that ``received`` is given.
    """

    def __init__(self, dut: Any, prefix: str, config: CoreConfig, clock: StreamClock,
                 received: Callable[[bytes], None]):
        self._valid, self._ready = getattr(dut, f"{prefix}__valid"), getattr(dut, f"{prefix}__ready")
        self._payload = getattr(dut, f"{prefix}__payload")
        self._bytes = config.beat_bytes
        layout = frame_layout(config.data_width)
        self._data_mask = (1 << config.data_width) - 1
        self._empty, self._last = layout["empty"].offset, layout["last"].offset
        self._empty_mask = (1 << layout["empty"].width) - 1
        self._error, self._error_mask = layout["error"].offset, (1 << layout["error"].width) - 1
        self.error = RxError.NONE
        self._received = received
        self._octets = bytearray()
        self._wait = 0
        self._is_ready = True
        self.pause: Callable[[], int] = lambda: 0
        self._ready.set(Immediate(1))
        clock.steps.append(self._step)

    def abandon(self) -> None:
        """Forget the beats of a frame that is not whole; only while the other side is reset."""
        self._octets.clear()

    def _step(self) -> None:
        if not self._is_ready:
            self._wait -= 1
            if not self._wait:
                self._ready.value = 1
                self._is_ready = True
            return
        if self._valid.value:
            beat = int(self._payload.value)
            octets = self._octets
            octets += (beat & self._data_mask).to_bytes(self._bytes, "little")
            if beat >> self._last & 1:
                self.error = RxError(beat >> self._error & self._error_mask)
                self._received(bytes(octets[:len(octets) - (beat >> self._empty & self._empty_mask)]))
                octets.clear()
            self._wait = self.pause()
            if self._wait:
                self._ready.value = 0
                self._is_ready = False


def line_burst(frame: bytes, max_frame: int, error: RxError = RxError.NONE) -> GmiiFrame:
    """A frame with preamble and FCS; ``error`` says in which way it is to be bad.

    Parameters
    ----------
    frame : bytes
        Without FCS.
    max_frame : int
        Longest frame that is good, with FCS.
    error : RxError
        What is to be wrong; with ``LENGTH``, the frame must be too short or too long.
    """
    if error == RxError.NONE:
        return GmiiFrame.from_payload(frame)
    if error == RxError.LENGTH:
        assert not LEAST_PAYLOAD <= len(frame) <= max_frame - 4
    fcs = crc32(frame)
    if error == RxError.FCS:
        fcs ^= 1 << len(frame) % 32
    burst = GmiiFrame.from_raw_payload(frame + fcs.to_bytes(4, "little"))
    if error == RxError.PHY:
        burst.error = [0] * len(burst)
        burst.error[8 + len(frame) // 2] = 1
    return burst


class GmiiFrameSource:
    """Sends frames on a GMII, bad ones included, through cocotbext-eth.

    Parameters
    ----------
    dut, prefix
        Where the GMII's signals are: ``<prefix>__rxd`` and so on.
    clock : handle
        RX_CLK.
    max_frame : int
        Longest frame that is good, with FCS.
    """

    def __init__(self, dut: Any, prefix: str, clock: Any, max_frame: int):
        self.source = GmiiSource(getattr(dut, f"{prefix}__rxd"), getattr(dut, f"{prefix}__rx_er"),
                                 getattr(dut, f"{prefix}__rx_dv"), clock)
        self.max_frame = max_frame

    @property
    def idle(self) -> bool:
        """Whether everything was sent."""
        return self.source.idle()

    def send(self, frame: bytes, error: RxError = RxError.NONE) -> None:
        """Queue a frame, with FCS; ``error`` says in which way it is to be bad."""
        self.source.send_nowait(line_burst(frame, self.max_frame, error))


class GmiiFrameSink:
    """Takes frames from a GMII and checks preamble, FCS, TX_ER and gap.

    Parameters
    ----------
    dut, prefix
        Where the GMII's signals are: ``<prefix>__txd`` and so on.
    clock : handle
        GTX_CLK.
    received : Callable[[bytes], None]
        Is given each frame, padding included.
    """

    def __init__(self, dut: Any, prefix: str, clock: Any, received: Callable[[bytes], None]):
        self.sink = GmiiSink(getattr(dut, f"{prefix}__txd"), getattr(dut, f"{prefix}__tx_er"),
                             getattr(dut, f"{prefix}__tx_en"), clock)
        self._received = received

    async def run(self) -> None:
        """Take frames for ever."""
        end = None
        while True:
            burst = await self.sink.recv()
            assert end is None or burst.sim_time_start - end >= GAP_PS, "gap too short"
            end = burst.sim_time_end
            assert burst.error is None, f"TX_ER in a frame of {len(burst)} bytes"
            # GmiiSink leaves the first byte of a burst out
            assert bytes(burst.get_preamble()) == b"\x55" * 6 + b"\xd5"
            assert burst.check_fcs(), "a frame with a bad FCS was sent"
            self._received(bytes(burst.get_payload()))
