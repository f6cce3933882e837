import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import VMAC_KEY_BITS, VMAC_ROW, Role, pack, unpack
from polyrouter.hdl.records import META
from polyrouter.hdl.vmac import VmacLookup

from .bench import WIDTHS, access, run_stage, simulate, sink, source, until

SEEDS = (0x6D5A56DA255B0EC2, 0x4167253D43A38FB0)
GROUP_BIT = 1 << 40


def slots_of(config, seeds, mac, port, vid, role):
    """The four rows where a key may be, by the specification."""
    key = mac | port << 48 | vid << 52 | role << 64
    assert key < 1 << VMAC_KEY_BITS
    rows = []
    for k, seed in enumerate((seeds[0] | seeds[1] << 64, seeds[1] | seeds[0] << 64)):
        value = 0
        for bit in range(VMAC_KEY_BITS):
            if key >> bit & 1:
                value ^= seed >> bit
        value &= (1 << config.vmac_index_bits) - 1
        rows += [(k * 2 + way) << config.vmac_index_bits | value for way in range(2)]
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
    rows, known, segments = {}, [], [(rng.randrange(config.ports), rng.choice([0, rng.getrandbits(12)]))
                                     for _ in range(4)]
    for _ in range(entries):
        # Group addresses too: such a row is never to match a destination.
        mac = rng.getrandbits(48) & ~(rng.choice([0, 1, 1, 1]) << 40)
        (port, vid), role = rng.choice(segments), rng.choice([*Role])
        if role == Role.SEGMENT and rng.random() < 0.9:
            mac = 0
        # A few rows with a router that does not exist, a few that are not valid, a few with a role that is none.
        router = rng.choice([rng.randrange(config.routers)] * 8 + [min(config.routers, 1023)])
        valid, guard = rng.random() < 0.9, rng.getrandbits(1)
        row = rng.choice(slots_of(config, seeds, mac, port, vid, role))
        if row in rows or (mac, port, vid, role) in [k[:4] for k in known]:
            continue
        rows[row] = pack(VMAC_ROW, {"mac": mac, "port": port, "vid": vid, "role": role, "valid": valid,
                                    "router": router, "guard": guard})
        known.append((mac, port, vid, role, (router, guard) if valid and router < config.routers else None))

    def pick(role):
        kind = rng.random()
        candidates = [k for k in known if k[3] == role]
        if kind < 0.6 and candidates:
            return rng.choice(candidates)[:3]
        if kind < 0.8:
            return rng.choice(known)[:3]          # of another role, too
        return rng.getrandbits(48) & ~GROUP_BIT, *rng.choice(segments)

    frames = []
    for _ in range(150):
        (dmac, *own_place), (smac, *peer_place) = pick(Role.OWN), pick(Role.PEER)
        port, vid = rng.choice([own_place, own_place, peer_place, [rng.randrange(config.ports), rng.getrandbits(12)]])
        injected, given = rng.choice([(1, 0), (0, 1), *[(0, 0)] * 8])
        if rng.random() < 0.3:
            dmac |= GROUP_BIT
        frames.append({"dmac": dmac, "smac": smac, "port": port, "injected": injected, "given": given,
                       "group": dmac >> 40 & 1, "tagged": vid != 0, "tci": vid | (rng.getrandbits(4) << 12),
                       "router": rng.randrange(config.routers) if injected or given else rng.getrandbits(11),
                       "least_length": rng.randrange(1 << 14), "ip_destination": rng.getrandbits(128)})
    return rows, {k[:4]: k[4] for k in known if k[4] is not None}, frames


def expected(config, known, frame):
    """``known`` has (router, guard) for each key."""
    fields = dict.fromkeys(("own", "peer", "peer_router", "segment", "segment_router", "segment_guard"), 0)
    if frame["injected"]:
        return fields | {"router": frame["router"]}
    place = frame["port"], frame["tci"] & 0xFFF
    nothing = None, 0
    own, _ = nothing if frame["group"] else known.get((frame["dmac"], *place, Role.OWN), nothing)
    peer, _ = known.get((frame["smac"], *place, Role.PEER), nothing)
    segment, guard = known.get((0, *place, Role.SEGMENT), nothing)
    if own is not None:
        fields["own"] = 1
    if peer is not None:
        fields |= {"peer": 1, "peer_router": peer}
    if segment is not None:
        fields |= {"segment": 1, "segment_router": segment, "segment_guard": guard}
    if frame["given"]:
        return fields | {"own": 1, "router": frame["router"]}
    routers = [peer if frame["group"] else own, segment, config.no_router]
    return fields | {"router": next(router for router in routers if router is not None)}


