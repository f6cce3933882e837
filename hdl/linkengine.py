"""Behind the link port: from where frames leave it to where they come in again."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .circuits import DEPARTURE, Circuits
from .config import CoreConfig
from .encapsulate import Encapsulator
from .framemux import FrameMux
from .inserter import Inserter
from .layouts import LINK_ROW, PORT_ROW, TERMINATION_ROW, LinkKind
from .portrow import PortRow
from .records import REFUSED, ROUTER_BITS, TableSignature, egress_layout
from .stream import LENGTH_BITS
from .table import table_addr_bits
from .tunnelend import TunnelEnd, arriving_layout

__all__ = ["LinkEngine", "reentering_layout"]


def reentering_layout(width: int) -> data.StructLayout:
    """A beat of a frame that comes in at the link port; all but ``data`` and ``last`` hold for the whole frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS,
        "given": 1,                 # a tunnel's packet, for ``router`` to route; else it has its circuit as a tag
        "router": ROUTER_BITS,
    })


class LinkEngine(wiring.Component):
    """What the link port has in place of a wire (``docs/dataplane.md``, "The link port").

    A frame either comes in again by another circuit, or goes into a tunnel, or comes out of one; frames that go the
    same way keep their order. The engine waits for ``o``, and loses nothing but what it counts.

    In cycles beyond the beats of the frame that comes in: 5 for a frame that changes circuits, 7 into a tunnel, 19 out
    of one; those of different ways overlap.

    Parameters
    ----------
    config : CoreConfig
        With circuits.

    Attributes
    ----------
    i : stream of egress_layout
        What leaves the link port.
    o : stream of reentering_layout
        What comes in.
    refused, malformed, unknown : streams of REFUSED
        Frames dropped: those of :class:`.circuits.Circuits` and of :class:`.tunnelend.TunnelEnd`.
    seed0, seed1 : Signal(64), in
        Keys of the TERMINATION table's hashes.
    port, link, termination : TableSignature
        Control ports of the link port's PORT rows, of LINK and TERMINATION.
    busy : Signal, out
        Something is under way.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        circuit_bits = table_addr_bits(config.circuits)
        super().__init__({
            "i": In(stream.Signature(egress_layout(config.data_width))),
            "o": Out(stream.Signature(reentering_layout(config.data_width))),
            **{name: Out(stream.Signature(REFUSED)) for name in ("refused", "malformed", "unknown")},
            "seed0": In(64),
            "seed1": In(64),
            "port": In(TableSignature(table_addr_bits(config.routers), PORT_ROW.size)),
            "link": In(TableSignature(circuit_bits, LINK_ROW.size)),
            "termination": In(TableSignature(circuit_bits, TERMINATION_ROW.size)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, width = self.config, self.config.data_width
        m.submodules.row = row = PortRow(config)
        m.submodules.source = source = Inserter(config, DEPARTURE)
        m.submodules.circuits = circuits = Circuits(config)
        m.submodules.end = end = TunnelEnd(config)
        m.submodules.encapsulator = encapsulator = Encapsulator(config)
        m.submodules.arrivals = arrivals = FrameMux(arriving_layout(width))
        m.submodules.tag = tag = Inserter(config)
        m.submodules.merge = merge = FrameMux(reentering_layout(width))
        connect(m, flipped(self.i), row.i)
        connect(m, merge.o, flipped(self.o))
        connect(m, flipped(self.port), row.table)
        connect(m, flipped(self.link), circuits.table)
        connect(m, flipped(self.termination), end.table)
        connect(m, circuits.event, flipped(self.refused))
        connect(m, end.malformed, flipped(self.malformed))
        connect(m, end.unknown, flipped(self.unknown))
        m.d.comb += [end.seed0.eq(self.seed0), end.seed1.eq(self.seed1)]

        def passes(origin, target, **fields):
            """Beats of ``origin`` go to ``target``, whose other fields are named by ``fields``."""
            return [
                target.valid.eq(origin.valid),
                origin.ready.eq(target.ready),
                *(target.payload[name].eq(origin.payload[name]) for name in ("data", "last", "length")),
                *(target.payload[name].eq(value) for name, value in fields.items()),
            ]

        # Out of the link port: the tag stays beside the frame.
        leaving = row.o.payload
        beside = source.i.payload.beside
        m.d.comb += [
            *passes(row.o, source.i, own_source=leaving.own_source, mac=leaving.mac),
            beside.tagged.eq(leaving.push),
            *(beside[name].eq(leaving[name]) for name in ("router", "tci", "source", "entropy")),
            *passes(source.o, circuits.i, departure=source.o.payload.beside),
        ]

        # Three ways.
        directed = circuits.o.payload
        ways = {LinkKind.NONE: end.i, LinkKind.DIRECT: arrivals.i[0], LinkKind.TUNNEL: encapsulator.i}
        for kind, way in ways.items():
            m.d.comb += [
                way.valid.eq(circuits.o.valid & (directed.kind == kind)),
                *(way.payload[name].eq(directed[name]) for name, _ in way.payload.shape()),
            ]
            with m.If(directed.kind == kind):
                m.d.comb += circuits.o.ready.eq(way.ready)

        # In again: with a tag, or given to a router.
        connect(m, end.o, arrivals.i[1])
        given = encapsulator.o.payload
        m.d.comb += [
            *passes(arrivals.o, tag.i, push=1, tci=arrivals.o.payload.tci),
            *passes(tag.o, merge.i[0]),
            *passes(encapsulator.o, merge.i[1], given=1, router=given.router),
        ]

        moving = Cat(part.valid for part in (
            self.i, row.o, source.o, circuits.o, end.i, end.o, encapsulator.o, tag.o, self.refused, self.malformed,
            self.unknown))
        m.d.comb += self.busy.eq(moving.any() | circuits.busy)
        return m
