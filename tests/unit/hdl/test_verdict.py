import random
from ipaddress import IPv6Address
from typing import NamedTuple

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ADJACENCY_MULTICAST,
    ADJACENCY_ROW,
    AdjacencyKind,
    FilterAction,
    Reason,
    RouterMode,
    pack,
    unpack,
)
from polyrouter.hdl.records import META, VERDICT, FibOutcome
from polyrouter.hdl.verdict import Decide

from .bench import WIDTHS, run_stage

GROUP_BIT = 1 << 40
KINDS = set(AdjacencyKind)


class Fate(NamedTuple):
    """What the specification says of a record: copies to data ports, one to the host, or a reason to drop it."""

    reason: Reason | None = None            # of the copies to data ports, or of the drop
    ports: frozenset[int] = frozenset()
    host: Reason | None = None
    past: bool = True                       # it got past step 3
    unrouted: bool = False                  # counted under router "none"
    control: bool = False                   # class of the copy to the host
    group: bool = False
    routed: bool = False                    # step 7 or 8 was reached
    unicast: bool = False


def members(config, bits):
    return frozenset(port for port in range(config.ports) if bits >> port & 1)


def sent(reason, ports, **more):
    return Fate(reason if ports else Reason.DROP_NO_PORT, ports, **more)


def fate(config, f):
    """Steps 1 to 9."""
    mine = members(config, f["ports"])
    here = f["port"]
    if f["injected"]:
        if f["enable"] and f["egress"] in mine:
            return Fate(Reason.INJECTED, frozenset({f["egress"]}))
        return Fate(Reason.DROP_INJECT, past=False)
    stranger = f["guarded"] and not (f["peer"] and f["peer_router"] == f["router"])
    if f["group"]:
        admitted = f["enable"] and here in mine and not stranger
        if not admitted or (f["mode"] == RouterMode.ROUTED and not (f["takes_multicast"] and f["multicast"])):
            return Fate(group=True, past=False, unrouted=True)
    else:
        if not (f["own"] or f["segment"]):
            return Fate(Reason.DROP_NO_ROUTER, past=False, unrouted=True)
        if not f["enable"] or here not in mine:
            return Fate(Reason.DROP_DISABLED, past=False)
        if f["mode"] == RouterMode.ROUTED and not f["own"]:
            return Fate(Reason.DROP_NO_ROUTER, past=False, unrouted=True)
        if stranger:
            return Fate(Reason.DROP_SOURCE, past=False)
    match f["action"]:
        case FilterAction.DROP:
            return Fate(Reason.DROP_FILTER)
        case FilterAction.PUNT:
            return Fate(host=Reason.PUNT_FILTER)
        case FilterAction.SEND:
            return sent(Reason.SWITCHED, mine & members(config, f["rule_ports"]))
    match f["mode"]:
        case RouterMode.ROUTED:
            return routed(config, f, mine)._replace(routed=True)
        case RouterMode.BRIDGED:
            return bridged(f, mine)
    return Fate(Reason.DROP_FILTER)


def bridged(f, mine):
    if f["own"]:
        return Fate(host=Reason.PUNT_LOCAL, control=True)
    if f["reserved_group"]:
        return Fate(host=Reason.PUNT_GROUP, control=True)
    if not f["group"] and f["mac_hit"] and f["mac_port"] in mine:
        there = frozenset({f["mac_port"]}) - {f["port"]}
        return sent(Reason.BRIDGED, there)
    return sent(Reason.BRIDGED, mine - {f["port"]}, host=Reason.PUNT_GROUP if f["group"] and f["asks"] else None)


