import random
from itertools import groupby, pairwise

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import MAC_AGES, MAC_ROW, pack, unpack
from polyrouter.hdl.mactable import MacTable
from polyrouter.hdl.mactable_age import AGE_PACE
from polyrouter.hdl.mactable_search import MAC_FOUND, MAC_SEARCH
from polyrouter.hdl.mactable_update import MacUpdate
from polyrouter.hdl.records import LEARN

from .bench import access, simulate, sink, source, until

LATENCY = 8
PERIOD = 7
LEARN_PERIOD = 10


class Model:
    """The table by the specification."""

    def __init__(self, rows):
        self.rows = [{"mac": 0, "port": 0, "vid": 0, "static": 0, "age": 0} for _ in range(rows)]

    def places(self, mac, base, size):
        if size < 4 or size & (size - 1):
            return []
        offset = (mac ^ mac >> 16 ^ mac >> 32) & (size - 1)
        return [row for row in (base + (offset ^ j) for j in range(4)) if row < len(self.rows)]

    def holder(self, mac, base, size):
        for place in self.places(mac, base, size):
            if self.rows[place]["age"] > 0 and self.rows[place]["mac"] == mac:
                return place
        return None

    def search(self, request):
        place = self.holder(request["mac"], request["base"], request["size"]) if request["walk"] else None
        if place is None:
            return {"hit": 0, "port": 0, "vid": 0}
        return {"hit": 1, "port": self.rows[place]["port"], "vid": self.rows[place]["vid"]}

    def learn(self, event):
        window = event["mac"], event["base"], event["size"]
        new = {"mac": event["mac"], "port": event["port"], "vid": event["vid"], "static": 0, "age": MAC_AGES}
        place = self.holder(*window)
        if place is not None:
            if not self.rows[place]["static"]:
                self.rows[place] = new
            return
        places = self.places(*window)
        empty = [place for place in places if self.rows[place]["age"] == 0]
        loose = [place for place in places if not self.rows[place]["static"]]
        if empty:
            self.rows[empty[0]] = new
        elif loose:
            self.rows[min(loose, key=lambda place: self.rows[place]["age"])] = new

    def older(self):
        for row in self.rows:
            row["age"] -= row["age"] > 0 and not row["static"]


