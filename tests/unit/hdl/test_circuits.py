"""Where frames go that leave the link port: every sentence of "The link port" in docs/dataplane.md about circuits."""

import random
from itertools import pairwise

import pytest
from polyrouter.hdl.circuits import DEPARTURE, Circuits, departing_layout, directed_layout
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LINK_ROW, TUNNEL, LinkKind, Reason, TunnelKind, pack, unpack
from polyrouter.hdl.records import REFUSED

from .bench import WIDTHS, access, packet_beats, packets, simulate, sink, source, until

CIRCUITS = 16
LONGEST = 1518          # without tag and FCS


def config_of(width):
    return CoreConfig(ports=3, data_width=width, circuits=CIRCUITS)


def tunnel(rng, kind):
    return {"kind": kind, **{name: rng.getrandbits(field.width) for name, field in TUNNEL if name != "kind"}}


def row(rng, kind, *, router=1, tunnel_kind=None, **fields):
    given = tunnel(rng, rng.choice(list(TunnelKind)) if tunnel_kind is None else tunnel_kind)
    return {"router": router, "kind": kind, "peer": rng.randrange(CIRCUITS), "underlay": rng.randrange(1024),
            "tunnel": pack(TUNNEL, given), "next": 0, **fields}


def onto(link, octets, departure):
    """What leaves by a row, or why nothing does."""
    if link["kind"] == LinkKind.TUNNEL:
        header = 50 if unpack(TUNNEL, link["tunnel"])["kind"] == TunnelKind.VXLAN else 42
        if len(octets) + header > LONGEST:
            return departure["router"], Reason.DROP_LENGTH
    return octets, {"router": departure["router"], "kind": link["kind"],
                    "tci": link["peer"] | departure["tci"] & 0xF000, "underlay": link["underlay"],
                    "tunnel": link["tunnel"], "entropy": departure["entropy"]}


def expected_of(rows, octets, departure):
    """Frames and drops that a frame gives, in order."""
    number, router = departure["tci"] & 0xFFF, departure["router"]
    if not departure["tagged"]:
        return [(octets, {"kind": LinkKind.NONE, "router": router, "entropy": departure["entropy"]})]
    link = rows.get(number)
    if not link or number == 0 or link["kind"] == LinkKind.NONE or link["router"] != router:
        return [(router, Reason.DROP_FAULT)]
    if number == departure["source"]:
        return []
    if link["kind"] != LinkKind.LIST:
        return [onto(link, octets, departure)]
    source_link = rows.get(departure["source"], {"kind": LinkKind.NONE}) if departure["source"] else {}
    given, number = [], link["next"]
    for _ in range(CIRCUITS):
        if not 0 < number < CIRCUITS:
            break
        member = rows.get(number, {"kind": LinkKind.NONE, "next": 0, "router": 0})
        if (number != departure["source"] and member["router"] == router
                and (member["kind"] == LinkKind.DIRECT or (
                    member["kind"] == LinkKind.TUNNEL and source_link.get("kind") != LinkKind.TUNNEL))):
            given.append(onto(member, octets, departure))
        number = member["next"]
    return given