def routed(config, f, mine):
    if not (f["ipv4"] or f["ipv6"]):
        return Fate(host=Reason.PUNT_NOT_IP)
    if not f["good_header"]:
        return Fate(Reason.DROP_MALFORMED)
    fault = f["fib"] == FibOutcome.FAULT or f["adj_fault"]
    kind = f["adj_kind"]
    to_link, from_link = (f["ipv6"] and IPv6Address(f[name]).is_link_local for name in ("ip_destination", "ip_source"))
    if not f["group"] and (kind == AdjacencyKind.LOCAL or to_link):
        return Fate(host=Reason.PUNT_LOCAL, control=True)
    if f["options"]:
        return Fate(host=Reason.PUNT_OPTIONS)
    if f["ttl"] <= 1:
        return Fate(host=Reason.PUNT_TTL)
    if not f["checksum_ok"]:
        return Fate(Reason.DROP_CHECKSUM)
    if f["group"]:
        return multicast(config, f, mine, fault or from_link)
    missed = f["fib"] == FibOutcome.MISS
    if fault or (not missed and kind in (AdjacencyKind.INVALID, AdjacencyKind.MULTICAST, AdjacencyKind.ECMP)):
        return Fate(Reason.DROP_FAULT)
    if from_link or missed or kind == AdjacencyKind.UNREACHABLE:
        return Fate(host=Reason.PUNT_NO_ROUTE)
    if kind == AdjacencyKind.BLACKHOLE:
        return Fate(Reason.DROP_BLACKHOLE)
    if kind == AdjacencyKind.UNRESOLVED:
        return Fate(host=Reason.PUNT_UNRESOLVED)
    if f["adj_port"] not in mine:
        return Fate(Reason.DROP_FAULT)
    if f["total_length"] > f["adj_mtu"]:
        return Fate(host=Reason.PUNT_MTU)
    return Fate(Reason.FORWARDED, frozenset({f["adj_port"]}), unicast=True)


def multicast(config, f, mine, fault):
    kind = f["adj_kind"]
    if fault:
        return Fate(Reason.DROP_FAULT)
    if f["fib"] == FibOutcome.MISS or kind in (AdjacencyKind.LOCAL, AdjacencyKind.UNREACHABLE):
        return Fate(host=Reason.PUNT_GROUP, control=True)
    if kind == AdjacencyKind.BLACKHOLE:
        return Fate(Reason.DROP_BLACKHOLE)
    if kind != AdjacencyKind.MULTICAST:
        return Fate(Reason.DROP_FAULT)
    if f["adj_port"] != f["port"]:
        return Fate(Reason.DROP_RPF)
    if f["total_length"] > f["adj_mtu"]:
        return Fate(host=Reason.PUNT_MTU)
    row = unpack(ADJACENCY_MULTICAST, f["adj_mac"] << ADJACENCY_ROW["mac"].offset)
    return sent(Reason.FORWARDED, (mine & members(config, row["ports"])) - {f["port"]},
                host=Reason.PUNT_GROUP if row["host"] else None)


def expected(config, f):
    """The verdict's fields that matter."""
    what = fate(config, f)
    fields = {
        "router": config.no_router if what.unrouted else f["router"], "port": f["port"],
        "copies": sum(1 << port for port in what.ports), "group": what.group,
        "peer": f["peer"], "peer_router": f["peer_router"], "segment": f["segment"],
        "segment_router": f["segment_router"], "tagged": f["tagged"], "tci": f["tci"],
        "least_length": f["least_length"] if what.routed else 0,
    }
    wants_mirror = what.past and (f["mirror"] if f["injected"] else f["mirror"] or f["rule_mirror"])
    mirrored = wants_mirror and what.host is None and what.reason != Reason.DROP_MALFORMED
    host = Reason.PUNT_MIRROR if mirrored else what.host
    fields |= {"host": host is not None, "count_drop": mirrored and not what.ports}
    if host is not None:
        fields |= {"host_reason": host, "host_class": what.control and not mirrored}
    if what.reason is not None:
        fields["reason"] = what.reason
    forwarded = what.reason == Reason.FORWARDED
    fields |= {"own_source": forwarded and not f["rule_smac"], "set_dmac": what.unicast,
               "set_ttl": what.routed and what.reason == Reason.FORWARDED}
    if what.ports:
        fields["keep_tag"] = {Reason.SWITCHED: 1, Reason.INJECTED: f["tagged"]}.get(what.reason, f["rule_tag"])
        fields["traffic_class"] = 1 if f["injected"] else f["set_class"] & f["traffic_class"]
    if forwarded:
        # RFC 1624, equation 3, with any protocol in the lower byte.
        m = f["ttl"] << 8 | 17
        checksum = (f["checksum"] ^ 0xFFFF) + (m ^ 0xFFFF) + (m - 0x100)
        while checksum >> 16:
            checksum = (checksum & 0xFFFF) + (checksum >> 16)
        fields |= {"ipv4": f["ipv4"], "ipv6": f["ipv6"], "ttl": f["ttl"] - 1, "checksum": checksum ^ 0xFFFF}
    if what.unicast:
        fields["dmac"] = f["adj_mac"]
    effects = what.past and not f["injected"]
    first, rule = f["policer_base"], f["policer_base"] + f["rule_policer"]
    fields |= {
        "rule_hit": effects and f["rule_hit"], "rule": f["rule"],
        "rule_changes": effects and f["rule_changes"] and bool(what.ports),
        "police_router": effects and f["policer_size"] > 0 and first < config.policers,
        "police_rule": effects and f["police"] and f["rule_policer"] < f["policer_size"] and rule < config.policers,
        "learn": effects and f["mode"] == RouterMode.BRIDGED and f["learn"] and not f["smac"] & GROUP_BIT
        and f["action"] != FilterAction.DROP,
    }
    if fields["police_router"]:
        fields["router_policer"] = first
    if fields["police_rule"]:
        fields["rule_policer"] = rule
    return {name: int(value) for name, value in fields.items()}


