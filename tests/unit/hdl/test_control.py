"""Control engine against a model of docs/dataplane.md, "Host port"."""

import random
from collections import defaultdict
from itertools import pairwise

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.control import ControlEngine
from polyrouter.hdl.hostframe import response_layout
from polyrouter.hdl.layouts import (
    BOARD_ROWS,
    BOARD_WRITABLE,
    CONTEXT_ROW,
    CONTROL_OP,
    INFO_MAGIC,
    PORT_ROW,
    ROWS,
    HitStat,
    HostStatus,
    Info,
    Opcode,
    OpStatus,
    QueueStat,
    Register,
    Table,
    pack,
    row_words,
    unpack,
)
from polyrouter.hdl.pieces import context_pieces
from polyrouter.hdl.policers import policer_cycles
from polyrouter.hdl.shapers import shaper_cycles
from polyrouter.hdl.stream import packet_layout
from polyrouter.hdl.words import WORD_BITS, WordJoiner, WordSplitter, beat_layout

from .bench import WIDTHS, packet_beats, packets, pieces_of, simulate, sink, source

MAC = 0x0A0B0C0D0E0F
#: Tables that have no router.
OF_THE_BOARD = (Table.INFO, Table.REGISTER, Table.VMAC, Table.LINK, Table.TERMINATION, Table.BOARD)
#: Tables that are not in the engine.
PORTS = [table.name.lower() for table in Table if table not in (Table.INFO, Table.REGISTER)]
#: Window of a router in a table: fields of the context, and rows of the table for each row of the window.
WINDOWS = {Table.FIB: ("fib", 1), Table.ADJACENCY: ("adj", 1), Table.FILTER: ("filter", 1),
           Table.ACTION: ("filter", 1), Table.HIT: ("filter", len(HitStat)), Table.POLICER: ("policer", 1),
           Table.MAC: ("mac", 1)}


def op(opcode, table=0, row=0, *, router=0, word=0, data=0):
    return {"opcode": opcode, "table": table, "row": row, "router": router, "word": word, "data": data, "status": 0}


def write_row(table, row, value, *, router=0):
    return [op(Opcode.WRITE, table, row, router=router, word=word, data=value >> 64 * word & (1 << 64) - 1)
            for word in range(row_words(table))]


