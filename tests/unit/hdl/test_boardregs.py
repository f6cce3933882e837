# amaranth: UnusedElaboratable=no
# What is refused is not used.
"""Registers of a board against the golden model's: every row, the counters' latency, accesses to PHYs."""

import random

import pytest
from polyrouter.hdl.boardregs import BoardRegisters
from polyrouter.hdl.config import ConfigError
from polyrouter.hdl.layouts import (
    BOARD_LEDS,
    BOARD_MDIO,
    BOARD_PORT_BITS,
    BOARD_ROWS,
    BOARD_WATCHDOG,
    BOARD_WRITABLE,
    BoardRow,
    HostLinkKind,
    pack,
    unpack,
)
from polyrouter.hdl.mdio import INBAND_STATUS, MDIO_COMMAND, MDIO_RESPONSE, PHY_STATUS
from polyrouter.sim.golden_board import GoldenBoard, MdioAccess

from .bench import access, simulate, sink, source

UNIT = 16


def answer_of(access):
    """What the PHYs of these tests say: something that tells which one was asked for what."""
    ok = access.phy % 5 != 4
    return (access.bus << 13 ^ access.phy << 8 ^ access.register) if ok else 0xFFFF, ok


class Bench:
    """The registers with a golden twin, and PHYs that take their time."""

    def __init__(self, name="versa_ecp5", phys=((0, 0), (0, 1)), seed=0, *, disables=False, timeout=0,
                 link=HostLinkKind.PORT, link_port=0):
        self.rng = random.Random(seed)
        self.dut = BoardRegisters(name, phys, disables=disables, timeout=timeout, watchdog_unit=UNIT, link=link,
                                  link_port=link_port)
        self.model = GoldenBoard(name, phys, answer_of, disables=disables, timeout=timeout, mdio_reads=1 << 30,
                                 link=link, link_port=link_port)
        self.seen = []      # accesses that came out, in their order
        self.counts = [0] * 8
        self.stalled = False

    def phy(self, bus):
        """What is at an MDIO bus."""
        commands = []

        async def testbench(ctx):
            while True:
                await sink(self.dut.mdio_command[bus], commands, rng=self.rng, rate=0.2, count=1)(ctx)
                fields = unpack(MDIO_COMMAND, commands.pop())
                wanted = MdioAccess(bus, fields["phy"], fields["register"], bool(fields["write"]), fields["data"])
                self.seen.append(wanted)
                data, ok = answer_of(wanted)
                while self.stalled:
                    await ctx.tick()
                await source(self.dut.mdio_response[bus], [pack(MDIO_RESPONSE, {"data": data, "ok": ok})],
                             rng=self.rng, rate=0.1)(ctx)
        return testbench

    async def link_counters(self, ctx):
        """Counters whose value comes a cycle after their number, as late as it may."""
        async for _, _, number in ctx.tick().sample(self.dut.link_counter):
            ctx.set(self.dut.link_count, self.counts[number])

    async def read(self, ctx, row):
        return await access(ctx, self.dut.table, row)

    async def write(self, ctx, row, value):
        await access(ctx, self.dut.table, row, value)
        self.model.write(row, value)

    async def ended(self, ctx):
        """Wait until no access to a PHY is under way; gives the row."""
        while True:
            row = unpack(BOARD_MDIO, await self.read(ctx, BoardRow.MDIO))
            if not row["busy"]:
                return row

    async def check(self, ctx):
        for row in range(BOARD_ROWS):
            assert await self.read(ctx, row) == self.model.read(row), row

    def run(self, process, limit=60_000):
        simulate(self.dut, [process], [self.link_counters, *(self.phy(bus) for bus in range(self.dut.buses))],
                 limit=limit)


def random_status(rng, layout):
    return {name: rng.getrandbits(field.width) for name, field in layout}


