"""The authenticated host link of a board: between a data port's MAC and the core."""

from dataclasses import replace

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..config import CoreConfig
from ..framemux import FrameMux
from ..framewidth import FrameWidth
from ..stream import FrameSignature, frame_layout
from .counters import LinkCounters
from .layouts import DEFAULT_MAC, LINK_WIDTH, LinkEvent
from .receiver import LinkReceiver
from .sharedhash import SharedHash
from .splitter import LinkSplitter
from .transmitter import LinkTransmitter

__all__ = ["AuthenticatedLink"]


class AuthenticatedLink(wiring.Component):
    """Shares a data port between the core and the host, whose frames are authenticated (``docs/boards.md``).

    The MAC of the port must take frames that are ``2 * AUTH_HEADER_BYTES`` longer than ``max_frame``; what is too long
    for the core, it drops and counts itself. Frames of the core and of the link leave whole, in turn if there are both.

    The hash takes words of 64 bits, so the link has beats of that width inside; those of another width are converted at
    its ports.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    key : Signal(128), in
        The board's, first byte lowest.
    nonce : Signal(64), in
        Another one after each reset, for as long as the key is used; constant from the first frame on.
    mac : Signal(48), in
        The board's address, first byte lowest; ``DEFAULT_MAC`` unless there are several boards on the segment.
    rx, tx : FrameSignature
        To and from the port's MAC.
    core_rx, core_tx : FrameSignature
        The data port of the core.
    host_rx, host_tx : FrameSignature
        The host port of the core.
    counter, count : Signal, in and out
        Which :class:`.layouts.LinkEvent` to show, and how often it happened, in the next cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        frames = FrameSignature(config)
        super().__init__({
            "key": In(128), "nonce": In(64), "mac": In(48, init=DEFAULT_MAC),
            "rx": In(frames), "tx": Out(frames), "core_rx": Out(frames), "core_tx": In(frames),
            "host_rx": Out(frames), "host_tx": In(frames),
            "counter": In(range(len(LinkEvent))), "count": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        width = self.config.data_width
        inner = replace(self.config, data_width=LINK_WIDTH)
        m.submodules.splitter = splitter = LinkSplitter(inner)
        m.submodules.receiver = receiver = LinkReceiver(inner)
        m.submodules.transmitter = transmitter = LinkTransmitter(inner)
        m.submodules.hash = shared = SharedHash()
        m.submodules.mux = mux = FrameMux(frame_layout(width))
        m.submodules.counters = counters = LinkCounters(len(LinkEvent))
        m.submodules.rx_width = rx_width = FrameWidth(width, LINK_WIDTH)
        m.submodules.tx_width = tx_width = FrameWidth(LINK_WIDTH, width)
        m.submodules.core_rx_width = core_rx_width = FrameWidth(LINK_WIDTH, width)
        m.submodules.host_rx_width = host_rx_width = FrameWidth(LINK_WIDTH, width)
        m.submodules.host_tx_width = host_tx_width = FrameWidth(width, LINK_WIDTH)
        connect(m, flipped(self.rx), rx_width.i)
        connect(m, rx_width.o, splitter.i)
        connect(m, splitter.o_core, core_rx_width.i)
        connect(m, core_rx_width.o, flipped(self.core_rx))
        connect(m, splitter.o_link, receiver.i)
        connect(m, receiver.o, host_rx_width.i)
        connect(m, host_rx_width.o, flipped(self.host_rx))
        connect(m, receiver.greeting, transmitter.greeting)
        connect(m, receiver.hash, shared.users[0])
        connect(m, transmitter.hash, shared.users[1])
        connect(m, flipped(self.host_tx), host_tx_width.i)
        connect(m, host_tx_width.o, transmitter.i)
        connect(m, flipped(self.core_tx), mux.i[0])
        connect(m, transmitter.o, tx_width.i)
        connect(m, tx_width.o, mux.i[1])
        connect(m, mux.o, flipped(self.tx))
        m.d.comb += [
            shared.key.eq(self.key), receiver.nonce.eq(self.nonce), transmitter.nonce.eq(self.nonce),
            splitter.mac.eq(self.mac), transmitter.mac.eq(self.mac),
            counters.events.eq(receiver.events),
            counters.row.eq(self.counter), self.count.eq(counters.value),
        ]
        return m