def random_record(rng, config, trouble):
    """A record that is routed, with ``trouble`` of its conditions changed."""
    router, port, egress = rng.randrange(config.routers), rng.randrange(config.ports), rng.randrange(config.ports)
    record = {str(name): rng.getrandbits(entry.width) for name, entry in META}
    total_length = rng.randint(20, 1500)
    record |= {
        "injected": 0, "group": 0, "own": 1, "router": router, "port": port, "enable": 1, "mode": RouterMode.ROUTED,
        "ports": 1 << port | 1 << egress | rng.getrandbits(8), "guarded": 0, "ipv4": 1, "ipv6": 0, "good_header": 1,
        "options": 0, "reserved_group": 0, "multicast": 0, "mirror": rng.random() < 0.1,
        "ttl": rng.randint(2, 255), "checksum_ok": 1, "total_length": total_length, "fib": FibOutcome.HIT,
        "adj_fault": 0, "adj_kind": AdjacencyKind.FORWARD, "adj_port": egress, "egress": egress,
        "adj_mtu": total_length + rng.choice([0, 1, 100]), "policer_size": rng.choice((0, 1, 3)),
        "policer_base": rng.choice((0, config.policers - 1, config.policers, 4095)),
    }
    no_rule = {name: 0 for name in ("rule_hit", "action", "rule_ports", "rule_mirror", "set_class", "traffic_class",
                                    "police", "rule_changes", "rule_smac", "rule_tag")}
    record |= no_rule
    rule = {"rule_hit": 1, "action": FilterAction.PERMIT, "rule_ports": rng.getrandbits(8),
            "rule_mirror": rng.random() < 0.2, "rule_policer": rng.randrange(4),
            **{name: rng.getrandbits(1) for name in ("set_class", "traffic_class", "police", "rule_changes",
                                                     "rule_smac", "rule_tag")}}
    delivered = {"group": 1, "own": 0, "multicast": 1, "takes_multicast": 1, "adj_kind": AdjacencyKind.MULTICAST,
                 "adj_port": port}
    bridge = {"mode": RouterMode.BRIDGED, "own": 0, "segment": 1, "mac_port": rng.randrange(config.all_ports)}
    changes = [
        lambda: {"injected": 1, "port": config.host_port, "own": 0, "group": rng.randrange(2)},
        lambda: {"group": 1, "own": 0, "router": config.no_router, "enable": 0},
        lambda: {"own": 0, "segment": 0, "router": config.no_router},
        lambda: {"own": 0, "segment": 1},
        lambda: {"enable": 0},
        lambda: {"ports": 0xFF & ~(1 << port)},
        lambda: {"ports": 0xFF & ~(1 << egress)},
        lambda: {"ports": 1 << port},
        lambda: {"guarded": 1, "peer": 1, "peer_router": router},
        lambda: {"guarded": 1, "peer": 0, "peer_router": router},
        lambda: {"guarded": 1, "peer": 1, "peer_router": router ^ 1},
        lambda: {"ipv4": 0},
        lambda: {"ipv4": 0, "ipv6": 1},
        lambda: {"ipv4": 0, "ipv6": 1, "ip_destination": 0x3FA << 118 | rng.getrandbits(118)},
        lambda: {"ipv4": 0, "ipv6": 1, "ip_source": 0x3FA << 118 | rng.getrandbits(118)},
        lambda: {"good_header": 0},
        lambda: {"options": 1},
        lambda: {"ttl": rng.choice([0, 1, 2])},
        lambda: {"checksum_ok": 0},
        lambda: {"adj_fault": 1, "adj_kind": 0},
        lambda: {"fib": FibOutcome.FAULT, "adj_kind": 0},
        lambda: {"fib": FibOutcome.MISS, "adj_kind": 0},
        lambda: {"adj_kind": rng.randrange(8)},
        lambda: {"adj_kind": AdjacencyKind.LOCAL},
        lambda: {"adj_port": rng.choice([config.host_port, 15, rng.randrange(16)])},
        lambda: {"egress": rng.choice([config.host_port, 15, rng.randrange(16)])},
        lambda: {"total_length": record["adj_mtu"] + rng.choice([0, 1])},
        lambda: {"total_length": rng.randrange(1 << 16)},
        lambda: {"checksum": rng.choice([0, 0xFFFF, 0xFEFF, 0xFF00, 0x0100, 0xFEFE])},
        lambda: {"mirror": 1},
        *[lambda: rule] * 2,
        *[lambda: rule | {"action": rng.choice(list(FilterAction))}] * 3,
        *[lambda: delivered] * 5,
        lambda: delivered | {"adj_port": rng.randrange(16)},
        *[lambda: bridge] * 4,
        *[lambda: bridge | {"group": 1, "reserved_group": rng.random() < 0.2}] * 2,
        lambda: {"mode": RouterMode.SWITCHED},
        lambda: {"mode": RouterMode.SWITCHED, "own": 0, "segment": 1},
    ]
    for change in rng.sample(changes, trouble):
        record |= change()
    return {name: int(value) for name, value in record.items()}