class Model:
    """What an engine does, one request at a time."""

    def __init__(self, config, has_macs=False, has_board=True):
        self.config = config
        self.has_board = has_board
        self.expected = 0
        self.tables = {table: defaultdict(int) for table in Table}
        values = [INFO_MAGIC, config.ports, config.routers, config.data_width, config.vmac_slots, config.fib_words,
                  config.adjacencies, config.buffer_bytes, config.cell_bytes, config.queue_frames, config.max_frame,
                  int(has_macs), config.filter_rules, config.policers, config.mac_rows, config.clock_hz,
                  policer_cycles(config), shaper_cycles(config), config.circuits]
        self.tables[Table.INFO].update(enumerate(values))
        self.tables[Table.REGISTER][Register.SHARED_CELLS] = config.cells
        self.shadow = [0] * max(row_words(table) for table in Table)

    def request(self, sequence, ops, sync=False):
        if not sync and sequence != self.expected:
            return ops, HostStatus.OUT_OF_SEQUENCE, self.expected
        self.expected = (sequence + 1) % 2**32
        return [self.execute(dict(o)) for o in ops], HostStatus.OK, self.expected

    def address(self, o):
        config, table, row, router = self.config, o["table"], o["row"], o["router"]
        if o["opcode"] not in list(Opcode):
            return OpStatus.BAD_OPCODE
        if table not in list(Table):
            return OpStatus.BAD_TABLE
        if table in (Table.COUNTER, Table.QUEUE, Table.QUOTA):
            limit = config.routers + 1
        else:
            limit = 1 << 12 if table in OF_THE_BOARD else config.routers
        if router >= limit:
            return OpStatus.BAD_ROUTER
        rows = {Table.INFO: len(Info), Table.REGISTER: len(Register), Table.VMAC: config.vmac_slots, Table.CONTEXT: 1,
                Table.PORT: config.ports, Table.COUNTER: config.all_ports * 32, Table.QUEUE: config.all_ports * 8,
                Table.SHAPER: config.all_ports, Table.QUOTA: 1, Table.LINK: config.circuits,
                Table.TERMINATION: config.circuits, Table.BOARD: BOARD_ROWS if self.has_board else 0}
        if row >= rows.get(table, 1 << 32) or (table == Table.QUEUE and row % 8 not in list(QueueStat)):
            return OpStatus.BAD_ROW
        context = unpack(CONTEXT_ROW, self.tables[Table.CONTEXT][router])
        port_bits = (config.ports - 1).bit_length()
        if table in WINDOWS:
            name, step = WINDOWS[table]
            total = {"fib": config.fib_words, "adj": config.adjacencies, "filter": config.filter_rules,
                     "policer": config.policers, "mac": config.mac_rows}[name]
            base, size = context[f"{name}_base"], context[f"{name}_size"]
            inside = row // step < size and base + row // step < total
            return base * step + row if inside else OpStatus.WINDOW
        return {
            Table.CONTEXT: router,
            Table.QUOTA: router,
            Table.PORT: router << port_bits | row,
            Table.COUNTER: router * config.all_ports * 32 + row,
            Table.QUEUE: router * config.all_ports * 8 + row,
            Table.SHAPER: router * config.all_ports + row,
        }.get(table, row)

    def execute(self, o):
        if o["opcode"] == Opcode.FENCE:
            return o
        table, word = o["table"], o["word"]
        addr = self.address(o)
        if isinstance(addr, OpStatus):
            return o | {"status": addr}
        if word >= row_words(table):
            return o | {"status": OpStatus.BAD_WORD}
        if o["opcode"] == Opcode.READ:
            return o | {"data": self.tables[table][addr] >> 64 * word & (1 << 64) - 1}
        if table in (Table.INFO, Table.QUEUE) or (table == Table.BOARD and o["row"] not in BOARD_WRITABLE):
            return o | {"status": OpStatus.READ_ONLY}
        self.shadow[word] = o["data"]
        if word == row_words(table) - 1:
            self.tables[table][addr] = sum(
                value << 64 * k for k, value in enumerate(self.shadow)) & (1 << ROWS[table]) - 1
        return o


