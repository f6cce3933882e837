"""A router's multicast routes in its FIB, against the golden model's look-ups."""

import random
from collections.abc import Iterable
from functools import cache

import pytest
from polyrouter.hdl.layouts import (
    CONTEXT_ROW,
    FIB_BRANCH,
    FIB_LEAF,
    FIB_RESULTS,
    RESULTS_PER_WORD,
    Table,
    unpack,
)
from polyrouter.host.ports import circuit, physical
from polyrouter.host.tables.adjacency import LOCAL, Target
from polyrouter.host.tables.fib import FibCompiler, FibFull
from polyrouter.host.tables.groups import COVERS, Groups, MulticastKey, multicast
from polyrouter.host.tables.policy import Policy
from polyrouter.host.tables.prefix import Prefix
from polyrouter.host.tables.router import RouterTables
from polyrouter.host.tables.windows import Window
from polyrouter.sim.golden_rows import Multicast
from polyrouter.sim.golden_tables import RouteFault

from ....table_board import BoardGone, TableBoard
from .tables_of_a_router import CONFIG, MACS, ROUTER, TARGETS, WINDOW, K, ip, net, random_routes

ON = Policy(multicast=True)
Routes = dict[MulticastKey, Target]
#: Default routes must not be taken for groups.
UNICAST = {**dict.fromkeys(COVERS, LOCAL), net("0.0.0.0/0"): TARGETS[3], net("::/0"): TARGETS[4]}
PLACES = [multicast(port, ports, host=host) for port in range(3) for ports in ([0, 1, 2], [1], [2]) for host in (0, 1)]


def make(window: Window = WINDOW, board: TableBoard | None = None, policy: Policy = ON,
         fixed: Routes | None = None) -> tuple[RouterTables, TableBoard]:
    board = board or TableBoard(CONFIG)
    return RouterTables(board, ROUTER, window, MACS, policy=policy, multicast=fixed), board


WIDTH = FIB_RESULTS[0].width
#: A source that no random key has.
ANOTHER = 0xFFFFFFFE
NOTHING = Multicast(K.LOCAL, 0, 0, 0, 0, 0)


def start(tables: RouterTables) -> None:
    for prefix, target in UNICAST.items():
        tables.set_route(prefix, target)
    tables.program_all()


def key(source: str, group: str) -> MulticastKey:
    return MulticastKey.of(ip(group), None if source == "*" else ip(source), ":" in group)


def address(source: random.Random, base: int, ipv6: bool) -> int:
    """One of few, which differ early, late, or both."""
    bits = 128 if ipv6 else 32
    return base | source.getrandbits(3) << bits - 12 | source.choice([0, 0, 1, 0x30]) | source.getrandbits(1) << 17


def random_key(source: random.Random) -> MulticastKey:
    ipv6 = source.random() < 0.5
    return MulticastKey.of(
        address(source, ip("ff05::") if ipv6 else ip("232.0.0.0"), ipv6),
        None if source.random() < 0.25 else address(source, 0 if source.random() < 0.9 else ip("::1"), ipv6), ipv6)


def meet(board: TableBoard, sought: MulticastKey) -> Multicast:
    """What a packet from a source to a group meets; nothing, if the group has no such source, is as LOCAL."""
    context = board.tables.context(ROUTER)
    assert context.enable and context.multicast
    source = max(0, sought.source)
    row = board.tables.route(context, sought.group.address, ipv6=sought.group.ipv6, source=source)
    if row is None:
        return NOTHING
    return board.tables.group_ports(context, row)


def wanted(routes: Routes, sought: MulticastKey) -> Target:
    return routes.get(sought) or routes.get(sought._replace(source=-1)) or LOCAL


def is_as(found: Multicast, target: Target) -> bool:
    """Whether a row is that of a target; LOCAL has no ports."""
    if target.kind == K.LOCAL:
        return found.kind == K.LOCAL
    return found == Multicast(K.MULTICAST, physical(target.port), target.ports, int(target.host), 1500,
                               circuit(target.port))


def some_keys(source: random.Random, routes: Iterable[MulticastKey], count: int = 60) -> list[MulticastKey]:
    """Packets that meet routes, and such that just miss them."""
    found = [random_key(source) for _ in range(count)]
    for each in routes:
        found += [each, each._replace(source=max(0, each.source) ^ 1)]
        found.append(MulticastKey.of(each.group.address ^ 1, each.source, each.group.ipv6))
    return [one._replace(source=max(0, one.source)) for one in found]