def run(width, rows, frames, *, rates=(1, 1), seed=0):
    """Send (octets, departure) through; checks frames and drops."""
    dut = Circuits(config_of(width))
    rng = random.Random(seed)
    layout = departing_layout(width)
    items = [beat | pack(layout, {"departure": pack(DEPARTURE, departure)})
             for octets, departure in frames for beat in packet_beats(layout, octets, width)]
    expected = [outcome for octets, departure in frames for outcome in expected_of(rows, octets, departure)]
    wanted = [outcome for outcome in expected if isinstance(outcome[0], bytes)]
    dropped = [outcome for outcome in expected if not isinstance(outcome[0], bytes)]
    beats = sum(-(-len(octets) // (width // 8)) for octets, _ in wanted)
    out, events = [], []

    async def main(ctx):
        for number, fields in rows.items():
            await access(ctx, dut.table, number, pack(LINK_ROW, fields))
            assert await access(ctx, dut.table, number) == pack(LINK_ROW, fields)
        await source(dut.i, items, rng=rng, rate=rates[0])(ctx)
        while ctx.get(dut.busy):
            await ctx.tick()

    simulate(dut, [main, until(lambda: (len(out), len(events)) == (beats, len(dropped)))],
             [sink(dut.o, out, rng=rng, rate=rates[1]), sink(dut.event, events, rng=rng, rate=rates[1])])
    given = packets(directed_layout(width), out, width)
    assert [octets for octets, _ in given] == [octets for octets, _ in wanted]
    for (_, fields), (_, want) in zip(given, wanted, strict=True):
        assert {name: fields[name] for name in want} == want
    assert [(fields["router"], fields["reason"]) for fields in (unpack(REFUSED, item) for item in events)] == dropped
    return given


def departure_of(rng, circuit, *, router=1, source=0, tagged=1):
    return {"router": router, "tagged": tagged, "tci": circuit | rng.getrandbits(4) << 12, "source": source,
            "entropy": rng.getrandbits(14)}


@pytest.mark.parametrize("rates", [(1, 1), (0.6, 0.7)])
@pytest.mark.parametrize("width", WIDTHS)
def test_each_kind_of_circuit(width, rates):
    """By one's own circuit, by another's, by none; priorities stay; every length around a beat."""
    rng = random.Random(width)
    rows = {1: row(rng, LinkKind.DIRECT), 2: row(rng, LinkKind.TUNNEL), 3: row(rng, LinkKind.NONE),
            4: row(rng, LinkKind.DIRECT, router=2), 5: row(rng, LinkKind.TUNNEL, router=1023),
            0: row(rng, LinkKind.DIRECT)}
    frames = [(rng.randbytes(rng.randrange(14, 15 + width // 4)),
               departure_of(rng, number, router=router, tagged=tagged))
              for number in (0, 1, 2, 3, 4, 5, 6, 16, 17, 4095) for router in (1, 2, 1023) for tagged in (1, 1, 0)]
    frames += [(rng.randbytes(20), departure_of(rng, number, source=source))
               for number in range(6) for source in range(6)]
    rng.shuffle(frames)
    run(width, rows, frames, rates=rates, seed=width)


@pytest.mark.parametrize("kind", TunnelKind)
def test_longest_into_a_tunnel(kind):
    """The outer frame may be as long as any frame, and no longer; alone and as a list's member."""
    rng = random.Random(kind)
    rows = {1: row(rng, LinkKind.TUNNEL, tunnel_kind=kind), 2: row(rng, LinkKind.LIST, next=1)}
    most = LONGEST - (50 if kind == TunnelKind.VXLAN else 42)
    run(64, rows, [(rng.randbytes(length), departure_of(rng, number))
                   for number in (1, 2) for length in (most, most + 1, most, LONGEST)])


def chain(rng, members, **others):
    """A list of all members in a random order, headed by circuit 15; each is (number, kind)."""
    order = rng.sample(members, len(members))
    rows = {number: row(rng, kind, next=following, **others)
            for (number, kind), (following, _) in zip(order, [*order[1:], (0, None)], strict=True)}
    rows[15] = row(rng, LinkKind.LIST, next=order[0][0])
    return rows


@pytest.mark.parametrize("rates", [(1, 1), (0.6, 0.7)])
@pytest.mark.parametrize("width", WIDTHS)
def test_lists(width, rates):
    """All members get the frame, but not the one that it came from, nor a tunnel from a tunnel, nor another's."""
    rng = random.Random(width)
    members = [(1, LinkKind.DIRECT), (2, LinkKind.TUNNEL), (3, LinkKind.DIRECT), (4, LinkKind.TUNNEL),
               (5, LinkKind.NONE), (6, LinkKind.LIST), (7, LinkKind.DIRECT)]
    rows = chain(rng, members)
    rows[7]["router"] = 2
    frames = [(rng.randbytes(rng.choice((14, 60, 61, 64, 100))), departure_of(rng, 15, source=source))
              for source in (0, *range(1, 9), 15, 16, 4095)]
    frames += [(rng.randbytes(60), departure_of(rng, 15, router=2)), (rng.randbytes(60), departure_of(rng, 6)),
               (rng.randbytes(60), departure_of(rng, 1)), (rng.randbytes(LONGEST), departure_of(rng, 15, source=2))]
    run(width, rows, frames, rates=rates, seed=width)


def test_a_list_that_bites_its_tail_ends():
    """After as many members as there are circuits; the engine goes on with the next frame."""
    rng = random.Random(1)
    rows = {1: row(rng, LinkKind.DIRECT, next=2), 2: row(rng, LinkKind.DIRECT, next=1),
            15: row(rng, LinkKind.LIST, next=1), 3: row(rng, LinkKind.DIRECT, next=16),
            14: row(rng, LinkKind.LIST, next=3)}
    given = run(64, rows, [(rng.randbytes(60), departure_of(rng, number)) for number in (15, 14, 1)])
    assert len(given) == CIRCUITS + 1 + 1


@pytest.mark.parametrize("seed", range(4))
def test_random_tables(seed):
    """Rows of any kind and owner, linked in any way."""
    rng = random.Random(seed)
    rows = {number: row(rng, rng.choice(list(LinkKind)), router=rng.choice((1, 1, 1, 2)),
                        next=rng.choice((0, rng.randrange(CIRCUITS), rng.randrange(4096))))
            for number in range(1, CIRCUITS)}
    frames = [(rng.randbytes(rng.choice((14, 63, 64, 65, 130))), departure_of(
        rng, rng.randrange(CIRCUITS + 1), router=rng.choice((1, 1, 2)), source=rng.choice((0, rng.randrange(CIRCUITS))),
        tagged=rng.random() < 0.9)) for _ in range(60)]
    run(64, rows, frames, rates=(0.8, 0.8), seed=seed)


def test_pace():
    """As the docstring says: first beat after 4 cycles, 3 cycles a frame more than its beats."""
    rng = random.Random(1)
    dut = Circuits(config_of(64))
    layout = departing_layout(64)
    departure = pack(layout, {"departure": pack(DEPARTURE, departure_of(rng, 1))})
    items = [beat | departure for beat in packet_beats(layout, rng.randbytes(64), 64)] * 5
    out, taken, given = [], [], []

    async def main(ctx):
        await access(ctx, dut.table, 1, pack(LINK_ROW, row(rng, LinkKind.DIRECT)))
        await source(dut.i, items, times=taken)(ctx)

    async def monitor(ctx):
        await ctx.changed(dut.i.valid)
        await sink(dut.o, out, times=given)(ctx)

    simulate(dut, [main, until(lambda: len(out) == len(items))], [monitor])
    assert given[0] == 5        # taken at the end of the cycle in which it is offered
    assert [later - earlier for earlier, later in pairwise(given[::8])] == [8 + 3] * 4
    assert taken[-1] == 5 * (8 + 3)
