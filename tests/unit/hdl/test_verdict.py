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
GRE, UDP = 47, 17
VXLAN_PORT = 4789
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
    vid: int = 0                            # that the copy leaves with, instead of that of its port
    untag: bool = False


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
        goes_on = admitted and (f["mode"] != RouterMode.ROUTED or (f["takes_multicast"] and f["multicast"]))
        if not goes_on and here == config.link_port:
            if admitted and f["mode"] == RouterMode.ROUTED and f["asks"]:
                return Fate(host=Reason.PUNT_GROUP, control=True, past=False)
            if stranger and f["enable"] and here in mine:
                return Fate(Reason.DROP_SOURCE, past=False)
            return Fate(Reason.DROP_NO_ROUTER, past=False, unrouted=True)
        if not goes_on:
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
            return bridged(config, f, mine)
    return Fate(Reason.DROP_FILTER)


def circuit(config, f):
    """Where a frame came in: a port, or a circuit of the link port."""
    return f["port"], f["tci"] & 0xFFF if f["port"] == config.link_port else None


def others(config, f, ports):
    """Where a frame may go that is not to go back: the link port takes care of its own circuits."""
    return ports if f["port"] == config.link_port else ports - {f["port"]}


def bridged(config, f, mine):
    if f["own"]:
        return Fate(host=Reason.PUNT_LOCAL, control=True)
    if f["reserved_group"]:
        return Fate(host=Reason.PUNT_GROUP, control=True)
    if not f["group"] and f["mac_hit"] and f["mac_port"] in mine:
        there = f["mac_port"], f["mac_vid"] if f["mac_port"] == config.link_port else None
        if there == circuit(config, f):
            return Fate(Reason.DROP_NO_PORT)
        return sent(Reason.BRIDGED, frozenset({f["mac_port"]}), vid=f["mac_vid"])
    return sent(Reason.BRIDGED, others(config, f, mine), host=Reason.PUNT_GROUP if f["group"] and f["asks"] else None)


