import random
from ipaddress import IPv6Address

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import AdjacencyKind, Reason, pack, unpack
from polyrouter.hdl.records import META, VERDICT, FibOutcome
from polyrouter.hdl.verdict import Decide

from .bench import WIDTHS, run_stage


def within(config, ports, port):
    return port < config.ports and ports >> port & 1


def reason_of(config, f):
    """Steps 1 to 8 of the specification."""
    if f["injected"]:
        return Reason.INJECTED if f["enable"] and within(config, f["ports"], f["egress"]) else Reason.DROP_INJECT
    if f["group"]:
        return Reason.PUNT_GROUP
    if not f["own"]:
        return Reason.DROP_NO_ROUTER
    if not f["enable"] or not within(config, f["ports"], f["port"]):
        return Reason.DROP_DISABLED
    if f["guarded"] and not (f["peer"] and f["peer_router"] == f["router"]):
        return Reason.DROP_SOURCE
    if not (f["ipv4"] or f["ipv6"]):
        return Reason.PUNT_NOT_IP
    if f["malformed"]:
        return Reason.DROP_MALFORMED
    kind = f["adj_kind"] if f["fib"] == FibOutcome.HIT and not f["adj_fault"] else None
    to_link, from_link = (f["ipv6"] and IPv6Address(f[name]).is_link_local for name in ("ip_destination", "ip_source"))
    if kind == AdjacencyKind.LOCAL or to_link:
        return Reason.PUNT_LOCAL
    if f["options"]:
        return Reason.PUNT_OPTIONS
    if f["ttl"] <= 1:
        return Reason.PUNT_TTL
    if not f["checksum_ok"]:
        return Reason.DROP_CHECKSUM
    valid = f["fib"] == FibOutcome.MISS or (kind is not None and kind in list(AdjacencyKind)[1:])
    if from_link and valid:
        return Reason.PUNT_NO_ROUTE
    if f["fib"] == FibOutcome.MISS or kind == AdjacencyKind.UNREACHABLE:
        return Reason.PUNT_NO_ROUTE
    if kind == AdjacencyKind.BLACKHOLE:
        return Reason.DROP_BLACKHOLE
    if kind == AdjacencyKind.UNRESOLVED:
        return Reason.PUNT_UNRESOLVED
    if kind != AdjacencyKind.FORWARD or not within(config, f["ports"], f["adj_port"]):
        return Reason.DROP_FAULT
    return Reason.PUNT_MTU if f["total_length"] > f["adj_mtu"] else Reason.FORWARDED


def expected(config, f):
    """The verdict's fields that matter."""
    reason = reason_of(config, f)
    fields = {"reason": reason, "port": f["port"], "send": int(not reason.name.startswith("DROP")), "rewrite": 0,
              "group": int(reason == Reason.PUNT_GROUP)}
    no_router = reason in (Reason.DROP_NO_ROUTER, Reason.PUNT_GROUP)
    fields["router"] = config.no_router if no_router else f["router"]
    if reason.name.startswith("PUNT"):
        fields["egress"] = config.host_port
    if reason == Reason.PUNT_GROUP:
        fields |= {"peer": f["peer"], "peer_router": f["peer_router"]}
    if reason == Reason.INJECTED:
        fields["egress"] = f["egress"]
    if reason == Reason.FORWARDED:
        # RFC 1624, equation 3, with any protocol in the lower byte.
        m = f["ttl"] << 8 | 17
        checksum = (f["checksum"] ^ 0xFFFF) + (m ^ 0xFFFF) + (m - 0x100)
        while checksum >> 16:
            checksum = (checksum & 0xFFFF) + (checksum >> 16)
        fields |= {"egress": f["adj_port"], "rewrite": 1, "dmac": f["adj_mac"], "smac": f["own_mac"],
                   "ipv6": f["ipv6"], "ttl": f["ttl"] - 1, "checksum": checksum ^ 0xFFFF}
    return fields


