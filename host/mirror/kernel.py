"""What the kernel of a container knows: links, routes, next-hop objects and neighbours. No input or output here.

Events go in; which prefixes and which neighbours may have changed comes out.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping

from ..tables.adjacency import Target, next_hop
from ..tables.prefix import Prefix
from .netlink import (
    NLM_F_APPEND,
    NLM_F_REPLACE,
    Address,
    Event,
    Hop,
    Link,
    Neighbour,
    NextHopObject,
    Route,
)

__all__ = ["KernelState"]

#: Interface, address, and whether it is IPv6.
_Key = tuple[int, int, bool]

TABLE_MAIN, TABLE_LOCAL = 254, 255

#: REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT: the MAC address may be used.
_NUD_VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80
NUD_INCOMPLETE, NUD_STALE = 0x01, 0x04
#: IFF_UP and IFF_RUNNING: a change can make routes vanish or come back without a message.
_FLAGS_THAT_MATTER = 0x01 | 0x40
RTNH_F_DEAD, RTNH_F_LINKDOWN = 0x01, 0x10


class KernelState:
    """State of a network namespace.

    Parameters
    ----------
    port_of_name : mapping of str to int
        Names of the interfaces that are ports of the router.

    Attributes
    ----------
    main, local : dict
        Routes of the tables 254 and 255 by prefix; where there are several for a prefix, in the order in which the
        kernel considers them.
    neighbours : dict
        ARP and NDP entries by interface, address and whether that is IPv6.
    next_hops : dict
        Next-hop objects by id.
    prefixes : set of Prefix
        Prefixes whose route may have changed; the caller removes what it has dealt with.
    touched : set of Target
        Next hops whose neighbour may have changed, likewise.
    outdated : bool
        Something happened upon which the kernel removes or changes routes without telling; they must be dumped again.
    """

    def __init__(self, port_of_name: Mapping[str, int]) -> None:
        self.port_of_name = dict(port_of_name)
        self.links: dict[int, Link] = {}
        self.addresses: set[Address] = set()
        self.main: dict[Prefix, tuple[Route, ...]] = {}
        self.local: dict[Prefix, tuple[Route, ...]] = {}
        self.neighbours: dict[_Key, Neighbour] = {}
        self.next_hops: dict[int, NextHopObject] = {}
        self.prefixes: set[Prefix] = set()
        self.touched: set[Target] = set()
        self.outdated = False
        self._port_of_index: dict[int, int] = {}
        self._index_of_port: dict[int, int] = {}
        # Sorted; an address may be there for several interfaces.
        self._neighbour_addresses: list[tuple[bool, int]] = []
        self._short_local: dict[Prefix, None] = {}      # prefixes of the local table that have more than one address
        self._watchers: dict[int, set[Prefix]] = {}     # by next-hop object

    # What is asked of it

    def port(self, ifindex: int) -> int | None:
        """Port that an interface is, None if it is none."""
        return self._port_of_index.get(ifindex)

    def ifindex(self, port: int) -> int | None:
        """Interface that a port is, None while there is none."""
        return self._index_of_port.get(port)

    def mtu(self, port: int) -> int:
        """MTU of a port's interface."""
        link = self.links.get(self._index_of_port.get(port, 0))
        return link.mtu if link else 1500

    def neighbour(self, hop: Target) -> Neighbour | None:
        """The neighbour that is a next hop."""
        ifindex = self._index_of_port.get(hop.port)
        if ifindex is None or hop.address is None:
            return None
        return self.neighbours.get((ifindex, hop.address, hop.ipv6))

    def neighbour_mac(self, ifindex: int, address: int, ipv6: bool = False) -> int | None:
        """MAC address of a neighbour, None unless it may be used."""
        neighbour = self.neighbours.get((ifindex, address, ipv6))
        if neighbour is None or not neighbour.state & _NUD_VALID or not neighbour.mac or neighbour.mac >> 40 & 1:
            return None
        return neighbour.mac

    def hops(self, route: Route, watcher: Prefix) -> tuple[tuple[Hop, ...], bool]:
        """Next hops of a route, by way of its next-hop object if it has one, and whether that is a blackhole.

        ``watcher`` will be in ``prefixes`` when the object changes.
        """
        if not route.next_hop_id:
            return route.hops, False
        self._watch(route.next_hop_id, watcher)
        found = self.next_hops.get(route.next_hop_id)
        if found is None:
            return route.hops, False
        if found.blackhole:
            return (), True
        if found.hop is not None:
            return (found.hop,), False
        hops = []
        for member, weight in found.group:
            self._watch(member, watcher)
            single = self.next_hops.get(member)
            if single is not None and single.blackhole:
                return (), True
            if single is not None and single.hop is not None:
                hops.append(single.hop._replace(weight=weight))
        return tuple(hops), False

    def neighbours_at(self, address: int, ipv6: bool) -> list[Neighbour]:
        """Entries for an address on any port."""
        return [neighbour for ifindex in self._port_of_index
                if (neighbour := self.neighbours.get((ifindex, address, ipv6))) is not None]

    def hidden_by_local(self, prefix: Prefix) -> bool:
        """Whether a shorter prefix of the local table, which the kernel asks first, has all of this prefix."""
        return any(short.length < prefix.length and short.covers(prefix) for short in self._short_local)

    def all_prefixes(self) -> set[Prefix]:
        """All prefixes for which there may be something to do."""
        hosts = {Prefix.host(address, ipv6) for ifindex, address, ipv6 in self.neighbours
                 if ifindex in self._port_of_index}
        return {*self.main, *self.local, *hosts}

    def route_count(self) -> int:
        """Routes in the main table, without those for link-local addresses, which are never forwarded."""
        return sum(len(aliases) for prefix, aliases in self.main.items() if not prefix.is_link_local)

    # What happens to it

    def apply(self, event: Event) -> None:
        """Take an event in."""
        item = event.item
        if isinstance(item, Route):
            self._apply_route(item, event.new, event.flags)
        elif isinstance(item, Neighbour):
            self._apply_neighbour(item, event.new)
        elif isinstance(item, NextHopObject):
            self._apply_next_hop(item, event.new)
        elif isinstance(item, Link):
            self._apply_link(item, event.new)
        elif isinstance(item, Address):
            if event.new:
                self.addresses.add(item)
            else:
                # Routes whose preferred source it was go without a message.
                self.addresses.discard(item)
                self.outdated = True

    def replace_routes(self, routes: Iterable[Route]) -> None:
        """Take a complete dump of routes in; only what differs is marked."""
        fresh: dict[int, dict[Prefix, tuple[Route, ...]]] = {TABLE_MAIN: {}, TABLE_LOCAL: {}}
        for route in routes:
            if route.table in fresh:
                table = fresh[route.table]
                table[route.prefix] = (*table.get(route.prefix, ()), route)
        for table in fresh.values():
            table |= {prefix: tuple(sorted(aliases, key=_rank)) for prefix, aliases in table.items()
                      if prefix.ipv6 and len(aliases) > 1}
        for known, dumped in ((self.main, fresh[TABLE_MAIN]), (self.local, fresh[TABLE_LOCAL])):
            for prefix in known.keys() | dumped.keys():
                aliases = dumped.get(prefix, ())
                if known.get(prefix, ()) != aliases:
                    self._set_routes(known, prefix, aliases)
        self.outdated = False

    def replace_links(self, links: Iterable[Link]) -> None:
        """Take a complete dump of links in."""
        fresh = {link.ifindex: link for link in links}
        for gone in [link for ifindex, link in self.links.items() if ifindex not in fresh]:
            self._apply_link(gone, False)
        for link in fresh.values():
            self._apply_link(link, True)

    def replace_neighbours(self, neighbours: Iterable[Neighbour]) -> None:
        """Take a complete dump of neighbours in."""
        fresh = {_key(neighbour): neighbour for neighbour in neighbours}
        for gone in [neighbour for key, neighbour in self.neighbours.items() if key not in fresh]:
            self._apply_neighbour(gone, False)
        for neighbour in fresh.values():
            self._apply_neighbour(neighbour, True)

    def replace_next_hops(self, objects: Iterable[NextHopObject]) -> None:
        """Take a complete dump of next-hop objects in."""
        fresh = {item.id: item for item in objects}
        for gone in [item for number, item in self.next_hops.items() if number not in fresh]:
            self._apply_next_hop(gone, False)
        for item in fresh.values():
            self._apply_next_hop(item, True)

    def replace_addresses(self, addresses: Iterable[Address]) -> None:
        """Take a complete dump of addresses in."""
        self.addresses = set(addresses)

    def _apply_route(self, route: Route, new: bool, flags: int) -> None:
        if route.table == TABLE_MAIN:
            table = self.main
        elif route.table == TABLE_LOCAL:
            table = self.local
        else:
            return
        prefix = route.prefix
        present = table.get(prefix, ())
        if prefix.ipv6:
            aliases = self._ipv6_aliases(present, route, new, flags)
        elif not new:
            if route not in present:
                # Hops can have got other flags since; what tells routes apart is the rest.
                wanted = _identity(route)
                route = next((other for other in present if _identity(other) == wanted), route)
            aliases = tuple(other for other in present if other != route)
        elif not present:
            aliases = (route,)
        else:
            aliases = _with_alias(present, route, flags)
            if flags & NLM_F_REPLACE and len(present) > 1:
                self.outdated = True        # the message does not tell which one it was
        if aliases != present:
            self._set_routes(table, prefix, aliases)

    def _set_routes(self, table: dict[Prefix, tuple[Route, ...]], prefix: Prefix, aliases: tuple[Route, ...]) -> None:
        if aliases:
            table[prefix] = aliases
        else:
            table.pop(prefix, None)
        self.prefixes.add(prefix)
        if prefix.is_host:
            return
        if table is self.local:
            if aliases:
                self._short_local[prefix] = None
            else:
                self._short_local.pop(prefix, None)
            self.prefixes |= {other for other in self.all_prefixes() if prefix.covers(other)}
        # The host route of a neighbour is only right while the subnet of its interface has the longest prefix for it.
        known = self._neighbour_addresses
        position = bisect_left(known, (prefix.ipv6, prefix.address))
        last = (prefix.ipv6, prefix.last)
        while position < len(known) and known[position] <= last:
            self.prefixes.add(Prefix.host(known[position][1], prefix.ipv6))
            position += 1

    def _ipv6_aliases(self, present: tuple[Route, ...], route: Route, new: bool, flags: int) -> tuple[Route, ...]:
        """Routes of an IPv6 prefix after a message.

        Several next hops are routes of their own there, of equal priority and called siblings. A message of a new one
        has all its siblings as next hops; one of a withdrawn sibling has it alone.
        """
        equal = [other for other in present if _rank(other) == _rank(route)]
        if not new:
            gone = _ways(route)
            for other in equal:
                # The hops of a next-hop object are not the route's own, and may have changed.
                if _kind(other) == _kind(route) and (route.next_hop_id or gone <= _ways(other)):
                    left = () if route.next_hop_id else tuple(hop for hop in other.hops if _way(hop) not in gone)
                    return tuple(alias._replace(hops=left) if alias is other else alias for alias in present
                                 if alias is not other or left)
            self.outdated |= bool(present)      # not what was thought to be there
            return present
        if flags & NLM_F_REPLACE and equal:
            self.outdated |= len(equal) > 1     # the message does not tell which one it was
            return tuple(route if other is equal[0] else other for other in present)
        others = [other for other in present if not (
            _rank(other) == _rank(route) and _kind(other) == _kind(route) and _ways(other) <= _ways(route))]
        # Behind those of equal rank, as the kernel does.
        return tuple(sorted([*others, route], key=_rank))

    def _apply_neighbour(self, neighbour: Neighbour, new: bool) -> None:
        key = _key(neighbour)
        before = self.neighbour_mac(*key)
        place = (neighbour.ipv6, neighbour.address)
        if new:
            if key not in self.neighbours:
                insort(self._neighbour_addresses, place)
            self.neighbours[key] = neighbour
        elif self.neighbours.pop(key, None) is not None:
            del self._neighbour_addresses[bisect_left(self._neighbour_addresses, place)]
        after = self.neighbour_mac(*key)
        if before == after:
            return
        port = self._port_of_index.get(neighbour.ifindex)
        if port is not None:
            self.touched.add(next_hop(port, neighbour.address, neighbour.ipv6))
        if (before is None) != (after is None):
            self.prefixes.add(Prefix.host(neighbour.address, neighbour.ipv6))

    def _apply_next_hop(self, item: NextHopObject, new: bool) -> None:
        if new:
            if self.next_hops.get(item.id) == item:
                return
            self.next_hops[item.id] = item
        else:
            if self.next_hops.pop(item.id, None) is None:
                return
            watchers = self._watchers.get(item.id, ())
            if any(route.next_hop_id == item.id for prefix in watchers for route in self.main.get(prefix, ())):
                self.outdated = True    # its routes went along, without a message
        # Whoever is still interested watches again when it looks the next time.
        self.prefixes |= self._watchers.pop(item.id, set())

    def _apply_link(self, link: Link, new: bool) -> None:
        before = self.links.get(link.ifindex)
        if new:
            self.links[link.ifindex] = link
        else:
            self.links.pop(link.ifindex, None)
        after = self.links.get(link.ifindex)
        if before is None or after is None or (before.flags ^ after.flags) & _FLAGS_THAT_MATTER:
            self.outdated = True
        port = self._port_of_index.get(link.ifindex)
        self._port_of_index = {ifindex: self.port_of_name[other.name] for ifindex, other in self.links.items()
                               if other.name in self.port_of_name}
        self._index_of_port = {number: ifindex for ifindex, number in self._port_of_index.items()}
        if port != self._port_of_index.get(link.ifindex):
            self.prefixes |= self.all_prefixes()
            self._touch(link.ifindex, {port, self._port_of_index.get(link.ifindex)} - {None})
        elif port is not None and (before is None or after is None or before.mtu != after.mtu):
            self._touch(link.ifindex, {port})

    def _touch(self, ifindex: int, ports: set[int | None]) -> None:
        self.touched |= {next_hop(port, address, ipv6) for port in ports if port is not None
                         for index, address, ipv6 in self.neighbours if index == ifindex}

    def _watch(self, number: int, watcher: Prefix) -> None:
        self._watchers.setdefault(number, set()).add(watcher)


