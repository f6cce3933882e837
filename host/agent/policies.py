"""From a router's specification to what its tables take."""

from ipaddress import ip_address

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import FilterAction, Role, RouterMode, TrafficClass
from polyrouter.hdl.queues import least_quantum

from ..spec import RateSpec, RouterSpec, RuleSpec
from ..tables.adjacency import Target
from ..tables.groups import MulticastKey, multicast
from ..tables.policy import Bucket, FilterRule, Policy, Quota, Shaper
from ..tables.rates import Rates
from ..tables.vmac import VmacKey

__all__ = ["entries_of", "format_mac", "group_of", "groups_of", "parse_mac", "policy_of"]


def parse_mac(text: str) -> int:
    """A MAC address as a number."""
    return int(text.replace(":", ""), 16)


def format_mac(mac: int) -> str:
    """A number as a MAC address."""
    return ":".join(f"{byte:02x}" for byte in mac.to_bytes(6, "big"))


def policy_of(router: RouterSpec, rates: Rates, config: CoreConfig) -> Policy:
    """A router's policy.

    Raises
    ------
    RateError
        If the board can't do one of its rates.
    """
    shapers = {port.port: Shaper(_bucket(port.rate, rates, shaper=True), _quantum(port.weight, config))
               for port in router.ports}
    shapers[config.host_port] = Shaper(_bucket(router.punt_rate, rates, shaper=True))
    return Policy(
        mode=RouterMode[router.mode.upper()], multicast=router.multicast, mirror=router.mirror,
        rules=tuple(_rule(rule, rates) for rule in router.rules), policer=_bucket(router.rate, rates),
        shapers=shapers, quota=Quota(router.reserved_cells, router.limit_cells),
        vids={port.port: port.vlan for port in router.ports})


def entries_of(router: RouterSpec) -> tuple[set[VmacKey], set[VmacKey]]:
    """A router's own entries and its peers' in the VMAC-VE table.

    A bridge owns its segments, and its addresses there so that what is for itself is handed up. Where only rules
    decide there is nothing but segments.
    """
    own: set[VmacKey] = set()
    if router.mode != "switched":
        own = {(parse_mac(port.mac), port.port, Role.OWN, port.vlan) for port in router.ports}
    if router.mode != "routed":
        own |= {(0, port.port, Role.SEGMENT, port.vlan) for port in router.ports}
    peers = {(parse_mac(mac), port.port, Role.PEER, port.vlan) for port in router.ports for mac in port.peers}
    return own, peers


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
    """Ports on which its container gets broadcast and multicast: a bridge's has no use for it."""
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
