"""``fib_image`` and the golden model's ``route``, against trying every prefix."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import CONTEXT_ROW, Table, pack
from polyrouter.sim.golden_tables import Tables
from polyrouter.sim.tablegen import IPV6_ROOT, Route, fib_image

WORDS = 8192


def random_routes(rng, count, *, ipv6=False, sources=True):
    bits, routes = 128 if ipv6 else 32, {}
    for _ in range(count):
        base = rng.choice([*routes.values()]).prefix if routes and rng.random() < 0.5 else rng.getrandbits(bits)
        length = rng.choice([0, 1, 2, 5, 8, 24, bits, rng.randint(0, bits)])
        prefix = (base ^ rng.getrandbits(bits) >> rng.randint(0, bits)) >> bits - length << bits - length
        below = None
        if sources and rng.random() < 0.2:
            below = tuple(random_routes(rng, rng.choice([0, 1, 10]), ipv6=ipv6, sources=False))
        routes[prefix, length] = Route(prefix, length, rng.getrandbits(18), ipv6, below)
    return list(routes.values())


def longest(routes, address):
    matching = [route for route in routes if address >> route.bits - route.length == (
        route.prefix >> route.bits - route.length)]
    return max(matching, key=lambda route: route.length, default=None)


def near(rng, routes, bits):
    if routes and rng.random() < 0.8:
        route = rng.choice(routes)
        return route.prefix | rng.getrandbits(bits) & (1 << bits - route.length) - 1
    return rng.getrandbits(bits)


@pytest.mark.parametrize("seed", range(20))
def test_routes_and_sources(seed):
    rng = random.Random(seed)
    families = [random_routes(rng, rng.choice([0, 1, 4, 40, 150]), ipv6=ipv6) for ipv6 in (False, True)]
    image = fib_image(families[0] + families[1], rng if seed % 2 else None)
    tables = Tables(CoreConfig(fib_words=WORDS))
    tables.write(Table.CONTEXT, 0, 0, pack(CONTEXT_ROW, {
        "enable": 1, "fib_base": 7, "fib_size": len(image.words), "ipv6_root": IPV6_ROOT}))
    for write in image.writes(0):
        tables.write(*write)
    context = tables.context(0)
    for _ in range(200):
        ipv6 = rng.random() < 0.5
        bits, routes = 128 if ipv6 else 32, families[ipv6]
        address, source = near(rng, routes, bits), None
        best = longest(routes, address)
        if best is not None and best.sources is not None:
            source = near(rng, best.sources, bits)
            best = longest(best.sources, source)
        found = tables.route(context, address, ipv6=ipv6, source=source)
        assert found == (None if best is None else best.adjacency)
