import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from polyrouter.hdl.arbiter import HeaderArbiter
from polyrouter.hdl.capture import HEADER_BYTES
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import pack, unpack
from polyrouter.hdl.records import TAG

from .bench import WIDTHS, simulate, sink, source, until
from .header_bench import header_item_layout, header_sink, offer_beats


def header(port, number, rng, width=64):
    """With all that is told of a tag, where ``width`` is that of one."""
    layout = header_item_layout(CoreConfig(data_width=width))
    octets = port | number << 8 | rng.getrandbits(480) << 16
    told = {str(name): rng.getrandbits(field.width) for name, field in layout if name not in ("data", "length")}
    return pack(layout, {"data": octets, "length": rng.randint(14, HEADER_BYTES), **told})


def host_source(dut, items, rng, rate):
    """Offers injected headers: tuples of (header, router, egress port)."""
    async def testbench(ctx):
        for item, router, port in items:
            ctx.set(dut.inject_router, router)
            ctx.set(dut.inject_port, port)
            await source(dut.i_host, [item], rng=rng, rate=rate)(ctx)
    return testbench


def link_source(dut, items, routers, rng, rate):
    """Offers headers of the link port, each given to a router or to none. Between them the signals are rubbish."""
    async def testbench(ctx):
        stream = dut.i[dut.config.link_port]
        for item, router in zip(items, routers, strict=True):
            while rng.random() >= rate:
                ctx.set(dut.given, rng.getrandbits(1))
                ctx.set(dut.given_router, rng.getrandbits(10))
                await ctx.tick()
            ctx.set(dut.given, router is not None)
            ctx.set(dut.given_router, rng.getrandbits(10) if router is None else router)
            await source(stream, [item])(ctx)
    return testbench


class NarrowArbiter(wiring.Component):
    """The arbiter for narrow beats, to which each header is offered in one piece."""

    def __init__(self, config):
        self.config = config
        self.dut = dut = HeaderArbiter(config)
        item = stream.Signature(header_item_layout(config))
        super().__init__({"i": In(item).array(config.ports), "i_host": In(item),
                          **{name: member for name, member in dut.signature.members.items()
                             if name in ("inject_router", "inject_port", "released", "o", "o_beats")}})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        for offered, taken, beats in zip((*self.i, self.i_host), (*dut.i, dut.i_host), (*dut.i_beats, dut.i_host_beats),
                                         strict=True):
            m.d.comb += [
                taken.valid.eq(offered.valid), offered.ready.eq(taken.ready),
                *(taken.payload[name].eq(offered.payload[name]) for name, _ in taken.payload.shape()),
            ]
            offer_beats(m, offered, beats)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        wiring.connect(m, dut.o_beats, wiring.flipped(self.o_beats))
        m.d.comb += [
            dut.inject_router.eq(self.inject_router), dut.inject_port.eq(self.inject_port),
            dut.released.eq(self.released)]
        return m


def run(config, headers, injected, *, given=None, rates=(1.0, 1.0), seed=0, hold=20):
    """Headers with their tags, and the cycle of each. Each is released about ``hold`` cycles after it was taken.

    ``given`` has a router, or None, for each header of the link port.
    """
    dut = (NarrowArbiter if config.narrow_headers else HeaderArbiter)(config)
    rng = random.Random(seed)
    out, times = [], []
    underway = [0] * config.all_ports
    most = [0] * config.all_ports
    total = sum(len(h) for h in headers) + len(injected)

    async def release(ctx):
        """Counts what is on its way, taken from the inputs, and gives it back."""
        due = []
        cycle = 0
        sources = [*dut.i, dut.i_host]
        while True:
            now = 0
            for entry in [entry for entry in due if entry[0] <= cycle]:
                if not now & 1 << entry[1]:
                    due.remove(entry)
                    now |= 1 << entry[1]
            ctx.set(dut.released, now)
            *_, valid, ready = await ctx.tick().sample(
                Value.cast(sum(s.valid << k for k, s in enumerate(sources))),
                Value.cast(sum(s.ready << k for k, s in enumerate(sources))))
            cycle += 1
            for port in range(config.all_ports):
                taken = valid & ready & 1 << port
                underway[port] += bool(taken) - bool(now & 1 << port)
                most[port] = max(most[port], underway[port])
                if taken:
                    due.append((cycle + hold, port))

    sources = [source(dut.i[k], headers[k], rng=rng, rate=rates[0]) for k in range(config.wired_ports)]
    if config.circuits:
        sources.append(link_source(dut, headers[-1], given, rng, rates[0]))
    simulate(dut, [*sources, host_source(dut, injected, rng, rates[0]), until(lambda: len(out) == total)],
             [header_sink(dut, dut.o, out, rng=rng, rate=rates[1], times=times), release])
    result = []
    for item in out:
        fields = unpack(header_item_layout(config, tag=True), item)
        tag = unpack(TAG, fields.pop("tag"))
        result.append((pack(header_item_layout(config), fields), tag))
    return result, times, most


