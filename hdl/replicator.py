"""Copies of group frames for the routers that ask for them."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .layouts import Reason
from .membership import GROUP_QUERY, Membership, MemberWrite
from .queues import descriptor_layout
from .records import EVENT, ROUTER_BITS
from .stream import LENGTH_BITS
from .table import table_addr_bits

__all__ = ["Replicator", "group_layout"]


def group_layout(config: CoreConfig) -> data.StructLayout:
    """A stored group frame: its cells, and what its takers depend on."""
    return data.StructLayout({
        "cell": table_addr_bits(config.cells), "length": LENGTH_BITS, "query": GROUP_QUERY,
    })


class Replicator(wiring.Component):
    """Turns one stored group frame into descriptors of the same cells, one for each router that takes a copy.

    A place in the host port's queue is reserved for each taker when it is found; the descriptor of a taker is pushed
    when the next one is known, so that the last one (``keep`` = 0) frees the cells when it is read. The queue is read
    in order, so all others were read by then. A frame takes ``routers + 4`` cycles and four more a copy.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : stream of group_layout
        Frames, whole in the buffer.
    o : stream of descriptors
        For the host port's queue, in ascending order of routers within a frame.
    o_release : stream
        Frames of which no copy was made: their cells are to be freed.
    event : stream of EVENT
        ``PUNT_GROUP`` or ``DROP_PUNT_QUEUE`` for each taker, ``DROP_NO_ROUTER`` if there is none.
    reserve : Signal, out
        Take a place in the host port's queue; only when ``room`` is high.
    room, wait : Signal, in
        The queue has a place; ``wait``: somebody else reserves in this cycle, ask again.
    dropped : Signal, out
        High for one cycle for each copy that found no place.
    write : MemberWrite
        Writes of context rows.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        group = group_layout(config)
        super().__init__({
            "i": In(stream.Signature(group)),
            "o": Out(stream.Signature(descriptor_layout(config))),
            "o_release": Out(stream.Signature(data.StructLayout({
                "cell": group["cell"].shape, "length": LENGTH_BITS}))),
            "event": Out(stream.Signature(EVENT)),
            "reserve": Out(1),
            "room": In(1),
            "wait": In(1),
            "dropped": Out(1),
            "write": In(MemberWrite(config)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.membership = membership = Membership(self._config)
        connect(m, flipped(self.write), membership.write)

        frame = Signal(self.i.payload.shape())
        taker = membership.o
        pending = Signal()                  # ``holder`` has a place but no descriptor yet
        holder = Signal(ROUTER_BITS)
        found = Signal(ROUTER_BITS)         # the taker after ``holder``, or one that was refused
        any_taker = Signal()
        final = Signal()
        m.d.comb += [
            membership.i.payload.eq(self.i.payload.query),
            self.o.payload.cell.eq(frame.cell),
            self.o.payload.length.eq(frame.length),
            self.o.payload.router.eq(holder),
            self.o.payload.port.eq(frame.query.port),
            self.o.payload.reason.eq(Reason.PUNT_GROUP),
            self.o.payload.keep.eq(~final),
            self.o_release.payload.cell.eq(frame.cell),
            self.o_release.payload.length.eq(frame.length),
            self.event.payload.port.eq(frame.query.port),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [membership.i.valid.eq(self.i.valid), self.i.ready.eq(membership.i.ready)]
                m.d.sync += [pending.eq(0), any_taker.eq(0), final.eq(0)]
                with m.If(self.i.valid & self.i.ready):
                    m.d.sync += frame.eq(self.i.payload)
                    m.next = "SCAN"
            with m.State("SCAN"):
                with m.If(taker.valid & taker.payload.end):
                    m.d.comb += taker.ready.eq(1)
                    m.d.sync += final.eq(1)
                    with m.If(pending):
                        m.next = "PUSH"
                    with m.Elif(any_taker):
                        m.next = "RELEASE"
                    with m.Else():
                        m.next = "NOBODY"
                with m.Elif(taker.valid & ~self.wait):
                    m.d.comb += [taker.ready.eq(1), self.reserve.eq(self.room), self.dropped.eq(~self.room)]
                    m.d.sync += [found.eq(taker.payload.router), any_taker.eq(1)]
                    with m.If(~self.room):
                        m.next = "REFUSE"
                    with m.Elif(pending):
                        m.next = "PUSH"
                    with m.Else():
                        m.d.sync += [pending.eq(1), holder.eq(taker.payload.router)]
            with m.State("REFUSE"):
                m.d.comb += [
                    self.event.valid.eq(1),
                    self.event.payload.router.eq(found),
                    self.event.payload.reason.eq(Reason.DROP_PUNT_QUEUE),
                ]
                with m.If(self.event.ready):
                    m.next = "SCAN"
            with m.State("PUSH"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.comb += [
                    self.event.valid.eq(1),
                    self.event.payload.router.eq(holder),
                    self.event.payload.reason.eq(Reason.PUNT_GROUP),
                ]
                with m.If(self.event.ready):
                    m.d.sync += holder.eq(found)
                    with m.If(final):
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "SCAN"
            with m.State("NOBODY"):
                m.d.comb += [
                    self.event.valid.eq(1),
                    self.event.payload.router.eq(self._config.no_router),
                    self.event.payload.reason.eq(Reason.DROP_NO_ROUTER),
                ]
                with m.If(self.event.ready):
                    m.next = "RELEASE"
            with m.State("RELEASE"):
                m.d.comb += self.o_release.valid.eq(1)
                with m.If(self.o_release.ready):
                    m.next = "IDLE"
        return m