def _key(neighbour: Neighbour) -> _Key:
    return neighbour.ifindex, neighbour.address, neighbour.ipv6


def _rank(route: Route) -> tuple[int, int]:
    """Order of the IPv6 routes for a prefix: priority, then router preference (RFC 4191, 3.1)."""
    return route.priority, route.preference


def _kind(route: Route) -> tuple[int, int, bool, bool]:
    """What siblings among IPv6 routes have in common; only those by a gateway have any."""
    return (route.type, route.next_hop_id, route.of_source, any(hop.gateway is None for hop in route.hops))


def _way(hop: Hop) -> tuple[int, int | None, bool]:
    return hop.ifindex, hop.gateway, hop.foreign


def _ways(route: Route) -> set[tuple[int, int | None, bool]]:
    """Next hops without what changes or is not told: flags and weights."""
    return {_way(hop) for hop in route.hops}


def _identity(route: Route) -> Route:
    return route._replace(hops=tuple(hop._replace(flags=0) for hop in route.hops))


def _with_alias(present: tuple[Route, ...], route: Route, flags: int) -> tuple[Route, ...]:
    """Routes of a prefix after one was added, in the kernel's order: TOS falling, priority rising, then as the request
    said (``ip route add``, ``append``, ``prepend``, ``replace``)."""
    rank = (-route.tos, route.priority)
    others = [other for other in present if _identity(other) != _identity(route)]
    equal = [position for position, other in enumerate(others) if (-other.tos, other.priority) == rank]
    if flags & NLM_F_REPLACE and equal:
        others[equal[0]] = route
        return tuple(others)
    if equal:
        position = equal[-1] + 1 if flags & NLM_F_APPEND else equal[0]
    else:
        position = sum((-other.tos, other.priority) < rank for other in others)
    others.insert(position, route)
    return tuple(others)
