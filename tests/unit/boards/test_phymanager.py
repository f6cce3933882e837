# amaranth: UnusedElaboratable=no
# What is refused is not used.
"""PHY manager against PHYs on a watched bus: what it shows is the link that there is, whatever happened before."""

import random

import pytest
from polyrouter.boards.phy import PHYS
from polyrouter.boards.phymanager import ManagedPhy, PhyManager
from polyrouter.hdl.config import ConfigError
from polyrouter.hdl.layouts import pack, unpack
from polyrouter.hdl.mdio import MDIO_COMMAND, MDIO_RESPONSE, PHY_STATUS
from polyrouter.sim.mdio_phy import PRIORITY, BroadcomPhy, Clause22Phy, LinkPartner, MdioBus, MmdPhy, PagedPhy

from ..hdl.bench import source
from .bench import simulate

CLOCK_HZ = 2e6
#: Times are a thousandth of what they are.
SCALE = 1e-3
SPEEDS = {10: 0, 100: 1, 1000: 2}


class Bench:
    """A manager and its bus; ``phys`` are pairs of what it expects and what there is, by address."""

    def __init__(self, phys, seed=0):
        self.phys = {address: there for address, (_, there) in phys.items() if there is not None}
        managed = [wanted for _, (wanted, _) in phys.items()]
        self.dut = PhyManager(CLOCK_HZ, managed, time_scale=SCALE)
        self.rounds = 0
        self.bus = MdioBus(self.phys, rng=random.Random(seed),
                           reset_ns=max(wanted.phy.reset_ms for wanted in managed) * 1e6 * SCALE,
                           ready_ns=max(wanted.phy.ready_ms for wanted in managed) * 1e6 * SCALE)
        self.last = managed[-1].address

    async def rounds_of_polls(self, ctx, count=2):
        """Wait until every PHY was polled ``count`` times from now on, whatever was under way."""
        for _ in range(count):
            seen = len(self.bus.frames)
            while not any(frame.phy == self.last and frame.register == 10 for frame in self.bus.frames[seen:]):
                await ctx.delay(40 / CLOCK_HZ)
        await ctx.delay(200 / CLOCK_HZ)

    def status(self, ctx, port):
        return unpack(PHY_STATUS, ctx.get(self.dut.status[port].as_value()))

    def run(self, *testbenches, limit=3_000_000):
        simulate(self.dut, CLOCK_HZ, testbenches, bus=self.dut.bus, model=self.bus, reset=self.dut.reset, limit=limit)


def managed(name, address, **delays):
    return ManagedPhy(PHYS[name], address, **delays)


def expected(phy, present=True):
    """PHY_STATUS but for the speed of a link that is down."""
    technology = phy.forced() if phy.loopback else phy.technology()
    up = present and technology is not None and technology[1]
    status = {"link": up, "full_duplex": up, "present": present, "id": phy.identifier}
    return status | ({"speed": SPEEDS[technology[0]]} if up else {})


def random_partner(rng):
    if rng.random() < 0.2:
        return None
    if rng.random() < 0.3:
        return LinkPartner(frozenset({rng.choice(PRIORITY)}), negotiates=False)
    return LinkPartner(frozenset(rng.sample(PRIORITY, rng.randrange(1, 7))))


def random_change(rng, phy):
    """What may happen to a PHY by cable or by the host."""
    match rng.randrange(5):
        case 0 | 1:
            phy.connect(random_partner(rng))
        case 2:
            # Speed, duplex, auto-negotiation, loop-back, power-down.
            phy.write(0, rng.choice([0x1000, 0x1000, 0x0100, 0x2100, 0x0140, 0x0000, 0x2000, 0x4140, 0x6100, 0x1800]))
        case 3:
            phy.write(4, rng.getrandbits(16))
            phy.write(9, rng.getrandbits(16))
            phy.write(0, 0x1200)
        case 4:
            phy.connect(phy.partner)        # a short loss of the link


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_links_come_and_go(seed):
    rng = random.Random(seed)
    bench = Bench({
        3: (managed("88E1512", 3), PagedPhy(0x01410DD1, 22, negotiation_reads=1)),
        17: (managed("generic", 17), Clause22Phy(rng.getrandbits(32), gigabit=False)) if seed else
        (managed("KSZ9031RNX", 17), MmdPhy(0x00221622)),
    }, seed)
    ups = set()

    async def main(ctx):
        for step in range(5):
            first, *others = bench.phys.values()
            for phy in others if step in (0, 4) else bench.phys.values():
                if rng.random() < 0.7:
                    random_change(rng, phy)
            # Whatever chance brings, one link comes up at first and has gone in the end.
            if step == 0:
                first.connect(LinkPartner())
            elif step == 4:
                first.write(0, 0x1000)
                first.connect(None)
            await bench.rounds_of_polls(ctx, 3)
            for port, phy in enumerate(bench.phys.values()):
                shown = bench.status(ctx, port)
                right = expected(phy)
                assert {name: shown[name] for name in right} == right
                ups.add((shown["link"], shown["speed"]))

    bench.run(main)
    assert {up for up, _ in ups} == {0, 1}


def test_every_resolution():
    """28B.3, and half duplex is shown as no link."""
    phy = Clause22Phy(0x001CC915)
    bench = Bench({1: (managed("RTL8211E", 1), phy)})

    async def main(ctx):
        await bench.rounds_of_polls(ctx, 3)
        # Everything is offered again, so that half duplex can win.
        phy.write(4, 0x01E1)
        phy.write(9, 0x0300)
        for k, best in enumerate(PRIORITY):
            phy.connect(LinkPartner(frozenset(PRIORITY[k:])))
            assert phy.technology() == best
            await bench.rounds_of_polls(ctx)
            shown = bench.status(ctx, 0)
            assert (shown["link"], shown["full_duplex"]) == (best[1], best[1])
            if best[1]:
                assert shown["speed"] == SPEEDS[best[0]]

    bench.run(main)