class Bench:
    def __init__(self, config, seed=0, has_macs=False, has_board=True):
        self.config = config
        self.rng = random.Random(seed)
        self.dut = ControlEngine(config, has_macs, has_board)
        self.pieces = context_pieces(config)
        self.stored = {name: defaultdict(int) for name in PORTS if has_board or name != "board"}
        self.member_writes = []
        self.port_writes = {}
        self.out = []
        self.sequence = 0

    def memory(self, name):
        """A table that acknowledges after a while."""
        port = getattr(self.dut, name)
        rows = self.stored[name]

        async def testbench(ctx):
            while True:
                _, _, stb, write, addr, data = await ctx.tick().sample(
                    port.stb, port.write, port.addr, port.w_data)
                if not stb:
                    continue
                for _ in range(self.rng.randrange(4)):
                    now = await ctx.tick().sample(port.stb, port.write, port.addr, port.w_data)
                    assert now[2:] == (stb, write, addr, data)
                if write:
                    rows[addr] = data
                elif name == "context" and self.pieces:
                    await self.deliver(ctx, rows[addr])
                ctx.set(port.r_data, rows[addr])
                ctx.set(port.ack, 1)
                await ctx.tick()
                ctx.set(port.ack, 0)
                ctx.set(port.r_data, 0)
                if name == "context" and self.pieces:
                    ctx.set(self.dut.context_piece.en, 0)
        return testbench

    async def deliver(self, ctx, row):
        """The pieces of a context row; the last one stays, to be there with the acknowledgement."""
        piece = self.dut.context_piece
        ctx.set(piece.en, 1)
        for number, value in enumerate(pieces_of(self.pieces, row)):
            if number:
                await ctx.tick()
            ctx.set(piece.number, number)
            ctx.set(piece.data, value)

    async def members(self, ctx):
        port = self.dut.member_write
        async for _, _, en, addr, data in ctx.tick().sample(port.en, port.addr, port.data.as_value()):
            if en:
                self.member_writes.append((addr, data))

    async def vids(self, ctx):
        port = self.dut.port_write
        async for _, _, en, router, number, vid in ctx.tick().sample(port.en, port.router, port.port, port.vid):
            if en:
                self.port_writes[router, number] = vid

    def run(self, process, limit=40_000):
        simulate(self.dut, [process], [
            *(self.memory(name) for name in self.stored), self.members, self.vids,
            sink(self.dut.o, self.out, rng=self.rng, rate=0.8)], limit=limit)

    async def feed(self, ctx, ops, sequence, sync=False, padding=b""):
        body = b"".join(pack(CONTROL_OP, o).to_bytes(16, "little") for o in ops)
        ctx.set(self.dut.request, {"source": MAC, "sequence": sequence, "reason": int(sync), "length": len(body)})
        width = self.config.data_width
        await source(self.dut.i, packet_beats(packet_layout(width), body + padding, width), rng=self.rng, rate=0.8)(ctx)
        ctx.set(self.dut.request, {"source": 1, "sequence": 2, "reason": 3, "length": 4})

    async def answered(self, ctx):
        """Wait for a response; returns operations, reason, expected sequence number."""
        layout = response_layout(self.config.data_width)
        while not self.out or not unpack(layout, self.out[-1])["last"]:
            await ctx.tick()
        (body, fields), = packets(layout, self.out, self.config.data_width)
        self.out.clear()
        assert fields["destination"] == MAC
        assert fields["length"] == len(body)
        self.sequence = fields["sequence"]
        ops = [unpack(CONTROL_OP, int.from_bytes(body[k:k + 16], "little")) for k in range(0, len(body), 16)]
        return ops, fields["reason"], fields["expected"]

    async def request(self, ctx, ops, sequence, sync=False, padding=b""):
        await self.feed(ctx, ops, sequence, sync, padding)
        answer = await self.answered(ctx)
        assert self.sequence == sequence
        return answer


def random_op(rng, config):
    table = rng.choice([*Table, *WINDOWS, Table.CONTEXT, 99, 200])
    rows = {Table.INFO: len(Info) + 2, Table.REGISTER: len(Register) + 1, Table.VMAC: config.vmac_slots + 2,
            Table.CONTEXT: 2, Table.PORT: config.ports + 1, Table.FIB: 40, Table.ADJACENCY: 12, Table.FILTER: 9,
            Table.ACTION: 9, Table.HIT: 18, Table.POLICER: 5, Table.MAC: 20, Table.SHAPER: config.all_ports + 1,
            Table.QUOTA: 2, Table.COUNTER: config.all_ports * 33,
            Table.QUEUE: config.all_ports * 8 + 4, Table.LINK: config.circuits + 2,
            Table.TERMINATION: config.circuits + 2, Table.BOARD: BOARD_ROWS + 2}
    row = rng.randrange(rows.get(table, 4))
    if rng.random() < 0.05:
        row |= 1 << rng.randrange(16, 32)
    words = row_words(Table(table)) if table in list(Table) else 2
    return op(rng.choice([1, 1, 2, 2, 2, 3, rng.randrange(16)]), table, row,
              router=rng.choice([0, 1, config.routers - 1, config.routers, config.routers + 1, rng.randrange(4096)]),
              word=rng.choice([*range(words), words - 1, words - 1, 9]), data=rng.getrandbits(64))


def window(rng, config, router):
    """Writes of a context row with a window that reaches beyond the tables sometimes."""
    row = {"enable": 1,
           "fib_base": rng.choice([0, 20, config.fib_words - 9]), "fib_size": rng.choice([0, 1, 20, 1 << 18]),
           "adj_base": rng.choice([0, 7, config.adjacencies - 3, (1 << 18) - 1]), "adj_size": rng.choice([0, 2, 9]),
           "filter_base": rng.choice([0, 3, config.filter_rules - 2, 4095]), "filter_size": rng.choice([0, 1, 6, 4095]),
           "policer_base": rng.choice([0, 1, 4095]), "policer_size": rng.choice([0, 1, 3, 4095]),
           "mac_base": rng.choice([0, 16, (1 << 18) - 1]), "mac_size": rng.choice([0, 4, 16, 1 << 18])}
    return write_row(Table.CONTEXT, 0, pack(CONTEXT_ROW, row), router=router)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("ports", "routers", "circuits", "access_bits", "context_words"), [
    (1, 1, 0, 64, 1), (4, 8, 0, 64, 4), (3, 5, 16, 64, 1), (3, 5, 16, 16, 1), (2, 8, 0, 16, 2), (3, 5, 16, 16, 4)])