#: A record stays at ``i`` until it leaves.
STAYS = {"vmac_cycles": 2, "context_words": 4, "stage_registers": 0}


@pytest.mark.parametrize("routers, slots, seeds, cycles", [
    (8, 0, SEEDS, 1), (1, 16, SEEDS, 2), (17, 0, SEEDS, 2), (4, 0, SEEDS, 0), (32, 512, SEEDS, 2),
    (5, 64, (0, SEEDS[1]), 1), (1024, 16384, SEEDS, 1)])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.2, 0.1)])
def test_random_frames_against_a_dictionary(routers, slots, seeds, cycles, rates):
    """With ``cycles`` 0: 2, and without a register behind the stage."""
    config = CoreConfig(routers=routers, vmac_slots=slots, **({"vmac_cycles": cycles} if cycles else STAYS))
    rng = random.Random(routers)
    rows, known, frames = random_case(rng, config, seeds, min(100, 2 * config.vmac_slots))
    dut = Seeded(config, seeds)
    out, *_ = run_stage(dut, [pack(META, frame) for frame in frames], tables=[(dut.table, rows)], rates=rates)
    for frame, record in zip(frames, out, strict=True):
        wanted = pack(META, frame | expected(config, known, frame))
        assert unpack(META, record) == unpack(META, wanted)
    found = [expected(config, known, frame) for frame in frames]
    if len(rows) > 16:
        for name in ("own", "peer", "segment", "segment_guard"):
            assert {fields[name] for fields in found} == {0, 1}
        assert {fields["segment"] for fields, frame in zip(found, frames, strict=True) if frame["given"]} == {0, 1}
    assert {fields["router"] for fields in found} > {config.no_router}


ROUTERS = {Role.OWN: 1, Role.PEER: 2, Role.SEGMENT: 3}