@pytest.mark.parametrize("ports, rates", [(4, (1.0, 1.0)), (8, (0.6, 0.4)), (1, (1.0, 1.0))])
def test_first_condition_that_holds_is_the_reason(ports, rates):
    config = CoreConfig(ports=ports)
    rng = random.Random(ports)
    records = [random_record(rng, config, rng.choice([0, 1, 1, 1, 2, 2, 3, 5])) for _ in range(4000)]
    out, *_ = run_stage(Decide(config), [pack(META, record) for record in records], rates=rates)
    seen = set()
    for record, verdict in zip(records, out, strict=True):
        wanted = expected(config, record)
        verdict = unpack(VERDICT, verdict)
        assert {name: verdict[name] for name in wanted} == wanted
        if wanted["copies"] or not wanted["host"]:
            seen.add(wanted.get("reason", Reason.PUNT_GROUP))
        if wanted["host"]:
            seen.add(wanted["host_reason"])
    made_here = set(Reason) - {Reason.DROP_FCS, Reason.DROP_LENGTH, Reason.DROP_OVERFLOW, Reason.DROP_QUEUE,
                               Reason.DROP_PUNT_QUEUE, Reason.DROP_HOST, Reason.DROP_POLICER}
    if ports == 1:
        made_here -= {Reason.BRIDGED}
    assert seen == made_here


def test_one_record_each_cycle():
    _, taken, given = run_stage(Decide(CoreConfig()), [0] * 20)
    assert taken == [taken[0] + k for k in range(20)]
    assert given == [cycle + 2 for cycle in taken]


@pytest.mark.parametrize("ttl", [2, 64, 255])
def test_new_checksum_of_every_correct_header_is_correct(ttl):
    """A sample, with RFC 1624's corner cases: the new header sums to all ones again."""
    config = CoreConfig()
    rng = random.Random(ttl)
    base = {"own": 1, "enable": 1, "ports": 3, "ipv4": 1, "good_header": 1, "ttl": ttl, "checksum_ok": 1,
            "fib": FibOutcome.HIT, "adj_kind": AdjacencyKind.FORWARD, "adj_mtu": 1500, "total_length": 20}
    checksums = [0, 1, 0xFF, 0x100, 0xFEFE, 0xFEFF, 0xFF00, 0xFFFE, *(rng.randrange(0xFFFF) for _ in range(50))]
    out, *_ = run_stage(Decide(config), [pack(META, base | {"checksum": value}) for value in checksums])
    for old, verdict in zip(checksums, out, strict=True):
        rest = (0xFFFF - old - (ttl << 8)) % 0xFFFF      # sum of the header's other words
        new = unpack(VERDICT, verdict)["checksum"]
        assert (rest + ((ttl - 1) << 8) + new) % 0xFFFF == 0


@pytest.mark.parametrize("width, ports", list(zip(WIDTHS, (1, 3, 4, 8), strict=True)))
def test_elaborates(width, ports):
    assert rtlil.convert(Decide(CoreConfig(data_width=width, ports=ports)))
