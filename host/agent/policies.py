"""From a router's specification to what its tables take."""

from ipaddress import IPv4Address, ip_address

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    LINK_ROW,
    TERMINATION_KEY,
    TUNNEL,
    FilterAction,
    LinkKind,
    Role,
    RouterMode,
    TrafficClass,
    TunnelKind,
    pack,
)
from polyrouter.hdl.queues import least_quantum

from ..spec import NodeSpec, RateSpec, RouterSpec, RuleSpec
from ..tables.adjacency import Target
from ..tables.groups import MulticastKey, multicast
from ..tables.policy import Bucket, FilterRule, Policy, PolicyError, Quota, Shaper
from ..tables.rates import Rates
from ..tables.vmac import VmacEntry

__all__ = ["entries_of", "format_mac", "group_of", "groups_of", "guard_of", "link_rows", "macs_of", "parse_mac",
           "policy_of", "terminations_of"]

#: Largest TTL of a packet.
_MOST_TTL = 255


def parse_mac(text: str) -> int:
    """A MAC address as a number; 0 if there is none."""
    return int(text.replace(":", "") or "0", 16)


def format_mac(mac: int) -> str:
    """A number as a MAC address."""
    return ":".join(f"{byte:02x}" for byte in mac.to_bytes(6, "big"))


def policy_of(router: RouterSpec, rates: Rates, config: CoreConfig) -> Policy:
    """A router's policy.

    Raises
    ------
    RateError
        If the board can't do one of its rates.
    PolicyError
        If circuits, which have one shaper for all, are to have rates of their own.
    """
    shapers: dict[int, Shaper] = {}
    for port in router.ports:
        shaper = Shaper(_bucket(port.rate, rates, shaper=True), _quantum(port.weight, config))
        if shapers.setdefault(port.port, shaper) != shaper:
            raise PolicyError(f"{port.name} is to have a rate or weight of its own, and all circuits of a router have "
                              "one shaper: give them the same, or police them by filter rules")
    shapers[config.host_port] = Shaper(_bucket(router.punt_rate, rates, shaper=True))
    return Policy(
        mode=RouterMode[router.mode.upper()], multicast=router.multicast, mirror=router.mirror,
        rules=tuple(_rule(rule, rates) for rule in router.rules), policer=_bucket(router.rate, rates),
        shapers=shapers, quota=Quota(router.reserved_cells, router.limit_cells), learn=router.learn,
        tunnels=router.tunnels, vids=_vids(router, config))


def _vids(router: RouterSpec, config: CoreConfig) -> dict[int, int]:
    """VLANs of its ports. At the link port it is a circuit, of several that which heads their list, or the first."""
    vids = {port.port: port.circuit or port.vlan for port in reversed(router.ports)}
    if router.list_circuit:
        assert config.link_port is not None
        vids[config.link_port] = router.list_circuit
    return vids


def macs_of(router: RouterSpec, config: CoreConfig) -> dict[int, int]:
    """A router's MAC addresses by physical port. Tunnels' packets come in at the link port, whoever they are from."""
    macs = {config.link_port: 0} if config.link_port is not None and (router.tunnels or router.list_circuit) else {}
    return macs | {port.port: parse_mac(port.mac) for port in router.ports}


def guard_of(router: RouterSpec) -> list[int]:
    """Ports all of whose frames must come from peers; circuits are guarded one by one."""
    return [port.port for port in router.ports if port.guard and not port.circuit]


def entries_of(router: RouterSpec) -> list[VmacEntry]:
    """A router's entries in the VMAC-VE table: its peers', then its own.

    A bridge owns its segments, and its addresses there so that what is for itself is handed up; a virtual switch has
    none. Where only rules decide there is nothing but segments. A circuit is a segment in any case: whose group frames
    are is known by nothing else.
    """
    own: set[VmacEntry] = set()
    peers: set[VmacEntry] = set()
    is_switch = not router.container and router.learn
    for port in router.ports:
        place = port.port, port.circuit or port.vlan
        if router.mode != "switched" and not is_switch:
            own.add(VmacEntry(parse_mac(port.mac), place[0], Role.OWN, router.number, place[1]))
        if router.mode != "routed" or port.circuit:
            guard = port.segment_guard or (port.guard and bool(port.circuit))
            own.add(VmacEntry(0, place[0], Role.SEGMENT, router.number, place[1], guard))
        peers |= {VmacEntry(parse_mac(mac), place[0], Role.PEER, router.number, place[1]) for mac in port.peers}
    return [*sorted(peers), *sorted(own)]


def link_rows(node: NodeSpec) -> dict[int, int]:
    """Rows of the LINK table by number.

    Raises
    ------
    PolicyError
        If a tunnel's TTL is out of range.
    """
    rows = {}
    for circuit in node.circuits.values():
        fields: dict[str, int] = {"router": circuit.router, "kind": LinkKind[circuit.kind.upper()],
                                  "next": circuit.next, "peer": circuit.peer}
        tunnel = circuit.tunnel
        if tunnel is not None:
            if not 1 <= tunnel.ttl < _MOST_TTL:
                raise PolicyError(f"the TTL of tunnel {circuit.name} must be 1 to {_MOST_TTL - 1}, not {tunnel.ttl}")
            fields |= {"underlay": tunnel.underlay, "tunnel": pack(TUNNEL, {
                "kind": TunnelKind[tunnel.kind.upper()], "key": tunnel.key, "tos": tunnel.tos,
                # The underlay's router takes one off before the packet is on the wire.
                "ttl": tunnel.ttl + 1, "source": int(IPv4Address(tunnel.source)),
                "destination": int(IPv4Address(tunnel.destination))})}
        rows[circuit.number] = pack(LINK_ROW, fields)
    return rows


def terminations_of(node: NodeSpec) -> dict[int, int]:
    """Circuits of the tunnels that end on a node, by ``TERMINATION_KEY``."""
    return {pack(TERMINATION_KEY, {"router": end.router, "kind": TunnelKind[end.kind.upper()], "key": end.key,
                                   "remote": int(IPv4Address(end.remote))}): end.circuit
            for end in node.terminations}


def groups_of(router: RouterSpec) -> dict[MulticastKey, Target]:
    """A router's multicast routes that are not its kernel's."""
    found = {}
    for route in router.groups:
        group = ip_address(route.group)
        source = None if route.source is None else int(ip_address(route.source))
        found[MulticastKey.of(int(group), source, group.version == 6)] = multicast(
            route.port, route.ports, host=route.host)
    return found


def group_of(router: RouterSpec) -> list[int]:
    """Ports on which its container gets broadcast and multicast: a bridge's has no use for it, and there is none of a
    virtual switch; what a VNIC's user gets its filter rules say."""
    return [port.port for port in router.ports] if router.mode == "routed" else []


def _quantum(weight: int, config: CoreConfig) -> int:
    # The least one is that of a row of zeros.
    return 0 if weight == 1 else weight * least_quantum(config)


def _bucket(rate: RateSpec | None, rates: Rates, *, shaper: bool = False) -> Bucket | None:
    if rate is None:
        return None
    return Bucket(*(rates.shaper if shaper else rates.policer)(rate.rate, rate.burst))


def _rule(rule: RuleSpec, rates: Rates) -> FilterRule:
    return FilterRule(
        match=tuple(rule.match), action=FilterAction[rule.action.upper()], ports=tuple(rule.ports), mirror=rule.mirror,
        traffic_class=None if rule.traffic_class is None else TrafficClass[rule.traffic_class.upper()],
        police=_bucket(rule.police, rates), changes=tuple(rule.changes.items()), strip_vlan=rule.strip_vlan)
