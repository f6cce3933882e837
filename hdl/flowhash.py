"""The hash that keeps the packets of a flow on one of several next hops."""

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import CONTEXT_ROW, ECMP_HASH_BITS, ECMP_KEY_BITS
from .records import META
from .toeplitz import toeplitz

__all__ = ["FLOW", "FlowHash"]

_WORD = 32
_PORT_BITS = META["l4_source"].width
#: Bits of the key in each of the two steps, and in each of a step's parts.
_STEP = ECMP_KEY_BITS // 2
_PART = 8

#: What the hash is made of; fields as in META and in the context row.
FLOW = data.StructLayout({
    "ipv6": META["ipv6"].width,
    "source": META["ip_source"].width,
    "destination": META["ip_destination"].width,
    "l4_source": _PORT_BITS,
    "l4_destination": _PORT_BITS,
    "seed": CONTEXT_ROW["ecmp_seed"].width,
})


def _folded(address: Value, ipv6: Value) -> Value:
    """32 bits of a left-aligned address."""
    first, *others = (address[k:k + _WORD] for k in range(len(address) - _WORD, -1, -_WORD))
    return first ^ Mux(ipv6, reduce(xor, others), 0)


class FlowHash(wiring.Component):
    """The flow hash of ``docs/dataplane.md`` (Toeplitz, as in Microsoft RSS) of a stream of flows, in their order.

    Half of the key is hashed in each of two cycles. Latency 4 cycles; takes a flow every 2 cycles.

    Attributes
    ----------
    i : stream of FLOW
    o : stream of the hash
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(FLOW)), "o": Out(stream.Signature(ECMP_HASH_BITS))})

    def elaborate(self, platform):
        m = Module()
        flow, hashed = self.i.payload, self.o.payload
        key, seed = Signal(ECMP_KEY_BITS), Signal.like(flow.seed)
        parts = [Signal(ECMP_HASH_BITS, name=f"part{k}") for k in range(_STEP // _PART)]
        key_valid, key_second, parts_valid, parts_second = Signal(), Signal(), Signal(), Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(advance & (~key_valid | key_second)),
        ]
        with m.If(advance):
            m.d.sync += [
                # The second half moves to where the first one was.
                key.eq(key >> _STEP),
                seed.eq(seed >> _STEP),
                key_second.eq(1),
                parts_valid.eq(key_valid),
                parts_second.eq(key_second),
                *(part.eq(toeplitz(seed[k * _PART:], key[k * _PART:(k + 1) * _PART], ECMP_HASH_BITS))
                  for k, part in enumerate(parts)),
                self.o.valid.eq(parts_valid & parts_second),
                hashed.eq(reduce(xor, parts) ^ Mux(parts_second, hashed, 0)),
            ]
        with m.If(self.i.ready):
            m.d.sync += [
                key_valid.eq(self.i.valid),
                key_second.eq(0),
                key.eq(Cat(flow.l4_destination, flow.l4_source, _folded(flow.destination, flow.ipv6),
                           _folded(flow.source, flow.ipv6))),
                seed.eq(flow.seed),
            ]
        return m