@pytest.mark.parametrize("roles", [[role for role in Role if bits >> role & 1] for bits in range(8)])
@pytest.mark.parametrize("group, given", [(0, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("guarded, cycles", [*((role, 1) for role in Role), (Role.OWN, 2)])
def test_every_slot_of_every_role(roles, group, given, guarded, cycles):
    """Each role's entry, in each of its four slots, one of them with ``guard``, and how the router is chosen."""
    config = CoreConfig(vmac_cycles=cycles)
    port, vid, dmac, smac = 3, 0xABC, 0x020000000001 | group * GROUP_BIT, 0x020000000002
    macs = {Role.OWN: dmac, Role.PEER: smac, Role.SEGMENT: 0}
    dut = Seeded(config, SEEDS)
    frame = {"dmac": dmac, "smac": smac, "port": port, "group": group, "injected": 0, "given": given, "router": 5,
             "tagged": 1, "tci": 0x7000 | vid}
    known = {(macs[role], port, vid, role): (ROUTERS[role], int(role == guarded)) for role in roles}
    out = []

    async def main(ctx):
        for k in range(4):
            rows = {slots_of(config, SEEDS, macs[role], port, vid, role)[k]: pack(VMAC_ROW, {
                "mac": macs[role], "port": port, "vid": vid, "role": role, "valid": 1, "router": ROUTERS[role],
                "guard": role == guarded})
                for role in roles}
            assert len(rows) == len(roles)
            for row, value in rows.items():
                await access(ctx, dut.table, row, value)
            await source(dut.i, [pack(META, frame)])(ctx)
            while len(out) == k:
                await ctx.tick()
            for row in rows:
                await access(ctx, dut.table, row, 0)

    simulate(dut, [main], [sink(dut.o, out)])
    assert [unpack(META, record) for record in out] == [
        unpack(META, pack(META, frame | expected(config, known, frame)))] * 4


@pytest.mark.parametrize("parameters, period, latency, most", [
    ({}, 6, 7, 4), ({"vmac_cycles": 2}, 10, 1, 7), (STAYS, 10, 0, 7)])
@pytest.mark.parametrize("busy", [False, True])
def test_pace(busy, parameters, period, latency, most):
    """Whatever the control port does, which gets its turn all the same."""
    dut = VmacLookup(CoreConfig(**parameters))
    accesses = []
    taken, given, out = [], [], []

    async def control(ctx):
        while busy and len(out) < 40:
            cycles = 0
            ctx.set(dut.table.stb, 1)
            ctx.set(dut.table.write, len(accesses) % 2)
            ack = 0
            while not ack:
                *_, ack = await ctx.tick().sample(dut.table.ack)
                cycles += 1
            ctx.set(dut.table.stb, 0)
            accesses.append(cycles)
            await ctx.tick().repeat(1 + len(accesses) % 3)

    records = [pack(META, {"least_length": k, "injected": k % 3 == 0, "group": k % 2}) for k in range(40)]
    simulate(dut, [source(dut.i, records, times=taken), control, until(lambda: len(out) == 40)],
             [sink(dut.o, out, times=given)])
    assert taken == [taken[0] + period * k for k in range(40)]
    assert given == [cycle + latency for cycle in taken]
    assert [unpack(META, record)["least_length"] for record in out] == list(range(40))
    if busy:
        assert len(accesses) > 40 and max(accesses) <= most + 1        # one of these is the cycle of ``ack``


@pytest.mark.parametrize("role", [*Role])
@pytest.mark.parametrize("rate, parameters", [
    (1.0, {}), (0.15, {}), (1.0, {"vmac_cycles": 2}), (0.5, {"vmac_cycles": 2}), (0.5, STAYS)])
def test_an_entry_on_the_move_is_always_found(rate, parameters, role):
    """It is copied to another slot before it is removed from its own, while frames for it are looked up."""
    config = CoreConfig(**parameters)
    dut = Seeded(config, SEEDS)
    mac, port, vid = 0 if role == Role.SEGMENT else 0x020000000001, 2, 7
    row = pack(VMAC_ROW, {"mac": mac, "port": port, "vid": vid, "role": role, "valid": 1, "router": 3, "guard": 1})
    slots = slots_of(config, SEEDS, mac, port, vid, role)
    assert len(set(slots)) == 4
    rng = random.Random(1)
    out, started, moves = [], [], []
    frame = {"dmac": mac, "smac": mac, "port": port, "tci": vid}

    async def mover(ctx):
        place = rng.choice(slots)
        await access(ctx, dut.table, place, row)
        started.append(True)
        while len(out) < 250:
            target = rng.choice([slot for slot in slots if slot != place])
            await access(ctx, dut.table, target, row)
            await access(ctx, dut.table, place, 0)
            assert await access(ctx, dut.table, place) == 0
            assert await access(ctx, dut.table, target) == row
            place = target
            moves.append(place)
            await ctx.tick().repeat(rng.randint(1, 12))

    async def frames(ctx):
        while not started:
            await ctx.tick()
        await source(dut.i, [pack(META, frame)] * 250)(ctx)

    simulate(dut, [mover, frames, until(lambda: len(out) == 250)], [sink(dut.o, out, rng=rng, rate=rate)])
    assert len(moves) > 50
    name, router = {Role.OWN: ("own", "router"), Role.PEER: ("peer", "peer_router"),
                    Role.SEGMENT: ("segment", "segment_router")}[role]
    assert all(unpack(META, record)[name] and unpack(META, record)[router] == 3 for record in out)
    assert all(unpack(META, record)["segment_guard"] == (role == Role.SEGMENT) for record in out)


@pytest.mark.parametrize("width, routers", list(zip(WIDTHS, (1, 8, 100, 1024), strict=True)))
def test_elaborates(width, routers):
    assert rtlil.convert(VmacLookup(CoreConfig(data_width=width, routers=routers)))