def check(board: TableBoard, routes: Routes, source: random.Random) -> None:
    for sought in some_keys(source, routes):
        assert is_as(meet(board, sought), wanted(routes, sought)), str(sought)


def multicast_bit(board: TableBoard) -> bool:
    return bool(unpack(CONTEXT_ROW, board.tables.read(Table.CONTEXT, ROUTER, 0))["multicast"])


@cache
def decode(word: int) -> tuple[int | None, int, int, int, int]:
    """The result of a leaf, or first child, number of children, first result and number of results."""
    leaf, node = unpack(FIB_LEAF, word), unpack(FIB_BRANCH, word)
    return (leaf["result"] if leaf["leaf"] else None, node["child"], node["external"].bit_count(), node["result"],
            node["internal"].bit_count())


class Lookups:
    """Look-ups that take their time: what they could come to since the last fence is not to be written.

    Fields of the FIB window are (row, None) for a node or a leaf, (row, position) for a result.
    """

    def __init__(self, board: TableBoard, adj_size: int) -> None:
        self.board, self.adj_size = board, adj_size
        self.at = len(board.log)
        window = board.tables.window(Table.FIB, ROUTER)
        assert window is not None
        self.rows = {row: board.tables.read(Table.FIB, ROUTER, row) for row in range(window[1])}
        self.groups = multicast_bit(board)
        self.recent, self.adjacencies = self.live()

    def live(self) -> tuple[set, set[int]]:
        """Fields that can be read now, and adjacencies that can be found."""
        found: set = set()
        adjacencies: set[int] = set()
        waiting, roots = list(range(4)), set()
        while waiting:
            row = waiting.pop()
            found.add((row, None))
            leaf, child, children, place, count = decode(self.rows[row])
            results = [] if leaf is None else [leaf]
            if leaf is None:
                waiting += range(child, child + children)
                for at, position in (divmod(place + k, RESULTS_PER_WORD) for k in range(count)):
                    found.add((at, position))
                    results.append(self.rows[at] >> WIDTH * position & (1 << WIDTH) - 1)
            adjacencies.update(result for result in results if result < self.adj_size)
            for root in {result for result in results if self.groups and result >= self.adj_size} - roots:
                roots.add(root)
                waiting += [root, root + 1]
        return found, adjacencies

    def check(self) -> None:
        """Look at what was written since the last call."""
        now = self.live()
        for entry in self.board.log[self.at:]:
            if entry == "fence":
                self.recent, self.adjacencies = now
                continue
            table, _, row, bits = entry
            if table == Table.ADJACENCY:
                assert bits or row not in self.adjacencies, f"adjacency {row} is cleared while look-ups may find it"
                continue
            if table == Table.CONTEXT:
                self.groups = bool(unpack(CONTEXT_ROW, bits)["multicast"])
            elif table == Table.FIB:
                changed = self.rows[row] ^ bits
                for at, position in self.recent - now[0]:
                    if at == row:
                        field = -1 if position is None else (1 << WIDTH) - 1 << WIDTH * position
                        assert not changed & field, f"row {row} is written while look-ups may read it"
                self.rows[row] = bits
            now = self.live()
            self.recent |= now[0]
            self.adjacencies |= now[1]
        self.at = len(self.board.log)


