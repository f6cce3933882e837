"""What the data plane should do for a prefix, from what a container's kernel knows. Pure functions.

The order is the kernel's own: the local table, then the main table. Where the hardware can't do what the kernel would
(a next hop over an interface that is no port, an IPv6 gateway, an encapsulation), packets are punted, and the kernel
does it.

Of several next hops one is taken: the lowest gateway address among those whose MAC address is known, if there are any,
else among all. So the same routes give the same tables everywhere.
"""

from ..tables.adjacency import BLACKHOLE, LOCAL, UNREACHABLE, Target, glean, next_hop
from .kernel import RTNH_F_DEAD, RTNH_F_LINKDOWN, KernelState, Prefix
from .netlink import Hop, Route

__all__ = ["FIXED", "desired_target"]

#: Routes of every router (RFC 1122, 3.2.1.3; RFC 1812, 4.2.2.11, 5.3.7): nothing in the kernel overrides them.
FIXED: dict[Prefix, Target] = {
    (0x00000000, 8): BLACKHOLE,
    (0x7F000000, 8): BLACKHOLE,
    (0xE0000000, 4): LOCAL,
    (0xFFFFFFFF, 32): LOCAL,
}
_LONGEST = 8        # of those with more than one address

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
    if target is None and prefix[1] == 32:
        target = _host(state, prefix[0])
    return target


def _within_fixed(prefix: Prefix) -> bool:
    address, length = prefix
    first = address >> 24
    return (length > _LONGEST and first in (0x00, 0x7F)) or (length > 4 and first >> 4 == 0xE)


def _from_aliases(state: KernelState, prefix: Prefix, aliases: tuple[Route, ...]) -> Target | None:
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
    hop = alive[0] if len(alive) == 1 else _choose(state, prefix, alive)
    port = state.port(hop.ifindex)
    if port is None or hop.foreign:
        return LOCAL
    return glean(port) if hop.gateway is None else next_hop(port, hop.gateway)


def _choose(state: KernelState, prefix: Prefix, hops: list[Hop]) -> Hop:
    for hop in hops:
        if hop.gateway is not None:
            state.watch_neighbour(hop.ifindex, hop.gateway, prefix)

    def rank(hop: Hop) -> tuple[bool, bool, int, int]:
        unknown = hop.gateway is not None and state.neighbour_mac(hop.ifindex, hop.gateway) is None
        return bool(hop.flags & RTNH_F_LINKDOWN), unknown, hop.gateway or 0, hop.ifindex

    return min(hops, key=rank)


def _host(state: KernelState, address: int) -> Target | None:
    """A neighbour that is known, if the longest prefix that the kernel has for it is the subnet on its port."""
    for neighbour in state.neighbours_at(address):
        port = state.port(neighbour.ifindex)
        if port is None or state.neighbour_mac(neighbour.ifindex, address) is None:
            continue
        for length in range(31, -1, -1):
            prefix = (address >> 32 - length << 32 - length, length)
            if prefix in state.local:
                break
            if prefix in state.main:
                target = _from_aliases(state, (address, 32), state.main[prefix])
                if target is not None:
                    if target == glean(port):
                        return next_hop(port, address)
                    break
    return None
