"""Multicast routes of a container's kernel, whichever daemon put them there, and what to do for them in hardware.

The kernel tells of its (S,G) and (*,G) entries in routes of families of their own. Where the hardware can't do what the
kernel would (a way in or out over an interface that is no port, such as the one that PIM registers go through, or a
TTL threshold), packets are punted, and the kernel does it.
"""

from collections.abc import Callable, Iterable
from struct import Struct
from typing import NamedTuple

from ..tables.adjacency import LOCAL, Target
from ..tables.groups import COVERS, MulticastKey, multicast
from .attributes import HEADER, ROUTE_HEAD, U32, attributes, read_ip

__all__ = ["MROUTE_FAMILIES", "Mroute", "MulticastState", "decode_mroute"]

#: RTNL_FAMILY_IPMR and RTNL_FAMILY_IP6MR, by whether it is IPv6.
MROUTE_FAMILIES = 128, 129
#: The tables that a routing daemon uses if nobody says another: RT_TABLE_DEFAULT, RT6_TABLE_MAIN.
_TABLES = 253, 254
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_MULTIPATH, _RTA_TABLE, _RTA_MFC_STATS = 1, 2, 3, 9, 15, 17
_RTNEXTHOP = Struct("=HBBi")        # rtnexthop; its weight is the TTL threshold
_STATS = Struct("=QQQ")             # rta_mfc_stats: packets, bytes, packets that came in elsewhere
#: A packet with more hops left than this is forwarded; the data plane does so in any case.
_THRESHOLD = 1


class Mroute(NamedTuple):
    """A multicast route."""

    key: MulticastKey
    ifindex: int                            # that its packets come in at; 0: not known yet
    out: tuple[tuple[int, int], ...]        # interface and TTL threshold of each way out
    packets: int = 0                        # that the kernel has seen


def decode_mroute(data: bytes, start: int, length: int) -> Mroute | None:
    """A route message of one of MROUTE_FAMILIES; None if it is none of the default table's for a group."""
    family, table = data[start + HEADER.size], data[start + HEADER.size + 4]
    ipv6 = family == MROUTE_FAMILIES[True]
    group = source = ifindex = packets = 0
    out: list[tuple[int, int]] = []
    for kind, first, end in attributes(data, start + ROUTE_HEAD.size, start + length):
        if kind == _RTA_DST:
            group = read_ip(data, first, ipv6)
        elif kind == _RTA_SRC:
            source = read_ip(data, first, ipv6)
        elif kind == _RTA_IIF:
            ifindex, = U32.unpack_from(data, first)
        elif kind == _RTA_TABLE:
            table, = U32.unpack_from(data, first)
        elif kind == _RTA_MFC_STATS and end - first >= _STATS.size:
            packets = _STATS.unpack_from(data, first)[0]
        elif kind == _RTA_MULTIPATH:
            while first + _RTNEXTHOP.size <= end:
                size, _, threshold, hop = _RTNEXTHOP.unpack_from(data, first)
                if size < _RTNEXTHOP.size:
                    break
                out.append((hop, threshold))
                first += size + 3 & ~3
    key = MulticastKey.of(group, source or None, ipv6)
    if table != _TABLES[ipv6] or not COVERS[ipv6].covers(key.group):
        return None
    return Mroute(key, ifindex, tuple(out), packets)


class MulticastState:
    """Multicast routes of a network namespace.

    Attributes
    ----------
    routes : dict of MulticastKey to Mroute
        What the kernel has.
    changed : set of MulticastKey
        Keys for which there may be something to do; the caller removes what it has dealt with.
    """

    def __init__(self) -> None:
        self.routes: dict[MulticastKey, Mroute] = {}
        self.changed: set[MulticastKey] = set()

    def apply(self, route: Mroute, new: bool) -> None:
        """Take an event in."""
        if new:
            self.routes[route.key] = route
        else:
            self.routes.pop(route.key, None)
        self.changed.add(route.key)

    def replace(self, routes: Iterable[Mroute]) -> None:
        """Take a complete dump in. All are marked: also which interfaces are ports may have changed."""
        fresh = {route.key: route for route in routes}
        self.changed |= {*self.routes, *fresh}
        self.routes = fresh

    def desired(self, key: MulticastKey, port: Callable[[int], int | None],
                reaches: Callable[[int], bool] = lambda _: True) -> Target | None:
        """What a multicast route should do; None if there should be none.

        Parameters
        ----------
        key : MulticastKey
            Which one.
        port : callable
            Port that an interface is, None if it is none.
        reaches : callable
            Whether the hardware can send multicast packets out of a port.
        """
        route = self.routes.get(key)
        if route is None or not route.ifindex:
            return None
        ingress, ports = port(route.ifindex), []
        for ifindex, threshold in route.out:
            egress = port(ifindex)
            if egress is None or threshold > _THRESHOLD or (egress != ingress and not reaches(egress)):
                return LOCAL
            ports.append(egress)
        return LOCAL if ingress is None else multicast(ingress, ports)