def test_each_phy_is_set_up_once_it_is_there_and_no_other_is_written_to():
    marvell = PagedPhy(0x01410DD1, 22, pages={(2, 21): 0x1076}, reset_reads=3)
    broadcom = BroadcomPhy(0x03625E6A)
    wrong = Clause22Phy(0x01410DD1)
    bench = Bench({
        4: (managed("88E1512", 4, rx_delay=True, tx_delay=False), marvell),
        5: (managed("B50612D", 5, rx_delay=False, tx_delay=False), broadcom),
        6: (managed("KSZ9031RNX", 6), wrong),
        7: (managed("88E1512", 7), None),
    })

    def writes(address):
        return [frame for frame in bench.bus.frames if frame.write and frame.phy == address]

    async def main(ctx):
        assert ctx.get(bench.dut.reset) == 1
        await bench.rounds_of_polls(ctx, 2)
        assert ctx.get(bench.dut.reset) == 0
        assert marvell.pages[2, 21] == 0x1066 and marvell.page == 0
        assert broadcom.shadow[3] == 0 and broadcom.auxiliary[7] & 0x100 == 0
        assert [bench.status(ctx, port)["present"] for port in range(4)] == [1, 1, 0, 0]
        assert [bench.status(ctx, port)["id"] for port in range(4)] == [0x01410DD1, 0x03625E6A, 0x01410DD1, 0xFFFFFFFF]
        assert not writes(6) and not writes(7)
        before = len(writes(4)), len(writes(5))
        assert min(before) > 0
        await bench.rounds_of_polls(ctx, 1)
        assert (len(writes(4)), len(writes(5))) == before
        # It loses its power, and has forgotten everything when it comes back.
        bench.bus.phys.pop(4)
        await bench.rounds_of_polls(ctx, 2)
        assert bench.status(ctx, 0)["present"] == 0
        marvell.reset()
        marvell.connect(LinkPartner())
        bench.bus.phys[4] = marvell
        await bench.rounds_of_polls(ctx, 3)
        assert marvell.pages[2, 21] == 0x1066
        assert bench.status(ctx, 0) == expected(marvell)

    bench.run(main)


def test_a_reset_that_never_ends_holds_up_nobody_for_long():
    stuck = PagedPhy(0x01410DD1, 22, reset_reads=10**9)
    other = Clause22Phy(0x001CC915)
    bench = Bench({4: (managed("88E1512", 4, rx_delay=True, tx_delay=True), stuck), 5: (managed("RTL8211E", 5), other)})
    other.connect(LinkPartner())

    async def main(ctx):
        await bench.rounds_of_polls(ctx, 3)
        assert bench.status(ctx, 1)["link"] == 1
        assert bench.status(ctx, 0)["link"] == 0

    bench.run(main)


def test_accesses_of_the_host_between_polls():
    rng = random.Random(1)
    phys = {2: PagedPhy(0x01410DD1, 22, pages={(2, 21): 0x1076}), 9: Clause22Phy(0x001CC915)}
    bench = Bench({2: (managed("88E1512", 2), phys[2]), 9: (managed("RTL8211E", 9), phys[9])})
    for phy in phys.values():
        phy.connect(LinkPartner())

    async def access(ctx, **fields):
        await source(bench.dut.i, [pack(MDIO_COMMAND, fields)])(ctx)
        await ctx.tick().repeat(rng.randrange(1, 1000))
        ctx.set(bench.dut.o.ready, 1)
        *_, answer = await ctx.tick().sample(bench.dut.o.payload.as_value()).until(bench.dut.o.valid)
        ctx.set(bench.dut.o.ready, 0)
        return unpack(MDIO_RESPONSE, answer)

    async def main(ctx):
        await bench.rounds_of_polls(ctx, 3)
        for _ in range(12):
            address, register, value = rng.choice([2, 9]), rng.randrange(16, 21), rng.getrandbits(16)
            assert (await access(ctx, write=1, phy=address, register=register, data=value))["ok"]
            assert await access(ctx, write=0, phy=address, register=register, data=0) == {"ok": 1, "data": value}
        assert (await access(ctx, write=0, phy=8, register=1, data=0))["ok"] == 0
        # On another page, with polls held off.
        ctx.set(bench.dut.hold, 1)
        await access(ctx, write=1, phy=2, register=22, data=2)
        seen = len(bench.bus.frames)
        assert await access(ctx, write=0, phy=2, register=21, data=0) == {"ok": 1, "data": 0x1076}
        await ctx.delay(20_000 / CLOCK_HZ)
        assert len(bench.bus.frames) == seen + 1
        await access(ctx, write=1, phy=2, register=22, data=0)
        ctx.set(bench.dut.hold, 0)
        await bench.rounds_of_polls(ctx)
        for port, phy in enumerate(phys.values()):
            assert bench.status(ctx, port) == expected(phy)

    bench.run(main)


@pytest.mark.parametrize(("phys", "message"), [
    ([], "an MDIO bus has at least one PHY"),
    ([managed("generic", 32)], "address of PHY 0 must be 0 to 31, not 32"),
    ([managed("generic", 3), managed("88E1512", 3)], "two PHYs of one bus have the address 3: give each its own"),
    ([managed("RTL8211E", 3, rx_delay=True)], "PHY 0 at address 3: RTL8211E takes its RGMII delays from its straps"),
])
def test_refuses(phys, message):
    with pytest.raises(ConfigError, match=message):
        PhyManager(CLOCK_HZ, phys)