def random_record(rng, config, trouble):
    """A record that passes, with ``trouble`` of its conditions changed."""
    router, port, egress = rng.randrange(config.routers), rng.randrange(config.ports), rng.randrange(config.ports)
    record = {str(name): rng.getrandbits(entry.width) for name, entry in META}
    total_length = rng.randint(20, 1500)
    record |= {
        "injected": 0, "group": 0, "own": 1, "router": router, "port": port, "enable": 1,
        "ports": 1 << port | 1 << egress | rng.getrandbits(8), "guarded": 0, "ipv4": 1, "ipv6": 0,
        "malformed": 0, "options": 0,
        "ttl": rng.randint(2, 255), "checksum_ok": 1, "total_length": total_length, "fib": FibOutcome.HIT,
        "adj_fault": 0, "adj_kind": AdjacencyKind.FORWARD, "adj_port": egress, "egress": egress,
        "adj_mtu": total_length + rng.choice([0, 1, 100]),
    }
    changes = [
        lambda: {"injected": 1, "port": config.host_port, "own": 0, "group": rng.randrange(2)},
        lambda: {"group": 1, "own": 0, "router": config.no_router},
        lambda: {"own": 0, "router": config.no_router},
        lambda: {"enable": 0},
        lambda: {"ports": 0xFF & ~(1 << port)},
        lambda: {"ports": 0xFF & ~(1 << egress)},
        lambda: {"guarded": 1, "peer": 1, "peer_router": router},
        lambda: {"guarded": 1, "peer": 0, "peer_router": router},
        lambda: {"guarded": 1, "peer": 1, "peer_router": router ^ 1},
        lambda: {"ipv4": 0},
        lambda: {"ipv4": 0, "ipv6": 1},
        lambda: {"ipv4": 0, "ipv6": 1, "ip_destination": 0x3FA << 118 | rng.getrandbits(118)},
        lambda: {"ipv4": 0, "ipv6": 1, "ip_source": 0x3FA << 118 | rng.getrandbits(118)},
        lambda: {"malformed": 1},
        lambda: {"options": 1},
        lambda: {"ttl": rng.choice([0, 1, 2])},
        lambda: {"checksum_ok": 0},
        lambda: {"adj_fault": 1},
        lambda: {"fib": rng.choice([FibOutcome.MISS, FibOutcome.FAULT, 3])},
        lambda: {"adj_kind": rng.randrange(8)},
        lambda: {"adj_kind": AdjacencyKind.LOCAL},
        lambda: {"adj_port": rng.choice([config.host_port, 15, rng.randrange(16)])},
        lambda: {"egress": rng.choice([config.host_port, 15, rng.randrange(16)])},
        lambda: {"total_length": record["adj_mtu"] + rng.choice([0, 1])},
        lambda: {"total_length": rng.randrange(1 << 16)},
        lambda: {"checksum": rng.choice([0, 0xFFFF, 0xFEFF, 0xFF00, 0x0100, 0xFEFE])},
    ]
    for change in rng.sample(changes, trouble):
        record |= change()
    return record


@pytest.mark.parametrize("ports, rates", [(4, (1.0, 1.0)), (8, (0.6, 0.4)), (1, (1.0, 1.0))])
def test_first_condition_that_holds_is_the_reason(ports, rates):
    config = CoreConfig(ports=ports)
    rng = random.Random(ports)
    records = [random_record(rng, config, rng.choice([0, 1, 1, 1, 2, 2, 3, 5])) for _ in range(2400)]
    out, *_ = run_stage(Decide(config), [pack(META, record) for record in records], rates=rates)
    seen = set()
    for record, verdict in zip(records, out, strict=True):
        wanted = expected(config, record)
        verdict = unpack(VERDICT, verdict)
        assert {name: verdict[name] for name in wanted} == wanted
        seen.add(wanted["reason"])
    made_here = set(Reason) - {Reason.DROP_FCS, Reason.DROP_LENGTH, Reason.DROP_OVERFLOW, Reason.DROP_QUEUE,
                               Reason.DROP_PUNT_QUEUE, Reason.DROP_HOST}
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
    base = {"own": 1, "enable": 1, "ports": 3, "ipv4": 1, "ttl": ttl, "checksum_ok": 1, "fib": FibOutcome.HIT,
            "adj_kind": AdjacencyKind.FORWARD, "adj_mtu": 1500, "total_length": 20}
    checksums = [0, 1, 0xFF, 0x100, 0xFEFE, 0xFEFF, 0xFF00, 0xFFFE, *(rng.randrange(0xFFFF) for _ in range(50))]
    out, *_ = run_stage(Decide(config), [pack(META, base | {"checksum": value}) for value in checksums])
    for old, verdict in zip(checksums, out, strict=True):
        rest = (0xFFFF - old - (ttl << 8)) % 0xFFFF      # sum of the header's other words
        new = unpack(VERDICT, verdict)["checksum"]
        assert (rest + ((ttl - 1) << 8) + new) % 0xFFFF == 0


@pytest.mark.parametrize("width, ports", list(zip(WIDTHS, (1, 3, 4, 8), strict=True)))
def test_elaborates(width, ports):
    assert rtlil.convert(Decide(CoreConfig(data_width=width, ports=ports)))