def test_random_requests(width, ports, routers, circuits, access_bits, context_words):
    config = CoreConfig(data_width=width, ports=ports, routers=routers, fib_words=64, adjacencies=16, vmac_slots=64,
                        filter_rules=8, mac_rows=32, circuits=circuits, access_bits=access_bits,
                        context_words=context_words)
    has_board = ports != 1
    bench = Bench(config, seed=width + ports, has_macs=ports == 4, has_board=has_board)
    model = Model(config, has_macs=ports == 4, has_board=has_board)
    rng = random.Random(f"{width} {ports}")
    seen = set()

    async def main(ctx):
        for _ in range(20):
            ops = []
            for _ in range(rng.choice([1, 2, 3, 9])):
                ops += window(rng, config, rng.randrange(routers)) if rng.random() < 0.3 else [random_op(rng, config)]
            if rng.random() < 0.2:
                sequence, sync = rng.getrandbits(32), rng.random() < 0.5
            else:
                sequence, sync = model.expected, False
            expected = model.request(sequence, ops, sync)
            padding = bytes(rng.choice([0, 0, 4, 46]))
            answer = await bench.request(ctx, ops, sequence, sync, padding)
            assert answer == expected
            seen.update(o["status"] for o in answer[0])
        for table in set(Table) - {Table.INFO, Table.REGISTER, Table.QUEUE}:
            stored = {k: v for k, v in bench.stored.get(table.name.lower(), {}).items() if v}
            assert stored == {k: v for k, v in model.tables[table].items() if v}
        for register in Register:
            assert ctx.get(bench.dut.registers[register]) == model.tables[Table.REGISTER][register]
        port_bits = (ports - 1).bit_length()
        for (router, port), vid in bench.port_writes.items():
            row = model.tables[Table.PORT][router << port_bits | port]
            assert vid == unpack(PORT_ROW, row)["vid"]
        assert dict(bench.member_writes) == {
            k: v for k, v in model.tables[Table.CONTEXT].items() if k in dict(bench.member_writes)}
        assert {k for k, v in model.tables[Table.CONTEXT].items() if v} <= set(dict(bench.member_writes))
        assert len(seen) > 4

    bench.run(main)


#: Tables that frames, time or PHYs change too.
CHANGING = {Table.COUNTER, Table.QUEUE, Table.HIT, Table.MAC, Table.BOARD}


@pytest.mark.parametrize("access_bits, context_words, least", [(64, 1, 1), (16, 1, 4), (16, 4, 4)])
def test_only_what_stands_still_is_read_in_parts(access_bits, context_words, least):
    """A word of a table that changes is of one moment. Parts are as far apart as accesses of two operations."""
    config = CoreConfig(circuits=16, access_bits=access_bits, context_words=context_words)
    bench = Bench(config)
    model = Model(config)
    everywhere = {"enable": 1, **{f"{name}_size": 8 for name in ("fib", "adj", "filter", "policer", "mac")}}
    rows = [Table[name.upper()] for name in PORTS]
    written = [write for table in rows if table not in (Table.QUEUE, Table.BOARD, Table.CONTEXT)
               for write in write_row(table, 0, random.Random(table).getrandbits(ROWS[table]))]
    reads = [op(Opcode.READ, table, 0, word=word) for table in rows for word in range(row_words(table))]
    accesses = {table: [] for table in rows}

    async def watch(ctx):
        cycle = 0
        async for _, _, *acks in ctx.tick().sample(*(
                getattr(bench.dut, name).ack & ~getattr(bench.dut, name).write for name in PORTS)):
            cycle += 1
            for table, ack in zip(rows, acks, strict=True):
                if ack:
                    accesses[table].append(cycle)

    async def main(ctx):
        for sequence, ops in enumerate((write_row(Table.CONTEXT, 0, pack(CONTEXT_ROW, everywhere)), written)):
            assert await bench.request(ctx, ops, sequence) == model.request(sequence, ops)
        for times in accesses.values():
            times.clear()
        assert await bench.request(ctx, reads, 2) == model.request(2, reads)

    simulate(bench.dut, [main], [*(bench.memory(name) for name in bench.stored), watch,
                                 sink(bench.dut.o, bench.out, rng=bench.rng, rate=0.8)], limit=40_000)
    for table, times in accesses.items():
        windows = sum(row_words(other) for other in WINDOWS) if table is Table.CONTEXT else 0
        assert len(times) == row_words(table) * (1 if table in CHANGING else least) + windows
        assert all(later - earlier >= 9 for earlier, later in pairwise(times))


