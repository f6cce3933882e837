"""A router's routes in its FIB, against the golden model's look-ups."""

import random

from polyrouter.host.tables.adjacency import next_hop
from polyrouter.host.tables.prefix import Prefix
from polyrouter.host.tables.windows import Window

from .tables_of_a_router import (
    HOPS,
    KNOWN,
    ROUTER,
    TARGETS,
    K,
    check,
    edges,
    expected,
    ip,
    make,
    meet,
    net,
    outcomes,
    random_routes,
    some_addresses,
    tell,
)


def test_random_changes():
    source = random.Random(4)
    tables, board = make()
    tell(tables, KNOWN)
    tables.program_all()
    routes: dict = {}
    for _ in range(12):
        for prefix, target in random_routes(source, 60, TARGETS).items():
            tables.set_route(prefix, target)
            routes[prefix] = target
        for prefix in source.sample(sorted(routes), len(routes) // 3):
            tables.set_route(prefix, None)
            del routes[prefix]
        tables.commit()
        check(board, tables, routes, KNOWN, source)
    assert tables.problems() == []


def test_every_single_write_shows_old_or_new():
    source = random.Random(5)
    tables, board = make()
    tell(tables, KNOWN)
    tables.program_all()
    before = random_routes(source, 80, TARGETS)
    tables.resync(before)
    after = {prefix: source.choice(TARGETS) for prefix in before if source.random() < 0.6}
    after |= random_routes(source, 40, TARGETS)
    addresses = some_addresses(source, 20) + [edge for prefix in list(before)[:30] for edge in edges(prefix)]
    allowed = {address: outcomes(expected(before, address), KNOWN) | outcomes(expected(after, address), KNOWN)
               for address in addresses}
    writes = 0

    def look() -> None:
        nonlocal writes
        writes += 1
        for address, results in allowed.items():
            assert meet(board, address) in results

    board.on_write = look
    tables.resync(after)
    board.on_write = lambda: None
    assert writes > 50
    check(board, tables, after, KNOWN, source)


def test_nothing_to_do_writes_nothing():
    tables, board = make()
    tables.program_all()
    routes = random_routes(random.Random(1), 100, TARGETS)
    tables.resync(routes)
    before = len(board.log)
    tables.resync(routes)
    tables.commit()
    assert len(board.log) == before


def test_full_fib_punts_what_would_go_wrong_and_heals():
    source = random.Random(11)
    tables, board = make(Window(0, 120, 0, 64))
    tables.program_all()
    hop, other = next_hop(0, ip("10.0.0.1")), next_hop(1, ip("10.0.1.1"))
    tables.set_neighbour(0, ip("10.0.0.1"), 0x02AA00000001)
    tables.set_neighbour(1, ip("10.0.1.1"), 0x02AA00000002)
    routes = {net("0.0.0.0/0"): hop, net("20.0.0.0/8"): hop, net("30.0.0.0/8"): hop}
    tables.resync(routes)
    routes |= {Prefix(False, 20 << 24 | source.getrandbits(24) & 0xFFFFFF00, 24): other for _ in range(400)}
    tables.resync(routes)
    installed = tables.route_count()
    assert 50 < installed < len(routes)
    assert f"{len(routes) - installed} routes" in tables.problems()[0]
    assert set(tables.prefixes()) == set(routes)

    def verify() -> int:
        right = 0
        for _, address, _ in routes:
            found = board.adjacency(ROUTER, address + 1)
            target = expected(routes, Prefix.host(address + 1, False))
            assert found.kind == K.LOCAL or (found.port, found.kind) == (target.port, K.FORWARD)
            right += found.kind == K.FORWARD
        return right

    assert verify() == installed - 1        # all but 20.0.0.0/8
    assert board.kind(ROUTER, ip("20.255.255.1")) == K.LOCAL or net("20.255.255.0/24") in routes
    assert board.kind(ROUTER, ip("30.1.1.1")) == K.FORWARD
    assert board.kind(ROUTER, ip("99.1.1.1")) == K.FORWARD

    # Withdrawals work although nothing is free, and make room for the rest.
    many = [prefix for prefix in routes if prefix.length == 24]
    keep = set(source.sample(many, 60))
    for prefix in many:
        if prefix not in keep:
            tables.set_route(prefix, None)
            del routes[prefix]
    tables.commit()
    tables.commit()
    verify()
    assert tables.problems() == []
    check(board, tables, routes, {hop: 0x02AA00000001, other: 0x02AA00000002}, source)


def test_both_families_in_a_window_that_is_full():
    source = random.Random(13)
    tables, board = make(Window(0, 300, 0, 64))
    tell(tables, KNOWN)
    tables.program_all()
    some = [hop for hop in HOPS if hop in KNOWN]
    routes = {net("0.0.0.0/0"): some[0], net("::/0"): some[1], net("2001:db8::/32"): some[2]}
    routes |= random_routes(source, 300, some)
    tables.resync(routes)
    assert 100 < tables.route_count() < len(routes)
    assert "do not fit the FIB window of 300 words" in tables.problems()[0]
    for prefix in routes:
        for address in edges(prefix):
            found = meet(board, address)
            assert found is None or found.kind == K.LOCAL or {found} == outcomes(expected(routes, address), KNOWN)
    for prefix in source.sample(sorted(routes), len(routes) - 60):
        tables.set_route(prefix, None)
        del routes[prefix]
    tables.commit()
    tables.commit()
    assert tables.problems() == []
    check(board, tables, routes, KNOWN, source)
