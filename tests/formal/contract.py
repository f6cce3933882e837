"""The rules of a stream, as properties: to be asserted of an output, or assumed of an input."""

from collections.abc import Sequence

from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, Signal, Value

__all__ = ["StreamContract"]


class StreamContract(Elaboratable):
    """Checks that once ``valid`` is high it stays, with the same payload, until the beat is accepted.

    Latency is 0: the properties look at the cycle before, which is kept in registers.

    Parameters
    ----------
    stream : object
        Has ``valid``, ``ready`` and ``payload``, such as a port of a component.
    assume : bool
        Constrain the stream instead of checking it: for streams that drive the component under proof.
    stable : sequence of Value
        Further signals that hold with the payload (sideband outputs).
    """

    def __init__(self, stream, *, assume: bool = False, stable: Sequence[Value] = ()):
        self._stream = stream
        self._rule = Assume if assume else Assert
        self._stable = tuple(stable)

    def elaborate(self, platform):
        m = Module()
        now = Cat(Value.cast(self._stream.payload), *(Value.cast(signal) for signal in self._stable))
        before = Signal(len(now))
        stalled = Signal()
        m.d.sync += [before.eq(now), stalled.eq(self._stream.valid & ~self._stream.ready)]
        with m.If(stalled):
            m.d.comb += [self._rule(self._stream.valid), self._rule(now == before)]
        return m