@pytest.mark.parametrize("has_board", [False, True])
def test_rows_of_a_board(has_board):
    """Without a board it has none; with one, only some can be written."""
    bench = Bench(CoreConfig(), has_board=has_board)
    model = Model(CoreConfig(), has_board=has_board)
    ops = [op(opcode, Table.BOARD, row, router=4000, data=row + 1) for row in range(BOARD_ROWS + 1)
           for opcode in (Opcode.WRITE, Opcode.READ)][:64]

    async def main(ctx):
        assert await bench.request(ctx, ops, 0) == model.request(0, ops)

    bench.run(main)
    statuses = {o["status"] for o in model.request(1, ops)[0]}
    assert statuses == ({OpStatus.OK, OpStatus.READ_ONLY} if has_board else {OpStatus.BAD_ROW})


@pytest.mark.parametrize("width", WIDTHS)
def test_most_operations_that_a_request_can_carry(width):
    bench = Bench(CoreConfig(data_width=width))
    ops = [op(Opcode.WRITE, Table.COUNTER, row, data=row * 77 + 1) for row in range(32)]
    ops += [op(Opcode.READ, Table.COUNTER, row) for row in range(32)]

    async def main(ctx):
        answer, reason, expected = await bench.request(ctx, ops, 0)
        assert (reason, expected) == (HostStatus.OK, 1)
        assert [o["data"] for o in answer[32:]] == [row * 77 + 1 for row in range(32)]

    bench.run(main)


def test_sequence_numbers():
    bench = Bench(CoreConfig())
    ops = [op(Opcode.WRITE, Table.REGISTER, Register.EPOCH, data=5)]
    read = [op(Opcode.READ, Table.REGISTER, Register.EPOCH)]

    async def main(ctx):
        assert await bench.request(ctx, ops, 1) == (ops, HostStatus.OUT_OF_SEQUENCE, 0)
        assert (await bench.request(ctx, read, 0))[0][0]["data"] == 0
        assert await bench.request(ctx, read, 0) == (read, HostStatus.OUT_OF_SEQUENCE, 1)
        assert await bench.request(ctx, ops, 2**32 - 1, sync=True) == (ops, HostStatus.OK, 0)
        assert (await bench.request(ctx, read, 0))[0][0]["data"] == 5

    bench.run(main)


def test_row_is_committed_whole_and_only_by_its_last_word():
    bench = Bench(CoreConfig())
    context = pack(CONTEXT_ROW, {"fib_base": 100, "fib_size": 4})
    low, high = write_row(Table.FIB, 2, 0xAB << 64 | 0x1234)

    async def main(ctx):
        await bench.request(ctx, write_row(Table.CONTEXT, 0, context), 0)
        assert bench.member_writes == [(0, context)]
        await bench.request(ctx, [low], 1)
        assert not bench.stored["fib"]
        # A write that fails leaves the shadow alone.
        bad = [op(Opcode.WRITE, Table.FIB, 4, data=99), op(Opcode.WRITE, Table.FIB, 2, word=2, data=99)]
        answer, *_ = await bench.request(ctx, bad, 2)
        assert [o["status"] for o in answer] == [OpStatus.WINDOW, OpStatus.BAD_WORD]
        await bench.request(ctx, [high], 3)
        assert bench.stored["fib"] == {102: 0xAB << 64 | 0x1234}

    bench.run(main)