def routed(config, f, mine):
    if not (f["ipv4"] or f["ipv6"]):
        return Fate(host=Reason.PUNT_NOT_IP)
    if not f["good_header"]:
        return Fate(Reason.DROP_MALFORMED)
    fault = f["fib"] == FibOutcome.FAULT or f["adj_fault"]
    kind = f["adj_kind"]
    carried = f["protocol"] == GRE or (
        f["l4_ports"] and f["protocol"] == UDP and f["l4_destination"] == VXLAN_PORT)
    if (not f["group"] and kind == AdjacencyKind.LOCAL and f["ipv4"] and not f["options"] and f["checksum_ok"]
            and f["tunnels"] and config.link_port in mine and carried):
        return Fate(Reason.FORWARDED, frozenset({config.link_port}), untag=True)
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
    return Fate(Reason.FORWARDED, frozenset({f["adj_port"]}), unicast=True, vid=f["adj_vid"])


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
    if f["adj_port"] != f["port"] or (f["port"] == config.link_port and f["adj_vid"] != f["tci"] & 0xFFF):
        return Fate(Reason.DROP_RPF)
    if f["total_length"] > f["adj_mtu"]:
        return Fate(host=Reason.PUNT_MTU)
    row = unpack(ADJACENCY_MULTICAST, f["adj_mac"] << ADJACENCY_ROW["mac"].offset)
    return sent(Reason.FORWARDED, others(config, f, mine & members(config, row["ports"])),
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
    forwarded = what.reason == Reason.FORWARDED and not what.untag
    fields |= {"own_source": forwarded and not f["rule_smac"], "set_dmac": what.unicast, "set_ttl": forwarded,
               "untag": what.untag}
    if what.ports:
        fields["entropy"] = f["flow_hash"] & 0x3FFF
    if what.ports and not what.untag:
        fields["vid"] = what.vid
        fields["keep_tag"] = {Reason.SWITCHED: 1, Reason.INJECTED: f["tagged"]}.get(what.reason, f["rule_tag"])
    if what.ports:
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
    if config.circuits and rng.random() < 0.5:
        port = config.link_port
    total_length = rng.randint(20, 1500)
    vid = record["tci"] & 0xFFF
    record |= {
        "adj_vid": rng.choice([0, vid, vid, vid, vid ^ 1 << rng.randrange(12)]),
        "mac_vid": rng.choice([0, vid, vid, vid ^ 1 << rng.randrange(12)]), "tunnels": rng.random() < 0.1,
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
    bridge = {"mode": RouterMode.BRIDGED, "own": 0, "segment": 1,
              "mac_port": rng.choice([port, rng.randrange(config.all_ports)])}
    tunnel = {"adj_kind": AdjacencyKind.LOCAL, "tunnels": 1, "l4_ports": rng.random() < 0.8,
              "protocol": rng.choice([GRE, UDP, UDP, rng.getrandbits(8)]),
              "l4_destination": rng.choice([VXLAN_PORT] * 3 + [VXLAN_PORT ^ 1 << rng.randrange(16)]),
              "ports": record["ports"] | rng.getrandbits(1) << (config.link_port or 0)}
    changes = [
        lambda: {"injected": 1, "port": config.host_port, "own": 0, "group": rng.randrange(2)},
        lambda: {"group": 1, "own": 0, "router": config.no_router, "enable": 0},
        lambda: {"group": 1, "own": 0},
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
        *[lambda: tunnel] * 4,
        lambda: {"mode": RouterMode.SWITCHED},
        lambda: {"mode": RouterMode.SWITCHED, "own": 0, "segment": 1},
    ]
    for change in rng.sample(changes, trouble):
        record |= change()
    return {name: int(value) for name, value in record.items()}


@pytest.mark.parametrize("ports, circuits, rates", [
    (4, 0, (1.0, 1.0)), (8, 0, (0.6, 0.4)), (1, 0, (1.0, 1.0)), (5, 64, (1.0, 1.0)), (8, 4096, (0.6, 0.4)),
    (2, 16, (1.0, 1.0))])
def test_first_condition_that_holds_is_the_reason(ports, circuits, rates):
    config = CoreConfig(ports=ports, circuits=circuits, slices=int(ports != 8))
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


def decide(config, *records):
    out, *_ = run_stage(Decide(config), [pack(META, {name: int(value) for name, value in record.items()})
                                         for record in records])
    return [unpack(VERDICT, verdict) for verdict in out]


#: Five ports, the last of which is the link port; the frame is one of router 3 with its address.
LINKED = CoreConfig(ports=5, circuits=64)
LINK = 4
HERE = {"port": 1, "own": 1, "router": 3, "enable": 1, "ports": 0b10011, "flow_hash": 0xE7A5}
ROUTED = HERE | {"mode": RouterMode.ROUTED, "ipv4": 1, "good_header": 1, "checksum_ok": 1, "ttl": 64,
                 "total_length": 100, "least_length": 114, "fib": FibOutcome.HIT, "adj_mtu": 1500}
TUNNEL_ENDS = ROUTED | {"adj_kind": AdjacencyKind.LOCAL, "tunnels": 1, "l4_ports": 1, "protocol": UDP,
                        "l4_destination": VXLAN_PORT, "tagged": 1, "tci": 0x6007}


@pytest.mark.parametrize("record", [
    TUNNEL_ENDS,
    TUNNEL_ENDS | {"protocol": GRE, "l4_ports": 0, "l4_destination": 0},
    TUNNEL_ENDS | {"port": LINK, "given": 1, "tagged": 0, "tci": 0},
    TUNNEL_ENDS | {"ttl": 0},
    TUNNEL_ENDS | {"total_length": 1501},
    TUNNEL_ENDS | {"rule_tag": 1},
], ids=["vxlan", "gre", "given", "ttl", "mtu", "rule's tag"])
def test_a_packet_at_the_end_of_its_tunnel_goes_to_the_link_port_as_it_is(record):
    verdict, = decide(LINKED, record)
    assert (verdict["copies"], verdict["reason"], verdict["host"]) == (1 << LINK, Reason.FORWARDED, 0)
    assert (verdict["router"], verdict["least_length"], verdict["untag"]) == (3, 114, 1)
    assert not any(verdict[name] for name in ("set_dmac", "set_ttl", "own_source", "vid", "group", "count_drop"))


@pytest.mark.parametrize("change, reason", [
    ({"tunnels": 0}, Reason.PUNT_LOCAL),
    ({"ports": 0b00011}, Reason.PUNT_LOCAL),
    ({"options": 1}, Reason.PUNT_LOCAL),
    ({"checksum_ok": 0}, Reason.PUNT_LOCAL),
    ({"ipv4": 0, "ipv6": 1}, Reason.PUNT_LOCAL),
    ({"protocol": 6}, Reason.PUNT_LOCAL),
    ({"protocol": 46}, Reason.PUNT_LOCAL),
    ({"l4_ports": 0}, Reason.PUNT_LOCAL),
    ({"l4_destination": VXLAN_PORT - 1}, Reason.PUNT_LOCAL),
    ({"l4_destination": VXLAN_PORT | 1 << 15}, Reason.PUNT_LOCAL),
    ({"adj_kind": AdjacencyKind.UNRESOLVED}, Reason.PUNT_UNRESOLVED),
    ({"mode": RouterMode.BRIDGED}, Reason.PUNT_LOCAL),
    ({"action": FilterAction.PUNT}, Reason.PUNT_FILTER),
    ({"own": 0, "group": 1, "multicast": 1, "takes_multicast": 1}, Reason.PUNT_GROUP),
])
def test_each_condition_for_the_end_of_a_tunnel(change, reason):
    verdict, = decide(LINKED, TUNNEL_ENDS | change)
    assert (verdict["copies"], verdict["host"], verdict["host_reason"]) == (0, 1, reason)


def test_without_a_link_port_no_tunnel_ends():
    verdict, = decide(CoreConfig(ports=5), TUNNEL_ENDS)
    assert (verdict["copies"], verdict["host"], verdict["host_reason"]) == (0, 1, Reason.PUNT_LOCAL)


GROUP = HERE | {"own": 0, "group": 1, "port": LINK, "mode": RouterMode.ROUTED, "asks": 1, "mirror": 1}


@pytest.mark.parametrize("change, dropped", [
    ({}, None),
    ({"guarded": 1, "peer": 1, "peer_router": 3}, None),
    ({"multicast": 1}, None),
    ({"enable": 0}, Reason.DROP_NO_ROUTER),
    ({"enable": 0, "guarded": 1}, Reason.DROP_NO_ROUTER),
    ({"ports": 0b01111, "guarded": 1}, Reason.DROP_NO_ROUTER),
    ({"asks": 0}, Reason.DROP_NO_ROUTER),
    ({"guarded": 1, "peer": 1, "peer_router": 2}, Reason.DROP_SOURCE),
    ({"guarded": 1}, Reason.DROP_SOURCE),
    ({"guarded": 1, "asks": 0}, Reason.DROP_SOURCE),
    ({"mode": RouterMode.BRIDGED, "guarded": 1}, Reason.DROP_SOURCE),
    ({"router": LINKED.no_router, "enable": 0, "ports": 0}, Reason.DROP_NO_ROUTER),
])
def test_group_frames_of_a_circuit_are_for_its_router_alone(change, dropped):
    verdict, = decide(LINKED, GROUP | change)
    assert (verdict["copies"], verdict["group"], verdict["count_drop"], verdict["learn"]) == (0, 0, 0, 0)
    assert verdict["router"] == (LINKED.no_router if dropped == Reason.DROP_NO_ROUTER else 3)
    if dropped is None:
        assert (verdict["host"], verdict["host_reason"], verdict["host_class"]) == (1, Reason.PUNT_GROUP, 1)
    else:
        assert (verdict["host"], verdict["reason"]) == (0, dropped)


def test_group_frames_of_other_ports_are_for_every_router_that_asks():
    for verdict in decide(LINKED, GROUP | {"port": 1}, GROUP | {"port": 0, "asks": 0}):
        assert (verdict["copies"], verdict["host"], verdict["group"], verdict["router"]) == (
            0, 0, 1, LINKED.no_router)


BRIDGED = HERE | {"mode": RouterMode.BRIDGED, "own": 0, "segment": 1, "segment_router": 3, "tagged": 1, "tci": 0x6005}


@pytest.mark.parametrize("port, change, copies, vid", [
    # Found: on another circuit, on that which it came by, and on other ports, whose VLAN may be the same.
    (LINK, {"mac_hit": 1, "mac_port": LINK, "mac_vid": 6}, 1 << LINK, 6),
    (LINK, {"mac_hit": 1, "mac_port": LINK, "mac_vid": 0x805}, 1 << LINK, 0x805),
    (LINK, {"mac_hit": 1, "mac_port": LINK, "mac_vid": 5}, 0, 0),
    (LINK, {"mac_hit": 1, "mac_port": 1, "mac_vid": 5}, 0b00010, 5),
    (LINK, {"mac_hit": 1, "mac_port": 1, "mac_vid": 0}, 0b00010, 0),
    (1, {"mac_hit": 1, "mac_port": LINK, "mac_vid": 5}, 1 << LINK, 5),
    (1, {"mac_hit": 1, "mac_port": 1, "mac_vid": 6}, 0, 0),
    # Flooded: not found, found where the bridge has no port, or a group address. It may go back to the link port.
    (LINK, {"mac_vid": 5, "mac_port": LINK}, 0b10011, 0),
    (LINK, {"mac_hit": 1, "mac_port": 2, "mac_vid": 9}, 0b10011, 0),
    (LINK, {"group": 1, "mac_hit": 1, "mac_port": LINK, "mac_vid": 5}, 0b10011, 0),
    (LINK, {"ports": 1 << LINK}, 1 << LINK, 0),
    (1, {"mac_vid": 5}, 0b10001, 0),
    (1, {"ports": 0b00010}, 0, 0),
])
def test_a_bridge_tells_circuits_apart(port, change, copies, vid):
    verdict, = decide(LINKED, BRIDGED | {"port": port} | change)
    reason = Reason.BRIDGED if copies else Reason.DROP_NO_PORT
    assert (verdict["copies"], verdict["reason"], verdict["host"], verdict["untag"]) == (copies, reason, 0, 0)
    if copies:
        assert (verdict["vid"], verdict["keep_tag"], verdict["entropy"]) == (vid, 0, 0x27A5)


@pytest.mark.parametrize("port, vid, row_port, row_vid, copies", [
    (LINK, 5, LINK, 5, 0b10001),
    (LINK, 5, LINK, 6, None),
    (LINK, 5, LINK, 0x805, None),
    (LINK, 5, 1, 5, None),
    (LINK, 0, LINK, 0, 0b10001),
    (1, 5, 1, 6, 0b10001),
    (1, 5, LINK, 5, None),
    (0, 5, 0, 0, 0b10000),
])
def test_the_right_circuit_of_ip_multicast(port, vid, row_port, row_vid, copies):
    row = pack(ADJACENCY_MULTICAST, {"kind": AdjacencyKind.MULTICAST, "port": row_port, "ports": 0b11101, "mtu": 1500,
                                     "vid": row_vid})
    fields = unpack(ADJACENCY_ROW, row)
    verdict, = decide(LINKED, ROUTED | {
        "own": 0, "group": 1, "multicast": 1, "takes_multicast": 1, "port": port, "tagged": 1, "tci": 0xF000 | vid,
        **{f"adj_{name}": value for name, value in fields.items()}})
    assert verdict["copies"] == (copies or 0)
    assert verdict["reason"] == (Reason.DROP_RPF if copies is None else Reason.FORWARDED)
    assert copies is None or (verdict["vid"], verdict["untag"]) == (0, 0)       # each copy has that of its port


@pytest.mark.parametrize("port", [1, LINK])
@pytest.mark.parametrize("rule_tag", [0, 1])
def test_an_adjacency_has_a_vlan_of_its_own(port, rule_tag):
    verdict, = decide(LINKED, ROUTED | {
        "adj_kind": AdjacencyKind.FORWARD, "adj_port": port, "adj_mac": 0x02AB, "adj_vid": 0x9A5, "rule_tag": rule_tag})
    assert (verdict["copies"], verdict["vid"], verdict["keep_tag"], verdict["untag"]) == (1 << port, 0x9A5, rule_tag, 0)


def test_one_record_every_other_cycle():
    _, taken, given = run_stage(Decide(CoreConfig()), [0] * 20)
    # Two find it empty.
    assert taken == [taken[0], *(taken[0] + 1 + 2 * k for k in range(19))]
    assert given == [taken[0] + 2 + 2 * k for k in range(20)]


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


@pytest.mark.parametrize("width, ports, circuits", list(zip(WIDTHS, (1, 3, 4, 8), (0, 16, 0, 4096), strict=True)))
def test_elaborates(width, ports, circuits):
    assert rtlil.convert(Decide(CoreConfig(data_width=width, ports=ports, circuits=circuits)))
