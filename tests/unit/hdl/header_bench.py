"""Headers as they go from a port to the parser: in one piece, or in beats that are read at the port."""

from amaranth.hdl import Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.capture import HEADER, HEADER_BYTES
from polyrouter.hdl.narrowheader import NARROW_HEADER, header_layout
from polyrouter.hdl.parser import Parser
from polyrouter.hdl.records import META, TAG

from .bench import sink

__all__ = ["header_item_layout", "header_sink", "offer_beats", "parser_for"]

BEAT_BITS = 32


def header_item_layout(config, tag=False):
    """What tests have as one header: its bytes, and what is told beside."""
    fields = {"data": HEADER["data"].shape, **{name: field.shape for name, field in header_layout(config)}}
    return data.StructLayout(fields | ({"tag": TAG} if tag else {}))


def offer_beats(m: Module, item, beats) -> None:
    """The beats of a header that is there in one piece."""
    m.d.comb += beats.beat.eq(item.data.word_select(beats.index, BEAT_BITS))


class _NarrowParser(wiring.Component):
    """The parser of narrow beats, with headers in one piece."""

    def __init__(self, config):
        self._config = config
        super().__init__({"i": In(stream.Signature(header_item_layout(config, tag=True))),
                          "o": Out(stream.Signature(META))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = Parser(self._config)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        offer_beats(m, self.i.payload, dut.i_beats)
        m.d.comb += [
            dut.i.valid.eq(self.i.valid), self.i.ready.eq(dut.i.ready),
            *(dut.i.payload[name].eq(self.i.payload[name]) for name in (*(str(n) for n, _ in NARROW_HEADER), "tag")),
        ]
        return m


def parser_for(config):
    """A parser that takes headers in one piece, whatever its beats."""
    return (_NarrowParser if config.narrow_headers else Parser)(config)


def header_sink(dut, header, items, *, rng=None, rate=1.0, times=None, count=None):
    """:func:`.bench.sink` for the stream ``header`` of a component. What is offered must not change."""
    if not dut.config.narrow_headers:
        return sink(header, items, rng=rng, rate=rate, times=times, count=count)

    async def testbench(ctx):
        cycle = 0
        offered = None
        while count is None or len(items) < count:
            ready = rng is None or rng.random() < rate
            ctx.set(header.ready, ready)
            octets = 0
            if ctx.get(header.valid):
                for k in range(8 * HEADER_BYTES // BEAT_BITS):
                    ctx.set(dut.o_beats.index, k)
                    octets |= ctx.get(dut.o_beats.beat) << BEAT_BITS * k
            *_, valid, rest = await ctx.tick().sample(header.valid, Value.cast(header.payload))
            cycle += 1
            value = octets | rest << 8 * HEADER_BYTES if valid else None
            if offered is not None:
                assert value == offered, "a header changed before it was taken"
            offered = None if ready else value
            if valid and ready:
                items.append(value)
                if times is not None:
                    times.append(cycle)
        ctx.set(header.ready, 0)
    return testbench