def windows_of(rng, rows):
    """Some that are in the table, one not aligned, some that reach beyond it or are none."""
    return [
        (0, rows // 4), (rows // 4, rows // 2), (5, 4), (3, 8), (rows - 2, 4), (rows - 6, 16), (rows - 4, 4),
        (rng.randrange(rows), 1 << rng.randrange(2, 19)), (rows, 8), ((1 << 18) - 4, 8), ((1 << 18) - 1, 1 << 18),
        (0, 0), (0, 1), (0, 2), (0, 3), (0, 6), (0, rows // 2 + 4), (0, (1 << 18) + 4), (0, rows),
    ]


class Traffic:
    """Random rows, look-ups and learned addresses that often meet."""

    def __init__(self, rng, rows):
        self.rng, self.windows = rng, windows_of(rng, rows)
        self.macs = [rng.getrandbits(48) for _ in range(8)]
        # Addresses that differ in one bit only, some of them ones that choose the row, some not.
        self.macs += [self.macs[0] ^ 1 << bit for bit in (0, 17, 33, 47)] + [self.macs[0] ^ 0x10001 << 20]

    def window(self):
        base, size = self.rng.choice(self.windows[:7] if self.rng.random() < 0.7 else self.windows)
        return {"mac": self.rng.choice(self.macs), "base": base, "size": size}

    def search(self):
        return self.window() | {"walk": self.rng.random() < 0.9}

    def learn(self):
        return self.window() | {"port": self.rng.randrange(4), "vid": self.rng.choice([0, 0, 1, 5, 0x800])}

    def row(self):
        rng = self.rng
        return {"mac": rng.choice(self.macs), "port": rng.randrange(16), "vid": rng.getrandbits(12),
                "static": rng.random() < 0.3, "age": rng.choice([0, 0, *range(1, MAC_AGES + 1)])}


async def read_all(ctx, dut, rows):
    return [unpack(MAC_ROW, await access(ctx, dut.table, row)) for row in range(rows)]


async def write_all(ctx, dut, rows):
    for number, row in enumerate(rows):
        await access(ctx, dut.table, number, pack(MAC_ROW, row))


@pytest.mark.parametrize("rows", [16, 64, 1024])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.3, 0.15)])
def test_searches_of_any_content(rows, rates):
    rng = random.Random(rows)
    model, traffic = Model(rows), Traffic(rng, rows)
    for number in range(rows):
        if rng.random() < 0.9:
            model.rows[number] = traffic.row()
    for _ in range(rows // 4):                  # in places where they will be looked for
        window = traffic.window()
        for place in model.places(*window.values()):
            if rng.random() < 0.4:
                model.rows[place] = traffic.row() | {"mac": window["mac"]}
    requests = [traffic.search() for _ in range(300)]
    dut = MacTable(CoreConfig(mac_rows=rows))
    out = []

    async def main(ctx):
        await write_all(ctx, dut, model.rows)
        await source(dut.i, [pack(MAC_SEARCH, request) for request in requests], rng=rng, rate=rates[0])(ctx)

    simulate(dut, [main, until(lambda: len(out) == 300)], [sink(dut.o, out, rng=rng, rate=rates[1])])
    wanted = [model.search(request) for request in requests]
    assert [unpack(MAC_FOUND, outcome) for outcome in out] == wanted
    assert 15 < sum(outcome["hit"] for outcome in wanted) < 285


@pytest.mark.parametrize("rows", [16, 64])
@pytest.mark.parametrize("seed", range(3))
def test_learning_leaves_the_rows_that_the_specification_says(rows, seed):
    """One address after the other, with control accesses in between that change the rows."""
    rng = random.Random(seed)
    model, traffic = Model(rows), Traffic(rng, rows)
    dut = MacTable(CoreConfig(mac_rows=rows))

    async def main(ctx):
        model.rows = [traffic.row() for _ in range(rows)]
        await write_all(ctx, dut, model.rows)
        for _ in range(40):
            for _ in range(rng.randrange(6)):
                event = traffic.learn()
                model.learn(event)
                await source(dut.learn, [pack(LEARN, event)])(ctx)
            await ctx.tick().repeat(24)         # two may be under way
            assert await read_all(ctx, dut, rows) == model.rows
            for _ in range(rng.randrange(8)):
                number = rng.randrange(rows)
                model.rows[number] = traffic.row()
                await access(ctx, dut.table, number, pack(MAC_ROW, model.rows[number]))

    simulate(dut, [main])


def test_an_entry_of_every_age_and_place():
    """Which row is taken, for all that the four may be: empty, static, or of some age."""
    rng = random.Random(0)
    kinds = [(0, 0), (0, 1), (3, 0), (3, 1), (5, 0), (7, 0)]
    model = Model(16)
    dut = MacTable(CoreConfig(mac_rows=16))

    async def main(ctx):
        for _ in range(150):
            model.rows = [{"mac": number, "port": 1, "vid": 9, "static": static, "age": age}
                          for number in range(16) for age, static in [rng.choice(kinds)]]
            for number in range(4, 12):
                await access(ctx, dut.table, number, pack(MAC_ROW, model.rows[number]))
            event = {"mac": 0xA00 + rng.randrange(16), "port": 2, "vid": 17, "base": 4, "size": 8}
            if rng.random() < 0.5:
                place = rng.choice(model.places(event["mac"], 4, 8))
                model.rows[place]["mac"] = event["mac"]
                await access(ctx, dut.table, place, pack(MAC_ROW, model.rows[place]))
            model.learn(event)
            await source(dut.learn, [pack(LEARN, event)])(ctx)
            await ctx.tick().repeat(10)
            for number in range(4, 12):
                assert unpack(MAC_ROW, await access(ctx, dut.table, number)) == model.rows[number]

    simulate(dut, [main])


@pytest.mark.parametrize("walk", [0, 1])
def test_rates_and_latency(walk):
    """Look-ups, learning, ageing and control all at once, each as fast as it goes."""
    rows = 64
    dut = MacTable(CoreConfig(mac_rows=rows))
    search = pack(MAC_SEARCH, {"walk": walk, "base": 0, "size": 64, "mac": 0x123456789ABC})
    learn = [pack(LEARN, {"mac": 0x1000 + k, "port": k % 4, "base": 0, "size": 64}) for k in range(200)]
    out, taken, given, learned, accesses = [], [], [], [], []

    async def control(ctx):
        ctx.set(dut.age_cycles, 1)
        while len(learned) < 200:
            cycles, ack = 0, 0
            ctx.set(dut.table.stb, 1)
            while not ack:
                *_, ack = await ctx.tick().sample(dut.table.ack)
                cycles += 1
            ctx.set(dut.table.stb, 0)
            accesses.append(cycles)
            await ctx.tick().repeat(4)

    simulate(dut, [source(dut.i, [search] * 250, times=taken), source(dut.learn, learn, times=learned), control,
                   until(lambda: len(out) == 250)], [sink(dut.o, out, times=given)])
    period = PERIOD if walk else 1
    assert taken == [taken[0] + period * k for k in range(250)]
    assert given == [cycle + (LATENCY if walk else 2) for cycle in taken]
    assert learned[-1] - learned[0] <= LEARN_PERIOD * 199
    assert max(accesses) <= 12


def test_an_address_that_is_known_costs_no_write():
    window = {"base": 8, "size": 8}
    # Port and circuit, as an address moves: to another port, to another circuit of the same port, and back.
    places = [(3, 0), (3, 0), (3, 0), (2, 0), (2, 7), (2, 7), (2, 0x807), (2, 7), (3, 7)]
    events = [{"mac": 0xABC, "port": port, "vid": vid} | window for port, vid in places]
    events += [{"mac": 0xDEF, "port": 1} | window, {"mac": 0xDEF, "port": 2, "base": 8, "size": 6}]
    dut = MacUpdate(CoreConfig(mac_rows=16))
    memory, writes = [0] * 16, []

    async def rows(ctx):
        while True:
            *_, en, write, addr, row = await ctx.tick().sample(
                dut.port.en, dut.port.write, dut.port.addr, dut.port.w_data.as_value())
            if en and write:
                memory[addr] = row
                writes.append(unpack(MAC_ROW, row))
            elif en:
                ctx.set(dut.port.data.as_value(), memory[addr])

    async def main(ctx):
        await source(dut.learn, [pack(LEARN, event) for event in events])(ctx)
        await ctx.tick().repeat(20)

    simulate(dut, [main], [rows])
    assert writes == [{"mac": mac, "port": port, "vid": vid, "static": 0, "age": MAC_AGES}
                      for mac, port, vid in (*((0xABC, *place) for place, _ in groupby(places)), (0xDEF, 1, 0))]


def test_ageing():
    """Every row gets older at the same pace, until it is empty; a static one does not, and an empty one stays so."""
    rows, cycles = 16, 700
    assert cycles > rows * AGE_PACE
    rng = random.Random(3)
    model, traffic = Model(rows), Traffic(rng, rows)
    model.rows = [traffic.row() for _ in range(rows)]
    model.rows[0] = {"mac": 1, "port": 2, "vid": 3, "static": 0, "age": MAC_AGES}
    model.rows[rows - 1] = {"mac": 1, "port": 2, "vid": 3, "static": 1, "age": MAC_AGES}
    dut = MacTable(CoreConfig(mac_rows=rows))
    changes = {number: [] for number in range(rows)}

    async def main(ctx):
        await write_all(ctx, dut, model.rows)
        await ctx.tick().repeat(3 * cycles)
        assert await read_all(ctx, dut, rows) == model.rows     # not yet
        ctx.set(dut.age_cycles, cycles)
        # Rows are watched while they change, and each changes alone.
        seen = [dict(row) for row in model.rows]
        for cycle in range(0, 9 * cycles, 20):
            number = cycle // 20 % rows
            row = unpack(MAC_ROW, await access(ctx, dut.table, number))
            if row != seen[number]:
                assert row == seen[number] | {"age": seen[number]["age"] - 1}
                changes[number].append(cycle)
                seen[number] = row
            await ctx.tick().repeat(18)
        for _ in range(MAC_AGES):
            model.older()
        assert await read_all(ctx, dut, rows) == model.rows

    simulate(dut, [main])
    assert len(changes[0]) == MAC_AGES and not changes[rows - 1]
    for times in changes.values():
        for before, after in pairwise(times):
            assert abs(after - before - cycles) <= 2 * 20 * rows


@pytest.mark.parametrize("cycles, sweeps", [(1000, 3), (600, 5), (3, 6)])
def test_the_age_of_one_row(cycles, sweeps):
    """It falls by one every ``age_cycles``, or as fast as the sweep goes; and no more when they are 0."""
    rows = 16
    dut = MacTable(CoreConfig(mac_rows=rows))
    now, times = [0], []

    async def clock(ctx):
        async for _ in ctx.tick():
            now[0] += 1

    async def main(ctx):
        await access(ctx, dut.table, 9, pack(MAC_ROW, {"mac": 5, "port": 1, "age": MAC_AGES}))
        ctx.set(dut.age_cycles, cycles)
        age = MAC_AGES
        while len(times) < sweeps:
            row = unpack(MAC_ROW, await access(ctx, dut.table, 9))
            if row["age"] != age:
                assert row["age"] == age - 1
                age = row["age"]
                times.append(now[0])
            await ctx.tick()
        ctx.set(dut.age_cycles, 0)
        await ctx.tick().repeat(3 * max(cycles, rows * AGE_PACE))
        assert unpack(MAC_ROW, await access(ctx, dut.table, 9))["age"] == age
        # The next sweep begins at the first row again, ``age_cycles`` later.
        ctx.set(dut.age_cycles, cycles)
        await ctx.tick().repeat(max(cycles, rows * AGE_PACE) + rows * AGE_PACE)
        assert unpack(MAC_ROW, await access(ctx, dut.table, 9))["age"] == age - 1

    simulate(dut, [main], [clock])
    period = max(cycles, rows * AGE_PACE)
    for k, time in enumerate(times):
        assert abs(time - times[0] - k * period) <= AGE_PACE + 8


def test_a_row_that_is_written_meanwhile_is_seen_whole():
    dut = MacTable(CoreConfig(mac_rows=16))
    mac = 0x02AB00000001
    (row, *_) = Model(16).places(mac, 4, 8)
    entries = [pack(MAC_ROW, {"mac": mac, "port": port, "vid": vid, "age": age})
               for port, vid, age in ((0xF, 0, 1), (0, 0xFFF, 7), (5, 0x555, 6))]
    search = pack(MAC_SEARCH, {"walk": 1, "base": 4, "size": 8, "mac": mac})
    out = []

    async def writer(ctx):
        await access(ctx, dut.table, row, entries[0])
        k = 0
        while len(out) < 300:
            await access(ctx, dut.table, row, entries[k % 3])
            k += 1
            await ctx.tick().repeat(k % 4 + 1)

    async def searches(ctx):
        await ctx.tick().repeat(4)
        await source(dut.i, [search] * 300)(ctx)

    simulate(dut, [writer, searches], [sink(dut.o, out)])
    assert {tuple(unpack(MAC_FOUND, outcome).values()) for outcome in out} == {
        (1, 0xF, 0), (1, 0, 0xFFF), (1, 5, 0x555)}


@pytest.mark.parametrize("seed", range(2))
def test_everything_at_once_keeps_learned_addresses(seed):
    """Learning, ageing, control accesses to rows of others and searches under way together: what was learned last is
    found, however they meet."""
    rng = random.Random(seed)
    rows = 64
    dut = MacTable(CoreConfig(mac_rows=rows))
    stations = [0x020000000000 | rng.getrandbits(32) for _ in range(4)]
    window = {"base": 16, "size": 32}           # rows 16 to 47
    out, asked = [], []

    async def learner(ctx):
        ctx.set(dut.age_cycles, rows * AGE_PACE)
        for _ in range(150):
            mac = rng.choice(stations)
            port, vid = rng.randrange(4), rng.randrange(2)
            await source(dut.learn, [pack(LEARN, {"mac": mac, "port": port, "vid": vid} | window)])(ctx)
            await ctx.tick().repeat(24)
            asked.append((port, vid))
            await source(dut.i, [pack(MAC_SEARCH, {"walk": 1, "mac": mac} | window)])(ctx)
            while len(out) < len(asked):
                await ctx.tick()

    async def control(ctx):
        while len(out) < 150:
            row = rng.choice([*range(16), *range(48, 64)])
            await access(ctx, dut.table, row, rng.getrandbits(MAC_ROW.size))
            await access(ctx, dut.table, rng.randrange(rows))
            await ctx.tick().repeat(rng.randint(1, 3))

    simulate(dut, [learner, control], [sink(dut.o, out, rng=rng, rate=0.5)])
    assert [unpack(MAC_FOUND, outcome) for outcome in out] == [
        {"hit": 1, "port": port, "vid": vid} for port, vid in asked]


def test_no_rows_never_hit():
    dut = MacTable(CoreConfig(mac_rows=0))
    learn = pack(LEARN, {"mac": 1, "port": 1, "base": 0, "size": 16})
    out = []

    async def main(ctx):
        await source(dut.learn, [learn] * 3)(ctx)
        assert await access(ctx, dut.table, 0) == 0
        await source(dut.i, [pack(MAC_SEARCH, {"walk": 1, "base": 0, "size": 16, "mac": 1})] * 5)(ctx)

    simulate(dut, [main, until(lambda: len(out) == 5)], [sink(dut.o, out, rng=random.Random(0), rate=0.5)])
    assert out == [0] * 5


@pytest.mark.parametrize("rows", [0, 16, 1024, 1 << 12])
def test_elaborates(rows):
    assert rtlil.convert(MacTable(CoreConfig(mac_rows=rows)))
