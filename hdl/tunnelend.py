"""The end of tunnels: takes frames out of their packets, and finds out by which circuit they come in."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .decapsulate import Decapsulator
from .layouts import TERMINATION_ROW, Reason
from .records import REFUSED, TableSignature, owned_layout
from .stream import LENGTH_BITS
from .table import table_addr_bits
from .terminations import Terminations

__all__ = ["TunnelEnd", "arriving_layout"]


def arriving_layout(width: int) -> data.StructLayout:
    """A beat of a frame that is to come in at the link port; ``length`` and ``tci`` hold for the whole frame.

    ``length`` is without the tag.
    """
    return data.StructLayout({"data": width, "last": 1, "length": LENGTH_BITS, "tci": 16})


class TunnelEnd(wiring.Component):
    """Decapsulates packets, looks their virtual network up, and drops those that no tunnel here is for.

    Latency: 13 cycles from the beat that completes the outer header. A frame takes at most 12 cycles more than the
    outer frame has beats.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of owned_layout
        Packets, with the router that they are for.
    o : stream of arriving_layout
    malformed, unknown : streams of REFUSED
        Packets dropped: ``DROP_MALFORMED``, and ``DROP_NO_ROUTER``.
    seed0, seed1 : Signal(64), in
        Keys of the hashes, as in :class:`.terminations.Terminations`.
    table : TableSignature
        Control port: rows of TERMINATION_ROW.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        width = config.data_width
        super().__init__({
            "i": In(stream.Signature(owned_layout(width))),
            "o": Out(stream.Signature(arriving_layout(width))),
            "malformed": Out(stream.Signature(REFUSED)),
            "unknown": Out(stream.Signature(REFUSED)),
            "seed0": In(64),
            "seed1": In(64),
            "table": In(TableSignature(table_addr_bits(config.circuits), TERMINATION_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.decapsulator = decapsulator = Decapsulator(self.config)
        m.submodules.terminations = terminations = Terminations(self.config.termination_index_bits)
        connect(m, flipped(self.i), decapsulator.i)
        connect(m, flipped(self.table), terminations.table)
        connect(m, decapsulator.event, flipped(self.malformed))
        inner = decapsulator.o
        tunnel = inner.payload.tunnel
        key = terminations.i.payload
        circuit = Signal(TERMINATION_ROW["circuit"].width)
        m.d.comb += [
            terminations.seed0.eq(self.seed0),
            terminations.seed1.eq(self.seed1),
            key.router.eq(inner.payload.router),
            key.kind.eq(tunnel.kind),
            key.key.eq(tunnel.key),
            key.remote.eq(tunnel.source),
            *(self.o.payload[name].eq(inner.payload[name]) for name in ("data", "last", "length")),
            self.o.payload.tci.eq(circuit),
            self.unknown.payload.reason.eq(Reason.DROP_NO_ROUTER),
        ]
        # The frame's first beat waits until it is known where it goes.
        with m.FSM():
            with m.State("ASK"):
                m.d.comb += terminations.i.valid.eq(inner.valid)
                m.d.sync += self.unknown.payload.router.eq(inner.payload.router)
                with m.If(inner.valid & terminations.i.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += terminations.o.ready.eq(1)
                m.d.sync += circuit.eq(terminations.o.payload.circuit)
                with m.If(terminations.o.valid):
                    m.next = "DROP"
                    with m.If(terminations.o.payload.hit):
                        m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += [self.o.valid.eq(inner.valid), inner.ready.eq(self.o.ready)]
                with m.If(inner.valid & inner.ready & inner.payload.last):
                    m.next = "ASK"
            with m.State("DROP"):
                m.d.comb += inner.ready.eq(1)
                with m.If(inner.valid & inner.payload.last):
                    m.next = "EVENT"
            with m.State("EVENT"):
                m.d.comb += self.unknown.valid.eq(1)
                with m.If(self.unknown.ready):
                    m.next = "ASK"
        return m