@pytest.mark.parametrize("name, phys, link, link_port", [
    ("x", [(0, 31)], HostLinkKind.UART, 0),
    ("colorlight_5a75b", [(0, 0), (0, 1)], HostLinkKind.PORT, 1),
    ("netfpga_1g_cml", [(0, 1), (0, 2), (0, 3), (1, 1)], HostLinkKind.AUTHENTICATED, 2),
    ("ecp5_85f_4port_!", [(bus, 7 * bus) for bus in range(4)], HostLinkKind.PORT, 0),
    ("sixteen", [(port // 2, port % 2) for port in range(16)], HostLinkKind.PORT, 15),
])
def test_every_row_at_random(name, phys, link, link_port):
    bench = Bench(name, phys, seed=len(phys), link=link, link_port=link_port)
    dut, model, rng = bench.dut, bench.model, bench.rng

    async def main(ctx):
        await bench.check(ctx)
        for _ in range(8):
            for port in range(len(phys)):
                phy, inband = random_status(rng, PHY_STATUS), random_status(rng, INBAND_STATUS)
                ctx.set(dut.phy[port], phy)
                ctx.set(dut.inband[port], inband)
                model.status[port] = {**phy, **{f"inband_{key}": value for key, value in inband.items()}}
            bench.counts = [rng.getrandbits(32) for _ in model.counters] + [0]
            model.counters = dict(zip(model.counters, bench.counts, strict=False))
            for row in rng.sample(sorted(BOARD_WRITABLE), 3):
                await bench.write(ctx, row, rng.getrandbits(64))
                if model.accesses and await bench.ended(ctx) and unpack(BOARD_MDIO, model.read(BoardRow.MDIO))["busy"]:
                    model.finish()
            await bench.check(ctx)
            assert ctx.get(dut.mdio_hold) == model.hold
            assert [ctx.get(signal) for signal in (dut.loopback, dut.led_override, dut.led_value)] == [
                bits & (1 << len(phys)) - 1 for bits in (model.loopback, model.led_override, model.led_value)]

    bench.run(main)
    assert bench.seen == model.accesses


def test_rows_that_are_not_writable_stay():
    """The control engine refuses such writes; the registers don't rely on it."""
    bench = Bench()

    async def main(ctx):
        await bench.write(ctx, BoardRow.LEDS, pack(BOARD_LEDS, {"override": 1, "value": 3}))
        for row in set(range(BOARD_ROWS)) - BOARD_WRITABLE:
            await access(ctx, bench.dut.table, row, (1 << 64) - 1)
        await bench.check(ctx)

    bench.run(main)
    assert not bench.seen


@pytest.mark.parametrize("seed", range(2))
def test_accesses_to_phys(seed):
    bench = Bench(phys=[(0, 0), (1, 0), (2, 9)], seed=seed)
    rng = bench.rng
    wanted = []

    async def main(ctx):
        for _ in range(30):
            fields = {"bus": rng.randrange(3), "phy": rng.randrange(32), "register": rng.randrange(32),
                      "write": rng.getrandbits(1), "data": rng.getrandbits(16), "hold": rng.getrandbits(1)}
            wanted.append(MdioAccess(*(fields[name] for name in MdioAccess._fields)))
            await bench.write(ctx, BoardRow.MDIO, pack(BOARD_MDIO, fields | {"start": 1}))
            # While it is busy only ``hold`` counts.
            row = unpack(BOARD_MDIO, await bench.read(ctx, BoardRow.MDIO))
            if row["busy"]:
                assert (row["done"], row["ok"]) == (0, 0), "they are not those of the access before"
                other = {**fields, "data": 0x5555, "register": 30, "start": 1, "hold": 1 - fields["hold"]}
                busy = unpack(BOARD_MDIO, await bench.read(ctx, BoardRow.MDIO))["busy"]
                if busy and rng.random() < 0.2:
                    await bench.write(ctx, BoardRow.MDIO, pack(BOARD_MDIO, other | {"start": 0}))
                    fields["hold"] = other["hold"]
            row = await bench.ended(ctx)
            data, ok = answer_of(wanted[-1])
            assert row == fields | {"start": 0, "busy": 0, "done": 1, "ok": int(ok),
                                    "data": fields["data"] if fields["write"] else data}

    bench.run(main)
    assert bench.seen == wanted


@pytest.mark.parametrize("seed", range(8))
def test_an_access_is_not_disturbed_by_another_start(seed):
    bench = Bench(seed=seed)
    bench.stalled = True

    async def main(ctx):
        first = {"phy": 1, "register": 2, "start": 1}
        await bench.write(ctx, BoardRow.MDIO, pack(BOARD_MDIO, first))
        await bench.write(ctx, BoardRow.MDIO, pack(BOARD_MDIO, {"phy": 3, "register": 4, "start": 1, "hold": 1}))
        assert ctx.get(bench.dut.mdio_hold) == 1
        bench.stalled = False
        row = await bench.ended(ctx)
        assert (row["phy"], row["register"], row["data"]) == (1, 2, 0x102)

    bench.run(main)
    assert [(wanted.phy, wanted.register) for wanted in bench.seen] == [(1, 2)]


def test_a_bus_that_does_not_exist_answers_nothing():
    bench = Bench()

    async def main(ctx):
        await bench.write(ctx, BoardRow.MDIO, pack(BOARD_MDIO, {"bus": 5, "phy": 1, "start": 1}))
        row = unpack(BOARD_MDIO, await bench.read(ctx, BoardRow.MDIO))
        assert (row["busy"], row["done"], row["ok"]) == (0, 1, 0)

    bench.run(main)
    assert not bench.seen


@pytest.mark.parametrize("disables", [False, True])
def test_watchdog(disables):
    bench = Bench(disables=disables, timeout=3)
    dut, model = bench.dut, bench.model

    async def frame(ctx):
        ctx.set(dut.host_alive, 1)
        await ctx.tick()
        ctx.set(dut.host_alive, 0)
        model.frame()

    async def silence(ctx, units):
        await ctx.tick().repeat(units * UNIT)
        model.silence(units)
        await bench.check(ctx)
        assert ctx.get(dut.disable) == model.disable

    async def main(ctx):
        await silence(ctx, 6)           # nobody was there yet
        await frame(ctx)
        # Checks take cycles too, so what is between "not yet" and "already" is test_watchdog.py's.
        await ctx.tick().repeat(2 * UNIT)
        assert not unpack(BOARD_WATCHDOG, await bench.read(ctx, BoardRow.WATCHDOG))["expired"]
        await silence(ctx, 5)
        assert model.expired
        await frame(ctx)
        await silence(ctx, 1)
        assert model.expired
        await bench.write(ctx, BoardRow.WATCHDOG, pack(BOARD_WATCHDOG, {"timeout": 0, "expired": 1}))
        await silence(ctx, 10)
        assert not model.expired

    bench.run(main)


@pytest.mark.parametrize("change, message", [
    ({"name": ""}, "board's name must be 1 to 16 characters of ASCII, not ''"),
    ({"name": "seventeen letters"}, "board's name must be 1 to 16 characters of ASCII, not 'seventeen letters'"),
    ({"name": "Plätte"}, "board's name must be 1 to 16 characters of ASCII, not 'Plätte'"),
    ({"phys": []}, "a board has 1 to 16 ports with a PHY, not 0"),
    ({"phys": [(0, port) for port in range(17)]}, "a board has 1 to 16 ports with a PHY, not 17"),
    ({"phys": [(0, 1), (8, 2)]}, "MDIO bus of port 1 must be 0 to 7, not 8"),
    ({"phys": [(0, 32)]}, "MDIO address of port 0 must be 0 to 31, not 32"),
    ({"phys": [(0, 1), (1, 1), (0, 1)]}, "ports 0 and 2 have the same PHY: bus 0, address 1"),
    ({"timeout": 1 << 16}, "the watchdog's timeout must be 0 to 65535 units of 1048576 cycles, not 65536"),
])
def test_refuses(change, message):
    with pytest.raises(ConfigError) as caught:
        BoardRegisters(**({"name": "x", "phys": [(0, 0)]} | change))
    assert message in str(caught.value)


def test_layouts_of_writable_rows_have_no_more_than_is_kept():
    assert {name for name, _ in BOARD_PORT_BITS} == {"ports"}
    assert {name for name, _ in BOARD_LEDS} == {"override", "value"}