@pytest.mark.parametrize("size", [260, 3000])
def test_nothing_is_written_that_lookups_under_way_may_read(size):
    source = random.Random(size)
    tables, board = make(Window(0, size, 0, 64))
    start(tables)
    lookups = Lookups(board, 64)
    routes: Routes = {}
    for _ in range(12):
        for _ in range(source.choice([1, 6, 20])):
            routes[random_key(source)] = source.choice(PLACES)
        gone = source.sample(sorted(routes), len(routes) // source.choice([2, 3]))
        for each, target in routes.items():
            tables.set_group(each, None if each in gone else target)
        routes = {each: target for each, target in routes.items() if each not in gone}
        tables.resync(UNICAST | {prefix: target for prefix, target in random_routes(source, 8, TARGETS[:5]).items()
                                 if not any(cover.covers(prefix) for cover in COVERS)})
        lookups.check()
        if source.random() < 0.3:
            tables.set_ports(MACS, policy=Policy())
            tables.set_ports(MACS, policy=ON)
            lookups.check()
    assert board.log.count("fence") > 10


def test_random_changes_show_old_or_new_after_every_write():
    source = random.Random(1)
    tables, board = make()
    start(tables)
    routes: Routes = {}
    writes = 0
    for _ in range(25):
        before = dict(routes)
        for _ in range(source.choice([1, 3, 12])):
            routes[random_key(source)] = source.choice(PLACES)
        for gone in source.sample(sorted(routes), len(routes) // source.choice([2, 5])):
            del routes[gone]
        for changed in {*before, *routes}:
            if before.get(changed) != routes.get(changed):
                tables.set_group(changed, routes.get(changed))
        allowed = {sought: (wanted(before, sought), wanted(routes, sought))
                   for sought in some_keys(source, {*before, *routes}, 20)}
        looks = []

        def look(allowed: dict = allowed, looks: list = looks) -> None:
            looks.append(1)
            for sought, targets in allowed.items():
                assert any(is_as(meet(board, sought), target) for target in targets), str(sought)

        board.on_write = look
        tables.commit()
        board.on_write = lambda: None
        writes += len(looks)
        check(board, routes, source)
    assert writes > 200
    assert tables.problems() == []
    for left in list(routes):
        tables.set_group(left, None)
    tables.commit()
    empty = make()[0]
    start(empty)
    assert tables.statistics() == empty.statistics()
    assert tables.adjacency_count() == empty.adjacency_count()


def test_what_is_for_a_group_but_for_the_routers_own_mac_is_a_fault():
    """A root of a trie of sources must not be taken for an adjacency, also where rows behind those are scarce."""
    tables, board = make(Window(0, 330, 0, 256))
    routes = {MulticastKey.of(ip("239.1.1.0") + k, None, False): PLACES[0] for k in range(60)}
    for each, target in routes.items():
        tables.set_group(each, target)
    start(tables)
    assert never_wrong(board, routes, random.Random(1)) > 20
    assert "multicast groups (one is 239.1.1." in tables.problems()[0]
    for group in (*(each.group for each in routes), net("239.2.1.2"), net("224.0.0.5"), net("ff05::1")):
        with pytest.raises(RouteFault):
            board.adjacency(ROUTER, group.address, ipv6=group.ipv6)


def test_a_change_of_ports_or_mtu_is_one_write():
    tables, board = make()
    tables.set_group(key("10.0.0.1", "239.1.1.1"), multicast(0, [1, 2]))
    tables.program_all()
    for port, mtu, least in ((1, 1400, 1400), (2, 1300, 1300), (0, 576, 1300)):
        before = len(board.log)
        tables.set_mtu(port, mtu)
        tables.commit()
        assert meet(board, key("10.0.0.1", "239.1.1.1")).mtu == least
        assert len(board.log) - before == (port != 0)
    tables.set_group(key("10.0.0.1", "239.1.1.1"), multicast(0, [1]))
    before = len(board.log)
    tables.commit()
    log = board.log[before:]
    assert [entry[0] for entry in log if entry[0] == Table.FIB] == [Table.FIB]
    assert log[0][0] == Table.ADJACENCY and log[-2] == "fence" and log[-1][3] == 0


def test_fixed_routes_come_before_those_of_the_kernel():
    fixed = {key("*", "239.1.1.1"): PLACES[0]}
    tables, board = make(fixed=fixed)
    tables.program_all()
    tables.set_group(key("*", "239.1.1.1"), PLACES[3])
    tables.set_group(key("10.0.0.1", "239.1.1.1"), PLACES[5])
    tables.commit()
    assert is_as(meet(board, key("10.0.0.2", "239.1.1.1")), PLACES[0])
    assert is_as(meet(board, key("10.0.0.1", "239.1.1.1")), PLACES[5])
    assert tables.fix_groups({}) and not tables.fix_groups({})
    tables.commit()
    assert is_as(meet(board, key("10.0.0.2", "239.1.1.1")), PLACES[3])


def test_multicast_is_switched_on_and_off_while_frames_flow():
    source = random.Random(3)
    tables, board = make(policy=Policy())
    start(tables)
    routes = {random_key(source): source.choice(PLACES) for _ in range(30)}
    for each, target in routes.items():
        tables.set_group(each, target)
    tables.commit()
    empty = tables.statistics()
    assert not multicast_bit(board) and empty.routes == 4
    sought = some_keys(source, routes)

    def look() -> None:
        if multicast_bit(board):
            assert all(is_as(meet(board, one), wanted(routes, one)) for one in sought)
        else:
            for group in ("239.1.1.1", "ff05::1"):
                try:
                    assert board.kind(ROUTER, ip(group), ipv6=":" in group) == K.LOCAL
                except RouteFault:
                    continue

    board.on_write = look
    for _ in range(2):
        tables.set_ports(MACS, policy=ON)
        assert multicast_bit(board)
        check(board, routes, source)
        tables.set_ports(MACS, policy=Policy())
        assert not multicast_bit(board)
        assert board.kind(ROUTER, ip("239.1.1.1")) == K.LOCAL
        assert tables.statistics() == empty
    assert tables.problems() == []


def test_a_group_that_could_not_be_taken_out_refers_to_nothing_old(monkeypatch):
    """There was no room to withdraw it, and then multicast was switched off: the trie that it refers to has gone."""
    tables, board = make(Window(0, 140, 0, 64))
    tables.set_group(key("*", "239.1.1.1"), PLACES[0])
    start(tables)
    refer = Groups._refer

    def full(self: Groups, group: Prefix, trie: FibCompiler | None) -> None:
        if trie is None and group not in COVERS:
            raise FibFull(4, 3, 2, 10)
        refer(self, group, trie)

    with monkeypatch.context() as patch:
        patch.setattr(Groups, "_refer", full)
        tables.set_group(key("*", "239.1.1.1"), None)
        tables.commit()
        tables.set_ports(MACS, policy=Policy())
    old = board.tables.route(board.tables.context(ROUTER), ip("239.1.1.1"))
    assert old is not None
    leaves = [board.tables.read(Table.FIB, ROUTER, old + half) for half in (0, 1)]
    source = random.Random(1)
    while [board.tables.read(Table.FIB, ROUTER, old + half) for half in (0, 1)] == leaves:     # until others have it
        tables.set_route(Prefix(False, 50 << 24 | source.getrandbits(10) << 12, 20), TARGETS[3])
        tables.commit()
    assert Prefix.host(ip("239.1.1.1"), False) in tables._groups._parked
    tables.set_ports(MACS, policy=ON)
    check(board, {}, source)
    context = board.tables.context(ROUTER)
    assert board.tables.route(context, ip("239.1.1.1")) == board.tables.route(context, ip("239.9.9.9")) != old
    tables.set_group(key("*", "239.1.1.2"), PLACES[0])
    tables.commit()
    tables.set_group(key("*", "239.1.1.2"), None)
    tables.commit()             # there is room again
    assert not tables._groups._parked


@pytest.mark.parametrize("policy", [ON, Policy()])
def test_adopted_routes_stay_until_somebody_says_something(policy):
    source = random.Random(4)
    fixed = {random_key(source): PLACES[2] for _ in range(3)}
    tables, board = make(fixed=fixed)
    routes = fixed | {random_key(source): source.choice(PLACES) for _ in range(40)}
    for each, target in routes.items():
        tables.set_group(each, target)
    start(tables)
    again = make(board=board, fixed=fixed, policy=policy)[0]
    begin = len(board.log)
    assert again.adopt()
    assert {entry[0] for entry in board.log[begin:]} <= {Table.PORT, Table.CONTEXT, "f"}
    assert set(again.prefixes()) == set(UNICAST) - set(COVERS)
    assert set(again.group_keys()) == set(routes) - set(fixed)
    if policy is ON:
        again.commit()
        check(board, routes, source)
        for each in set(again.group_keys()):
            again.set_group(each, routes[each])
        again.resync(UNICAST)
        assert {entry[0] for entry in board.log[begin:]} <= {Table.PORT, Table.CONTEXT, "f"}
        for each in source.sample(sorted(set(routes) - set(fixed)), 20):
            again.set_group(each, None)
            del routes[each]
        again.commit()
        check(board, routes, source)
        assert again.statistics().words_used <= tables.statistics().words_used
    else:
        again.resync(UNICAST)
        assert not multicast_bit(board)
        assert board.kind(ROUTER, ip("239.1.1.1")) == K.LOCAL
        assert again.statistics().routes == 4
    assert again.problems() == []


@pytest.mark.parametrize("accesses", range(0, 60, 4))
def test_a_board_that_fails_in_between(accesses):
    source = random.Random(accesses)
    tables, board = make()
    start(tables)
    routes = {random_key(source): source.choice(PLACES) for _ in range(30)}
    for each, target in routes.items():
        tables.set_group(each, target)
    board.fail_after = accesses
    with pytest.raises(BoardGone):
        tables.commit()
    board.fail_after = None
    assert tables.synchronize()
    check(board, routes, source)
    blank = TableBoard(CONFIG)
    tables.writer.driver = blank
    assert not tables.synchronize()
    check(blank, routes, source)
    assert tables.problems() == []


def test_a_context_that_takes_anything_for_a_group_is_not_adopted():
    tables, board = make(policy=Policy())
    start(tables)
    bits = board.tables.read(Table.CONTEXT, ROUTER, 0) | 1 << CONTEXT_ROW["multicast"].offset
    board.tables.write(Table.CONTEXT, ROUTER, 0, bits)
    again = make(board=board)[0]
    assert not again.synchronize()
    assert is_as(meet(board, key("10.0.0.1", "239.1.1.1")), LOCAL)


def never_wrong(board: TableBoard, routes: Routes, source: random.Random) -> int:
    """Every packet goes where it should, or is punted; returns how many routes are in hardware."""
    right = 0
    for sought in some_keys(source, routes):
        found, target = meet(board, sought), wanted(routes, sought)
        assert found.kind == K.LOCAL or is_as(found, target), str(sought)
    for each, target in routes.items():
        right += is_as(meet(board, each._replace(source=ANOTHER if each.source < 0 else each.source)), target)
    return right


@pytest.mark.parametrize("seed", range(6))
def test_what_does_not_fit_is_punted_until_there_is_room(seed):
    source = random.Random(seed)
    tables, board = make(Window(0, 220, 0, 32))
    start(tables)
    routes: Routes = {}
    unicast: dict[Prefix, Target] = {}
    full = False
    for _ in range(12):
        for _ in range(40):
            routes[random_key(source)] = source.choice(PLACES)
        for each, target in routes.items():
            tables.set_group(each, target)
        some = random_routes(source, 20, TARGETS[:5])
        unicast |= {prefix: target for prefix, target in some.items()
                    if not any(cover.covers(prefix) for cover in COVERS) and prefix.length > 1}
        tables.resync(UNICAST | unicast)
        full |= any("multicast groups" in problem for problem in tables.problems())
        assert never_wrong(board, routes, source) > 0
        for gone in source.sample(sorted(routes), len(routes) // 2):
            tables.set_group(gone, None)
            del routes[gone]
        tables.commit()
        never_wrong(board, routes, source)
    assert full
    tables.resync(UNICAST)
    for gone in list(routes)[4:]:
        tables.set_group(gone, None)
        del routes[gone]
    tables.commit()
    tables.commit()
    assert never_wrong(board, routes, source) == len(routes)
    assert tables.problems() == []


def test_no_room_for_adjacencies():
    tables, board = make(Window(0, 1000, 0, 4))
    tables.program_all()
    routes = {key("*", f"239.1.1.{k}"): multicast(0, [1], host=bool(k % 2)) if k < 2 else PLACES[k + 4]
              for k in range(6)}
    for each, target in routes.items():
        tables.set_group(each, target)
    tables.commit()
    assert "multicast routes have no room in the 4 adjacencies" in tables.problems()[0]
    found = [meet(board, each._replace(source=1)) for each in routes]
    assert all(row.kind == K.LOCAL or is_as(row, target) for row, target in zip(found, routes.values(), strict=True))
    assert sum(row.kind == K.MULTICAST for row in found) == 3
    for each, row in zip(list(routes), found, strict=True):
        if row.kind == K.MULTICAST:
            tables.set_group(each, None)
            del routes[each]
    tables.commit()
    assert tables.problems() == []
    assert all(is_as(meet(board, each._replace(source=1)), target) for each, target in routes.items())


def test_no_room_for_multicast_at_all():
    tables, board = make(Window(0, 60, 0, 64))
    start(tables)
    assert not multicast_bit(board)
    assert "no room for multicast in the FIB window" in tables.problems()[0]


def test_descriptions():
    tables, _ = make()
    tables.set_group(key("10.0.0.1", "239.1.1.1"), multicast(0, [1, 2], host=True))
    tables.set_group(key("*", "ff05::1"), multicast(2, []))
    tables.program_all()
    assert [(row["source"], row["group"], row["target"]) for row in tables.describe_groups()] == [
        ("10.0.0.1", "239.1.1.1", "port 0 to port 1, port 2, host"), ("*", "ff05::1", "port 2 to nobody")]
    assert [str(one) for one in tables.group_keys()] == ["(10.0.0.1, 239.1.1.1)", "(*, ff05::1)"]
