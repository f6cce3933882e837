"""Random filter rules, from small sets of values that random frames are made of too."""

from collections.abc import Callable
from itertools import chain
from random import Random

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import ACTION_ROW, FILTER_KEY, FilterAction, RouterMode

from .tablegen import FilterRule, RouterSetup, own_mac, peer_mac

__all__ = ["ETHERTYPES", "L4_PORTS", "PROTOCOLS", "TOS", "random_action", "random_rules"]

#: What most frames have in these fields.
L4_PORTS = (53, 80, 443, 4789, 0xFFFF)
PROTOCOLS = (6, 17, 17, 1, 58, 47, 0, 89)
TOS = (0, 0, 0xB8, 0xC0)
ETHERTYPES = (0x0800, 0x86DD, 0x0806, 0x88CC)
REWRITES = tuple(str(name) for name, _ in ACTION_ROW if str(name).startswith("set_") and str(name) != "set_class")

Match = Callable[[CoreConfig, Random, RouterSetup], tuple[int, int | None]]


def _one_of(values: tuple[int, ...]) -> Match:
    return lambda config, rng, setup: (rng.choice(values), None)


def _prefix(config: CoreConfig, rng: Random, setup: RouterSetup) -> tuple[int, int | None]:
    """Upper bits of an address that is likely to be met."""
    routes = [route for route in setup.routes if route.length]
    if not routes or rng.random() < 0.4:
        return rng.getrandbits(32), 0xFFFFFFFF << 32 - rng.randint(1, 3) & 0xFFFFFFFF
    route = rng.choice(routes)
    length = min(route.length, 32)
    return route.prefix >> route.bits - 32, 0xFFFFFFFF << 32 - length & 0xFFFFFFFF


#: Value of a field, and which bits of it count; None for all.
MATCHES: dict[str, Match] = {
    "port": lambda config, rng, setup: (rng.randrange(config.ports), None),
    "tagged": _one_of((0, 1)),
    "vid": lambda config, rng, setup: (rng.choice([0, *setup.vids.values(), *dict(setup.segments).values()]), None),
    "pcp": lambda config, rng, setup: (rng.randrange(8), rng.choice((4, 7))),
    "dmac": lambda config, rng, setup: rng.choice((
        (own_mac(setup.number, rng.randrange(config.ports)), None), (1 << 40, 1 << 40),
        (rng.choice([0, *setup.known]), None))),
    "smac": lambda config, rng, setup: rng.choice((
        (peer_mac(setup.number, rng.randrange(config.ports)), None), (rng.getrandbits(48), rng.choice((1, 3))))),
    "ethertype": _one_of(ETHERTYPES),
    "ip_source": _prefix,
    "ip_destination": _prefix,
    "protocol": _one_of(PROTOCOLS),
    "tos": _one_of(TOS),
    "l4_source": _one_of(L4_PORTS),
    "l4_destination": _one_of(L4_PORTS),
}


def _width(field: str) -> int:
    return FILTER_KEY[field].width


def random_action(config: CoreConfig, rng: Random, setup: RouterSetup) -> dict[str, int]:
    """What a rule does, by field."""
    weights = (1, 1, 2, 6) if setup.mode == RouterMode.SWITCHED else (8, 1, 2, 2)
    action = {str(name): rng.getrandbits(entry.width) for name, entry in ACTION_ROW
              if not str(name).startswith("set_")}
    action |= {name: int(rng.random() < 0.15) for name in REWRITES}
    return action | {
        "action": rng.choices(tuple(FilterAction), weights)[0],
        "mirror": int(rng.random() < 0.1), "strip_vlan": int(rng.random() < 0.15),
        "set_class": int(rng.random() < 0.2), "police": int(rng.random() < 0.4),
        # Now and then one that the window does not have
        "policer": rng.choice((max(0, len(setup.policers) - 1), rng.randrange(len(setup.policers) + 2))),
        "l4_destination": rng.choice(L4_PORTS), "vid": rng.choice((0, 1, 100, 4095, *chain(*setup.circuits.values()))),
    }


def _rule(config: CoreConfig, rng: Random, setup: RouterSetup, fields: int) -> FilterRule:
    value = {str(name): rng.getrandbits(entry.width) for name, entry in FILTER_KEY}
    mask = {}
    for field in rng.sample(sorted(MATCHES), fields):
        matched, bits = MATCHES[field](config, rng, setup)
        mask[field] = (1 << _width(field)) - 1 if bits is None else bits
        # Bits that do not count may be anything
        value[field] = matched ^ value[field] & ~mask[field] & (1 << _width(field)) - 1
    return FilterRule(value, mask, random_action(config, rng, setup), valid=int(rng.random() < 0.95))


def random_rules(config: CoreConfig, rng: Random, setup: RouterSetup, count: int) -> list[FilterRule]:
    """Rules for a router, particular ones first; sometimes the last one matches everything."""
    fields = sorted((rng.choice((1, 1, 2, 2, 3, 4)) for _ in range(count)), reverse=True)
    rules = [_rule(config, rng, setup, number) for number in fields]
    if rules and rng.random() < (0.5 if setup.mode == RouterMode.SWITCHED else 0.2):
        rules[-1].mask = {}
    return rules
