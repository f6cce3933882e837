"""Copies of group frames for the routers that ask for them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .cells import release_layout
from .config import CoreConfig
from .layouts import Reason, TrafficClass
from .membership import GROUP_QUERY, Membership, MemberWrite, PortWrite
from .queues import copy_layout
from .records import EVENT, ROUTER_BITS
from .stream import LENGTH_BITS
from .table import table_addr_bits

__all__ = ["Replicator", "group_layout"]


def group_layout(config: CoreConfig) -> data.StructLayout:
    """A stored group frame: its cells, and what its takers depend on."""
    return data.StructLayout({
        "cell": table_addr_bits(config.cells), "length": LENGTH_BITS, "tagged": 1, "tci": 16, "query": GROUP_QUERY,
    })


class Replicator(wiring.Component):
    """Turns one stored group frame into copies for the host port, one for each router that takes it.

    The frame was stored as one of ``routers + 1`` copies, more than there can be; when all are made, the rest of them
    is given back, so the cells stay until the last copy was read. A frame takes ``routers + 6`` cycles and about five
    more a copy.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : stream of group_layout
        Frames in the buffer.
    copy : stream of copy_layout
        For the host port's queues, in ascending order of routers within a frame.
    done, refused : Signal, in
        The copy is in its queue, or was refused.
    release : stream of release_layout
        Copies that were not made.
    event : stream of EVENT
        ``DROP_NO_ROUTER`` if there is no taker. Copies are counted by the queues.
    write : MemberWrite
        Writes of context rows.
    port_write : PortWrite
        Writes of PORT rows.
    disable : Signal, in
        No router is enabled, so none takes a group frame.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(group_layout(config))),
            "copy": Out(stream.Signature(copy_layout(config))),
            "done": In(1),
            "refused": In(1),
            "release": Out(stream.Signature(release_layout(config))),
            "event": Out(stream.Signature(EVENT)),
            "write": In(MemberWrite(config)),
            "port_write": In(PortWrite(config)),
            "disable": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.membership = membership = Membership(config)
        connect(m, flipped(self.write), membership.write)
        connect(m, flipped(self.port_write), membership.port_write)
        m.d.comb += membership.disable.eq(self.disable)

        frame = Signal(self.i.payload.shape())
        taker = membership.o
        router = Signal(ROUTER_BITS)
        any_taker = Signal()
        rest = Signal.like(self.release.payload.count)      # copies that were not made
        copy = self.copy.payload
        row = Signal.like(copy.row)
        m.d.comb += [
            copy.row.eq(row),
            membership.i.payload.eq(self.i.payload.query),
            copy.port.eq(config.host_port),
            copy.traffic_class.eq(TrafficClass.CONTROL),
            copy.reason.eq(Reason.PUNT_GROUP),
            copy.descriptor.cell.eq(frame.cell),
            copy.descriptor.length.eq(frame.length),
            copy.descriptor.group.eq(1),
            copy.descriptor.router.eq(router),
            copy.descriptor.port.eq(frame.query.port),
            copy.descriptor.reason.eq(Reason.PUNT_GROUP),
            copy.descriptor.tagged.eq(frame.tagged),
            copy.descriptor.tci.eq(frame.tci),
            self.release.payload.cell.eq(frame.cell),
            self.release.payload.length.eq(frame.length),
            self.release.payload.owner.eq(config.no_router),
            self.release.payload.shared.eq(1),
            self.release.payload.count.eq(rest),
            self.event.payload.router.eq(config.no_router),
            self.event.payload.port.eq(frame.query.port),
            self.event.payload.reason.eq(Reason.DROP_NO_ROUTER),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [membership.i.valid.eq(self.i.valid), self.i.ready.eq(membership.i.ready)]
                m.d.sync += [any_taker.eq(0), rest.eq(config.routers + 1)]
                with m.If(self.i.valid & self.i.ready):
                    m.d.sync += frame.eq(self.i.payload)
                    m.next = "SCAN"
            with m.State("SCAN"):
                m.d.comb += taker.ready.eq(1)
                m.d.sync += router.eq(taker.payload.router)
                with m.If(taker.valid):
                    m.next = "ROW"
                    with m.If(taker.payload.end):
                        m.next = "NOBODY"
                        with m.If(any_taker):
                            m.next = "RELEASE"
            with m.State("ROW"):
                m.d.sync += [any_taker.eq(1), row.eq(router * config.all_ports + config.host_port)]
                m.next = "COPY"
            with m.State("COPY"):
                m.d.comb += self.copy.valid.eq(1)
                with m.If(self.copy.ready):
                    m.next = "DONE"
            with m.State("DONE"), m.If(self.done):
                m.d.sync += rest.eq(Mux(self.refused, rest, rest - 1))
                m.next = "SCAN"
            with m.State("NOBODY"):
                m.d.comb += self.event.valid.eq(1)
                with m.If(self.event.ready):
                    m.next = "RELEASE"
            with m.State("RELEASE"):
                m.d.comb += self.release.valid.eq(1)
                with m.If(self.release.ready):
                    m.next = "IDLE"
        return m
