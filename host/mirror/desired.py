"""What the data plane should do for a prefix, from what a container's kernel knows. Pure functions.

The order is the kernel's own: the local table, then the main table. Where the hardware can't do what the kernel would
(a next hop over an interface that is no port, an encapsulation, an IPv6 route for some sources only), packets are
punted, and the kernel does it.

Several next hops that are gateways on ports share the flows, by their weights; others are not used while there are such
ones.
"""

from polyrouter.hdl.layouts import AdjacencyKind

from ..tables.adjacency import BLACKHOLE, LOCAL, UNREACHABLE, Target, glean, group, next_hop
from ..tables.prefix import Prefix
from .kernel import RTNH_F_DEAD, RTNH_F_LINKDOWN, KernelState
from .netlink import Hop, Route

__all__ = ["FIXED", "desired_target", "way_to"]

#: Routes of every router (RFC 1122, 3.2.1.3; RFC 1812, 4.2.2.11, 5.3.7; RFC 4291, 2.5.2, 2.5.3, 2.7): nothing in the
#: kernel overrides them.
FIXED: dict[Prefix, Target] = {Prefix.parse(text): target for text, target in (
    ("0.0.0.0/8", BLACKHOLE),
    ("127.0.0.0/8", BLACKHOLE),
    ("224.0.0.0/4", LOCAL),
    ("255.255.255.255/32", LOCAL),
    ("::/128", BLACKHOLE),
    ("::1/128", BLACKHOLE),
    ("ff00::/8", LOCAL),
)}
(_UNICAST, _LOCAL, _BROADCAST, _ANYCAST, _MULTICAST, _BLACKHOLE, _UNREACHABLE, _PROHIBIT, _THROW) = range(1, 10)

#: Types that do not depend on next hops. Nothing comes after the main table, so that THROW ends without a route.
_BY_TYPE = {
    _LOCAL: LOCAL, _BROADCAST: LOCAL, _ANYCAST: LOCAL, _MULTICAST: LOCAL,
    _BLACKHOLE: BLACKHOLE, _UNREACHABLE: UNREACHABLE, _PROHIBIT: UNREACHABLE, _THROW: UNREACHABLE,
}


def desired_target(state: KernelState, prefix: Prefix) -> Target | None:
    """What a route for ``prefix`` should point at; None if there should be none."""
    fixed = FIXED.get(prefix)
    if fixed is not None:
        return fixed
    if _within_fixed(prefix):
        return None
    target = _from_aliases(state, prefix, state.local.get(prefix, ()))
    if target is not None:
        return target
    if state.hidden_by_local(prefix):
        return None
    target = _from_aliases(state, prefix, state.main.get(prefix, ()))
    if target is None and prefix.is_host:
        target = _host(state, prefix)
    return target


def way_to(state: KernelState, address: int, ipv6: bool = False) -> tuple[Target, ...]:
    """Next hops of packets to an address; none if they don't leave by a port."""
    host = Prefix.host(address, ipv6)
    for length in range(host.bits, -1, -1):
        target = desired_target(state, host.cut(length))
        if target is not None:
            return tuple(next_hop(hop.port, address, ipv6) if hop == glean(hop.port) else hop
                         for hop in target.members or (target,) if hop.kind == AdjacencyKind.FORWARD)
    return ()


def _within_fixed(prefix: Prefix) -> bool:
    # The data plane punts what is for a link-local address before it looks for a route.
    return prefix.is_link_local or any(fixed.covers(prefix) for fixed in FIXED)


def _from_aliases(state: KernelState, prefix: Prefix, aliases: tuple[Route, ...]) -> Target | None:
    if any(route.of_source for route in aliases):
        return LOCAL
    for route in aliases:
        target = None if route.tos else _from_route(state, prefix, route)
        if target is not None:
            return target
    return None


def _from_route(state: KernelState, prefix: Prefix, route: Route) -> Target | None:
    if route.type != _UNICAST:
        return _BY_TYPE.get(route.type, LOCAL)
    hops, blackhole = state.hops(route, prefix)
    if blackhole:
        return BLACKHOLE
    alive = [hop for hop in hops if not hop.flags & RTNH_F_DEAD]
    if not alive:
        return None
    up = [hop for hop in alive if not hop.flags & RTNH_F_LINKDOWN] or alive
    weights: dict[Target, int] = {}
    for hop in up:
        port = state.port(hop.ifindex)
        if port is not None and hop.gateway is not None and not hop.foreign:
            gateway = next_hop(port, hop.gateway, hop.ipv6)
            weights[gateway] = weights.get(gateway, 0) + hop.weight
    return group(weights) if weights else _other(state, min(up, key=lambda hop: hop.ifindex))


def _other(state: KernelState, hop: Hop) -> Target:
    """A next hop that is no gateway on a port."""
    port = state.port(hop.ifindex)
    return LOCAL if port is None or hop.foreign else glean(port)


def _host(state: KernelState, host: Prefix) -> Target | None:
    """A neighbour that is known, if the longest prefix that the kernel has for it is the subnet on its port."""
    for neighbour in state.neighbours_at(host.address, host.ipv6):
        port = state.port(neighbour.ifindex)
        if port is None or state.neighbour_mac(neighbour.ifindex, host.address, host.ipv6) is None:
            continue
        for length in range(host.bits - 1, -1, -1):
            prefix = host.cut(length)
            if prefix in state.local:
                break
            if prefix in state.main:
                target = _from_aliases(state, host, state.main[prefix])
                if target is not None:
                    if target == glean(port):
                        return next_hop(port, host.address, host.ipv6)
                    break
    return None
