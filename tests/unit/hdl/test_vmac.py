import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import VMAC_KEY_BITS, VMAC_ROW, Role, pack, unpack
from polyrouter.hdl.records import META
from polyrouter.hdl.vmac import VmacLookup

from .bench import WIDTHS, access, run_stage, simulate, sink, source, until

SEEDS = (0x6D5A56DA255B0EC2, 0x4167253D43A38FB0)


def slots_of(config, seeds, mac, port, role):
    """The four rows where a key may be, by the specification."""
    key = mac | port << 48 | role << 52
    rows = []
    for number, seed in enumerate(seeds):
        value = 0
        for bit in range(VMAC_KEY_BITS):
            if key >> bit & 1:
                value ^= seed >> bit
        value &= (1 << config.vmac_index_bits) - 1
        rows += [(number * 2 + way) << config.vmac_index_bits | value for way in range(2)]
    return rows


class Seeded(VmacLookup):
    """With seeds as they are after reset, or those of these tests."""

    def __init__(self, config, seeds):
        super().__init__(config)
        self.seeds = seeds

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += [self.seed0.eq(self.seeds[0]), self.seed1.eq(self.seeds[1])]
        return m


def random_case(rng, config, seeds, entries):
    """Rows, and frames of which about half have addresses that are in them."""
    rows, known = {}, []
    for _ in range(entries):
        # Group addresses too: such a row is never to match a destination.
        mac = rng.getrandbits(48) & ~(rng.choice([0, 1, 1, 1]) << 40)
        port, role = rng.randrange(config.ports), rng.randrange(2)
        # A few rows with a router that does not exist, and a few that are not valid.
        router = rng.choice([rng.randrange(config.routers)] * 8 + [min(config.routers, 1023)])
        valid = rng.random() < 0.9
        row = rng.choice(slots_of(config, seeds, mac, port, role))
        if row in rows or (mac, port, role) in [k[:3] for k in known]:
            continue
        rows[row] = pack(VMAC_ROW, {"mac": mac, "port": port, "role": role, "valid": valid, "router": router})
        known.append((mac, port, role, router if valid and router < config.routers else None))

    def pick(role):
        kind = rng.random()
        candidates = [k for k in known if k[2] == role]
        if kind < 0.6 and candidates:
            return rng.choice(candidates)[0]
        if kind < 0.8:
            return rng.choice(known)[0]          # of the other role, too
        return rng.getrandbits(48) & ~(1 << 40)

    frames = []
    for _ in range(100):
        dmac, smac = pick(Role.OWN), pick(Role.PEER)
        ports = [k[1] for k in known if k[0] in (dmac, smac)] or [0]
        port = rng.choice(ports * 3 + [rng.randrange(config.ports)])
        injected = rng.random() < 0.1
        if rng.random() < 0.1:
            dmac |= 1 << 40
        frames.append({"dmac": dmac, "smac": smac, "port": port, "injected": injected,
                       "group": dmac >> 40 & 1, "router": rng.randrange(config.routers) if injected else 0,
                       "length": rng.randrange(1 << 14), "ip_destination": rng.getrandbits(128)})
    return rows, {k[:3]: k[3] for k in known if k[3] is not None}, frames


def expected(config, known, frame):
    fields = {"own": 0, "peer": 0, "router": config.no_router, "peer_router": 0}
    if frame["injected"]:
        return fields | {"router": frame["router"]}
    own = None if frame["group"] else known.get((frame["dmac"], frame["port"], Role.OWN))
    peer = known.get((frame["smac"], frame["port"], Role.PEER))
    if own is not None:
        fields |= {"own": 1, "router": own}
    if peer is not None:
        fields |= {"peer": 1, "peer_router": peer}
    return fields


@pytest.mark.parametrize("routers, slots, seeds", [
    (8, 0, SEEDS), (1, 16, SEEDS), (5, 64, (0, SEEDS[1])), (1024, 16384, SEEDS)])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.2, 0.1)])
def test_random_frames_against_a_dictionary(routers, slots, seeds, rates):
    config = CoreConfig(routers=routers, vmac_slots=slots)
    rng = random.Random(routers)
    rows, known, frames = random_case(rng, config, seeds, min(100, 2 * config.vmac_slots))
    dut = Seeded(config, seeds)
    out, *_ = run_stage(dut, [pack(META, frame) for frame in frames], tables=[(dut.table, rows)], rates=rates)
    for frame, record in zip(frames, out, strict=True):
        wanted = pack(META, frame | expected(config, known, frame))
        assert unpack(META, record) == unpack(META, wanted)
    found = [expected(config, known, frame) for frame in frames]
    assert any(f["own"] for f in found) and any(f["peer"] for f in found) and not all(f["own"] for f in found)


def test_one_record_every_eight_cycles():
    dut = VmacLookup(CoreConfig())
    out, taken, given = run_stage(dut, [pack(META, {"length": k}) for k in range(20)])
    assert taken == [taken[0] + 8 * k for k in range(20)]
    assert given == [cycle + 12 for cycle in taken]
    assert [unpack(META, record)["length"] for record in out] == list(range(20))


@pytest.mark.parametrize("rate", [1.0, 0.15])
def test_an_entry_on_the_move_is_always_found(rate):
    """It is copied to another slot before it is removed from its own, while frames for it are looked up."""
    config = CoreConfig()
    dut = Seeded(config, SEEDS)
    mac, port = 0x020000000001, 2
    row = pack(VMAC_ROW, {"mac": mac, "port": port, "role": Role.OWN, "valid": 1, "router": 3})
    slots = slots_of(config, SEEDS, mac, port, Role.OWN)
    assert len(set(slots)) == 4
    rng = random.Random(1)
    out, started, moves = [], [], []

    async def mover(ctx):
        place = rng.choice(slots)
        await access(ctx, dut.table, place, row)
        started.append(True)
        while len(out) < 250:
            target = rng.choice([slot for slot in slots if slot != place])
            await access(ctx, dut.table, target, row)
            await access(ctx, dut.table, place, 0)
            assert await access(ctx, dut.table, place) == 0
            place = target
            moves.append(place)
            await ctx.tick().repeat(rng.randint(1, 12))

    async def frames(ctx):
        while not started:
            await ctx.tick()
        await source(dut.i, [pack(META, {"dmac": mac, "port": port})] * 250)(ctx)

    simulate(dut, [mover, frames, until(lambda: len(out) == 250)], [sink(dut.o, out, rng=rng, rate=rate)])
    assert len(moves) > 50
    assert all(unpack(META, record)["own"] and unpack(META, record)["router"] == 3 for record in out)


@pytest.mark.parametrize("width, routers", list(zip(WIDTHS, (1, 8, 100, 1024), strict=True)))
def test_elaborates(width, routers):
    assert rtlil.convert(VmacLookup(CoreConfig(data_width=width, routers=routers)))
