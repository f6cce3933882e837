"""The host's way to a PHY and back: board table, PHY manager, a watched bus; and what the table shows of the PHY."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.boards.mdio import MdioSignature
from polyrouter.boards.phy import PHYS
from polyrouter.boards.phymanager import ManagedPhy, PhyManager
from polyrouter.hdl.boardregs import BoardRegisters
from polyrouter.hdl.layouts import BOARD_MDIO, BOARD_PHY, BoardRow, pack, unpack
from polyrouter.sim.mdio_phy import LinkPartner, MdioBus, PagedPhy

from ..hdl.bench import access
from .bench import simulate

CLOCK_HZ = 2e6
SCALE = 1e-3
ADDRESS = 6


class Board(wiring.Component):
    """Registers and the manager of a bus with one PHY."""

    def __init__(self):
        self.registers = BoardRegisters("test", [(0, ADDRESS)])
        self.manager = PhyManager(CLOCK_HZ, [ManagedPhy(PHYS["88E1512"], ADDRESS, rx_delay=True)], time_scale=SCALE)
        super().__init__({"bus": Out(MdioSignature), "reset": Out(1),
                          "table": In(self.registers.table.signature.flip())})

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = self.registers
        m.submodules.manager = manager = self.manager
        connect(m, flipped(self.bus), manager.bus)
        connect(m, flipped(self.table), registers.table)
        connect(m, registers.mdio_command[0], manager.i)
        connect(m, manager.o, registers.mdio_response[0])
        m.d.comb += [self.reset.eq(manager.reset), manager.hold.eq(registers.mdio_hold),
                     registers.phy[0].eq(manager.status[0])]
        return m


class Bench:
    def __init__(self):
        self.dut = Board()
        self.phy = PagedPhy(0x01410DD1, 22, pages={(2, 21): 0x1046})
        self.bus = MdioBus({ADDRESS: self.phy}, rng=random.Random(2))

    async def mdio(self, ctx, register, data=None, *, phy=ADDRESS, hold=0):
        """An access as the host does it."""
        await access(ctx, self.dut.table, BoardRow.MDIO, pack(BOARD_MDIO, {
            "phy": phy, "register": register, "write": data is not None, "data": data or 0, "start": 1, "hold": hold}))
        while (row := unpack(BOARD_MDIO, await access(ctx, self.dut.table, BoardRow.MDIO)))["busy"]:
            await ctx.tick().repeat(40)
        assert row["done"]
        return row

    async def polled(self, ctx, count):
        """Wait until the PHY was polled ``count`` times from now on."""
        for _ in range(count):
            seen = len(self.bus.frames)
            while not any(frame.register == 10 for frame in self.bus.frames[seen:]):
                await ctx.tick().repeat(40)
        await ctx.tick().repeat(200)

    async def status(self, ctx):
        return unpack(BOARD_PHY, await access(ctx, self.dut.table, BoardRow.PHY))

    def run(self, process):
        simulate(self.dut, CLOCK_HZ, [process], bus=self.dut.bus, model=self.bus, reset=self.dut.reset)


def test_the_table_shows_the_phy():
    bench = Bench()

    async def main(ctx):
        assert not (await bench.status(ctx))["present"]
        await bench.polled(ctx, 2)
        row = await bench.status(ctx)
        assert (row["present"], row["link"], row["id"], row["bus"], row["address"]) == (1, 0, 0x01410DD1, 0, ADDRESS)
        bench.phy.connect(LinkPartner(frozenset({(100, True), (10, True)})))
        await bench.polled(ctx, 2)
        row = await bench.status(ctx)
        assert (row["link"], row["speed"], row["full_duplex"]) == (1, 1, 1)

    bench.run(main)


def test_the_host_reads_and_writes_registers_of_the_phy():
    bench = Bench()
    rng = random.Random(3)

    async def main(ctx):
        await bench.polled(ctx, 2)
        for register in rng.sample(range(16, 21), 3):
            value = rng.getrandbits(16)
            assert (await bench.mdio(ctx, register, value))["ok"]
            assert bench.phy.read(register) == value
            row = await bench.mdio(ctx, register)
            assert (row["ok"], row["data"]) == (1, value)
        row = await bench.mdio(ctx, 2, phy=ADDRESS + 1)
        assert (row["ok"], row["data"]) == (0, 0xFFFF)
        # Another page: nobody else may use the bus meanwhile.
        await bench.mdio(ctx, 22, 2, hold=1)
        assert (await bench.mdio(ctx, 21, hold=1))["data"] == 0x1066
        seen = len(bench.bus.frames)
        await ctx.tick().repeat(10_000)
        assert len(bench.bus.frames) == seen
        await bench.mdio(ctx, 22, 0)
        await bench.polled(ctx, 1)

    bench.run(main)


@pytest.mark.parametrize("seed", range(2))
def test_rows_are_there_at_once_while_an_access_lasts(seed):
    """The table never waits for a bus: an access of the control engine takes two cycles."""
    bench = Bench()
    rng = random.Random(seed)

    async def main(ctx):
        await access(ctx, bench.dut.table, BoardRow.MDIO, pack(BOARD_MDIO, {
            "phy": ADDRESS, "register": 3, "start": 1}))
        for _ in range(200):
            ctx.set(bench.dut.table.stb, 1)
            ctx.set(bench.dut.table.write, 0)
            ctx.set(bench.dut.table.addr, rng.randrange(32))
            acks = [(await ctx.tick().sample(bench.dut.table.ack))[2] for _ in range(3)]
            ctx.set(bench.dut.table.stb, 0)
            assert acks == [0, 0, 1]
            await ctx.tick()

    bench.run(main)
