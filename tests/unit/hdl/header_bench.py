"""Headers as they go from a port to the parser: in one piece, or in beats that are read at the port."""

from amaranth.hdl import Module, Mux, Signal, Value
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


def offer_beats(m: Module, offered, beats) -> None:
    """The beats of a header that is there in one piece. Each is rubbish once it may be another header's."""
    taken = Signal.like(offered.payload.data)
    since = Signal(range(HEADER_BYTES // (BEAT_BITS // 8) + 1), init=HEADER_BYTES // (BEAT_BITS // 8))
    with m.If(offered.valid & offered.ready):
        m.d.sync += [taken.eq(offered.payload.data), since.eq(0)]
    with m.Elif(since != since.init):
        m.d.sync += since.eq(since + 1)
    m.d.comb += beats.beat.eq(Mux(beats.index < since, 0xDEADBEEF, taken.word_select(beats.index, BEAT_BITS)))


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
        offer_beats(m, self.i, dut.i_beats)
        m.d.comb += [
            dut.i.valid.eq(self.i.valid), self.i.ready.eq(dut.i.ready),
            *(dut.i.payload[name].eq(self.i.payload[name]) for name in (*(str(n) for n, _ in NARROW_HEADER), "tag")),
        ]
        return m


def parser_for(config):
    """A parser that takes headers in one piece, whatever its beats."""
    return (_NarrowParser if config.narrow_headers else Parser)(config)


def header_sink(dut, header, items, *, rng=None, rate=1.0, times=None, count=None):
    """:func:`.bench.sink` for the stream ``header`` of a component. What is offered must not change. Narrow beats are
    read when it was taken, as late as they may be; if the sink is to be always ready, in the cycle after."""
    if not dut.config.narrow_headers:
        return sink(header, items, rng=rng, rate=rate, times=times, count=count)

    async def testbench(ctx):
        cycle = 0
        offered = None
        while count is None or len(items) < count:
            ready = rng is None or rng.random() < rate
            ctx.set(header.ready, ready)
            *_, valid, rest = await ctx.tick().sample(header.valid, Value.cast(header.payload))
            cycle += 1
            assert offered is None or (valid and rest == offered), "a header changed before it was taken"
            offered = rest if valid and not ready else None
            if valid and ready:
                if times is not None:
                    times.append(cycle)
                octets = 0
                for k in range(8 * HEADER_BYTES // BEAT_BITS):
                    ctx.set(dut.o_beats.index, k)
                    octets |= ctx.get(dut.o_beats.beat) << BEAT_BITS * k
                    if rng is not None and rate < 1:
                        ctx.set(header.ready, 0)
                        await ctx.tick()
                        cycle += 1
                items.append(octets | rest << 8 * HEADER_BYTES)
        ctx.set(header.ready, 0)
    return testbench