def test_fence_waits_for_lookups_that_began_before():
    bench = Bench(CoreConfig())
    done = []

    async def pulse(ctx, signal, count=1):
        for _ in range(count):
            ctx.set(signal, 1)
            await ctx.tick()
            ctx.set(signal, 0)
            await ctx.tick()

    async def main(ctx):
        dut = bench.dut
        answer, *_ = await bench.request(ctx, [op(Opcode.FENCE)], 0)
        assert answer == [op(Opcode.FENCE)]
        await pulse(ctx, dut.lookup_enter, 3)
        await pulse(ctx, dut.lookup_leave)
        await bench.feed(ctx, [op(Opcode.FENCE, 200, 5, router=4000)], 1)
        await ctx.tick().repeat(40)
        await pulse(ctx, dut.lookup_enter, 5)       # these don't count
        await pulse(ctx, dut.lookup_leave)
        await ctx.tick().repeat(100)
        assert not bench.out
        assert ctx.get(dut.busy)
        await pulse(ctx, dut.lookup_leave)
        answer, reason, _ = await bench.answered(ctx)
        assert answer == [op(Opcode.FENCE, 200, 5, router=4000)]
        assert reason == HostStatus.OK
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.busy)
        done.append(True)

    bench.run(main)
    assert done


def test_a_fence_sees_look_ups_of_which_it_is_told_some_cycles_late():
    """The core tells it a cycle late: one that began as a row was written has to be counted all the same."""
    bench = Bench(CoreConfig())
    done = []

    async def main(ctx):
        dut = bench.dut
        context = pack(CONTEXT_ROW, {"fib_base": 100, "fib_size": 4})
        await bench.request(ctx, write_row(Table.CONTEXT, 0, context), 0)
        await bench.feed(ctx, [*write_row(Table.FIB, 2, 5), op(Opcode.FENCE)], 1)
        while not ctx.get(dut.fib.ack):
            await ctx.tick()
        await ctx.tick().repeat(3)
        ctx.set(dut.lookup_enter, 1)
        await ctx.tick()
        ctx.set(dut.lookup_enter, 0)
        await ctx.tick().repeat(100)
        assert not bench.out and ctx.get(dut.busy)
        ctx.set(dut.lookup_leave, 1)
        await ctx.tick()
        ctx.set(dut.lookup_leave, 0)
        await bench.answered(ctx)
        done.append(True)

    bench.run(main)
    assert done


@pytest.mark.parametrize("width", WIDTHS)
def test_words_and_back(width):
    rng = random.Random(width)
    frames = [rng.randbytes(size) for size in (8, 16, 24, 32, 40, 64, 72, 8, 8)]

    def beats(layout, step):
        for f in frames:
            for start in range(0, len(f), step):
                yield pack(layout, {"data": int.from_bytes(f[start:start + step], "little"),
                                    "last": start + step >= len(f)})

    narrow = list(beats(beat_layout(WORD_BITS), 8))
    wide = list(beats(beat_layout(width), width // 8))
    joined, split = [], []
    joiner, splitter = WordJoiner(width), WordSplitter(width)

    def process(dut, items, out, count):
        async def testbench(ctx):
            await source(dut.i, items, rng=rng, rate=0.7)(ctx)
            for _ in range(500):
                if len(out) == count:
                    break
                await ctx.tick()
        return testbench

    simulate(joiner, [process(joiner, narrow, joined, len(wide))], [sink(joiner.o, joined, rng=rng, rate=0.7)])
    assert joined == wide
    words = -(-width // 64)
    padded = [beat for f in frames for total in [-(-len(f) // (8 * words)) * words] for k in range(total)
              for beat in [pack(beat_layout(64), {"data": int.from_bytes(f[8 * k:8 * k + 8], "little"),
                                                  "last": k == total - 1})]]
    simulate(splitter, [process(splitter, wide, split, len(padded))], [sink(splitter.o, split, rng=rng, rate=0.7)])
    assert split == padded