@pytest.mark.every_width
@pytest.mark.parametrize("ports, most_headers, slices, width", [
    (1, 16, 1, 64), (1, 4, 0, 32), (3, 4, 0, 64), (4, 16, 1, 64), (8, 8, 0, 64)])
@pytest.mark.parametrize("rates, hold", [((1.0, 1.0), 3), ((0.4, 0.7), 60), ((1.0, 1.0), 300)])
def test_headers_keep_the_order_of_their_port(ports, most_headers, slices, width, rates, hold):
    config = CoreConfig(ports=ports, headers=most_headers, slices=slices, data_width=width)
    rng = random.Random(ports)
    headers = [[header(port, k, rng, width) for k in range(rng.randint(0, 40))] for port in range(ports)]
    injected = [(header(ports, k, rng, width), rng.randrange(8), rng.randrange(ports)) for k in range(20)]
    out, _, most = run(config, headers, injected, rates=rates, hold=hold)
    for port in range(ports):
        of_port = [(item, tag) for item, tag in out if tag["port"] == port]
        assert [item for item, _ in of_port] == headers[port]
        assert all(tag == {"port": port, "injected": 0, "given": 0, "router": 0, "egress": 0} for _, tag in of_port)
    from_host = [(item, tag["router"], tag["egress"]) for item, tag in out if tag["injected"]]
    assert from_host == injected
    assert all(tag["port"] == config.host_port and not tag["given"] for _, tag in out if tag["injected"])
    assert max(most) <= config.headers
    if hold == 300:
        assert config.headers in most


@pytest.mark.parametrize("ports", [2, 5, 8])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.4, 0.7)])
def test_headers_that_are_given_to_a_router(ports, rates):
    """Those of the link port alone, and each with its own router."""
    config = CoreConfig(ports=ports, circuits=64)
    rng = random.Random(ports)
    headers = [[header(port, k, rng) for k in range(30)] for port in range(ports)]
    given = [rng.choice([None, rng.randrange(1024)]) for _ in range(30)]
    injected = [(header(ports, k, rng), rng.randrange(8), rng.randrange(ports)) for k in range(30)]
    out, *_ = run(config, headers, injected, given=given, rates=rates)
    for port in range(ports):
        of_port = [(item, tag) for item, tag in out if tag["port"] == port]
        assert [item for item, _ in of_port] == headers[port]
        to = given if port == config.link_port else [None] * 30
        assert [tag for _, tag in of_port] == [
            {"port": port, "injected": 0, "given": int(router is not None), "router": router or 0, "egress": 0}
            for router in to]
    assert [(item, tag) for item, tag in out if tag["port"] == config.host_port] == [
        (item, {"port": ports, "injected": 1, "given": 0, "router": router, "egress": egress})
        for item, router, egress in injected]


@pytest.mark.parametrize("slices, cycles", [(1, 2), (0, 1)])
def test_takes_turns(slices, cycles):
    """With a header every other cycle, or every cycle if there is no register."""
    config = CoreConfig(slices=slices)
    rng = random.Random(1)
    headers = [[header(port, k, rng) for k in range(8)] for port in range(config.ports)]
    injected = [(header(4, k, rng), 1, 1) for k in range(8)]
    out, times, _ = run(config, headers, injected)
    order = [tag["port"] for _, tag in out]
    assert sorted(order[:5]) == [0, 1, 2, 3, 4]
    assert order == order[:5] * 8
    first = 2 + slices                                  # offered in cycle 1
    assert times == list(range(first, first + cycles * len(times), cycles))


def test_a_port_that_has_all_its_headers_underway_does_not_hold_up_the_others():
    config = CoreConfig(ports=2)
    rng = random.Random(2)
    dut = HeaderArbiter(config)
    out = []
    lots = [header(0, k, rng) for k in range(config.headers + 5)]
    few = [header(1, k, rng) for k in range(10)]

    async def main(ctx):
        await source(dut.i[1], few, rng=rng, rate=0.2)(ctx)
        await ctx.tick().repeat(30)
        assert len(out) == config.headers + len(few)
        for k in range(5):
            assert len(out) == config.headers + len(few) + k
            ctx.set(dut.released, 1)
            await ctx.tick()
            ctx.set(dut.released, 0)
            await ctx.tick().repeat(4)
        assert len(out) == len(lots) + len(few)

    simulate(dut, [main], [sink(dut.o, out), source(dut.i[0], lots)])


@pytest.mark.parametrize("width", WIDTHS[:2])
@pytest.mark.parametrize("ports, circuits", [(1, 0), (8, 0), (8, 64)])
def test_elaborates(ports, circuits, width):
    assert rtlil.convert(HeaderArbiter(CoreConfig(ports=ports, circuits=circuits, data_width=width)))
