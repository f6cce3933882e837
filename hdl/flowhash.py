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
#: Bits of the key in each of the parts of a step.
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

    The key is hashed in 4 steps of a cycle each, which is as fast as the FIB takes flows, or in 12. Latency
    ``steps + 2`` cycles; takes a flow every ``steps`` cycles.

    Parameters
    ----------
    steps : int
        4 or 12.

    Attributes
    ----------
    i : stream of FLOW
    o : stream of the hash
    """

    def __init__(self, steps: int = 4) -> None:
        self._steps = steps
        super().__init__({"i": In(stream.Signature(FLOW)), "o": Out(stream.Signature(ECMP_HASH_BITS))})

    def elaborate(self, platform):
        m = Module()
        steps, step_bits = self._steps, ECMP_KEY_BITS // self._steps
        flow, hashed = self.i.payload, self.o.payload
        key, seed = Signal(ECMP_KEY_BITS), Signal.like(flow.seed)
        parts = [Signal(ECMP_HASH_BITS, name=f"part{k}") for k in range(step_bits // _PART)]
        key_steps = Signal(steps)          # those that are left, from the lowest bit on; none: there is no flow
        parts_valid, parts_first, parts_last = Signal(), Signal(), Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(advance & ~key_steps[1]),
        ]
        with m.If(advance):
            m.d.sync += [
                # What the next step takes moves to where that of this one was.
                key.eq(key >> step_bits),
                seed.eq(seed >> step_bits),
                key_steps.eq(key_steps >> 1),
                parts_valid.eq(key_steps[0]),
                parts_first.eq(key_steps.all()),
                parts_last.eq(~key_steps[1]),
                *(part.eq(toeplitz(seed[k * _PART:], key[k * _PART:(k + 1) * _PART], ECMP_HASH_BITS))
                  for k, part in enumerate(parts)),
                self.o.valid.eq(parts_valid & parts_last),
                hashed.eq(reduce(xor, parts) ^ Mux(parts_first, 0, hashed)),
            ]
        with m.If(self.i.ready):
            m.d.sync += [
                key_steps.eq(self.i.valid.replicate(steps)),
                key.eq(Cat(flow.l4_destination, flow.l4_source, _folded(flow.destination, flow.ipv6),
                           _folded(flow.source, flow.ipv6))),
                seed.eq(flow.seed),
            ]
        return m
