"""Routes, neighbours and links of a network namespace over rtnetlink (RFC 3549, Linux ``rtnetlink(7)``).

Routes, next-hop objects and neighbours come in floods, so they are decoded here, and only what is needed of them: this
takes a few microseconds a route where a complete decoder takes a hundred. Links and addresses are left to pyroute2.
All come through one socket, so that their order is the kernel's.
"""

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, Protocol

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from ..netns import in_namespace
from ..tables.prefix import Prefix, format_address
from .attributes import ATTRIBUTE, HEADER, IPV6, NLA_TYPE_MASK, ROUTE_HEAD, U32, attributes, read_ip
from .mroutes import MROUTE_FAMILIES, Mroute, decode_mroute

__all__ = ["Address", "Event", "EventSource", "Hop", "Link", "MirrorSocket", "Neighbour", "NextHopObject",
           "Overflow", "Route", "decode", "neighbour_use_request"]

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x2, 0x4, 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
_NLMSG_ERROR, _NLMSG_DONE, _NLMSG_OVERRUN = 2, 3, 4

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
#: RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_MROUTE, IPV4_ROUTE, IPV6_IFADDR, IPV6_MROUTE, IPV6_ROUTE, NEXTHOP.
_GROUPS = (1, 3, 5, 6, 7, 9, 10, 11, 32)
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
#: Room for some 100,000 route events; the kernel doubles it. The default loses a burst after some 650.
_RECEIVE_BUFFER = 32 << 20
_RECEIVE_SIZE = 1 << 17

#: Attempts to get a dump that is not interrupted by a change.
_DUMPS = 50
#: Bytes of the longest header that a kind of dump is asked for by.
_DUMP_BODIES = {RTM_GETLINK: 16, RTM_GETADDR: 8, RTM_GETROUTE: 12, RTM_GETNEIGH: 12, RTM_GETRULE: 12,
                RTM_GETNEXTHOP: 8}

_RTM_F_CLONED = 0x200
_NTF_USE, _NTF_PROXY = 0x01, 0x08

_NEIGHBOUR = struct.Struct("=B3xiHBB")              # ndmsg
_NEXT_HOP = struct.Struct("=BBBBI")                 # nhmsg
_RTNEXTHOP = struct.Struct("=HBBi")                 # rtnexthop
_GROUP_MEMBER = struct.Struct("=IBBH")              # nexthop_grp

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH = 1, 4, 5, 6, 9
_RTA_TABLE, _RTA_VIA, _RTA_PREF, _RTA_ENCAP, _RTA_NH_ID = 15, 18, 20, 22, 30
#: Rank of a router preference (RFC 4191, 2.1) from its two bits: high, medium and low; the reserved one is medium.
_PREFERENCES = {1: -1, 0: 0, 3: 1}
_NHA_ID, _NHA_GROUP, _NHA_BLACKHOLE, _NHA_OIF, _NHA_GATEWAY, _NHA_ENCAP = 1, 2, 4, 5, 6, 8
_NDA_DST, _NDA_LLADDR = 1, 2


class Overflow(Exception):
    """The kernel had no room for all events: what is known of the namespace is out of date."""


class Hop(NamedTuple):
    """One next hop of a route."""

    ifindex: int
    gateway: int | None         # None: on the link
    flags: int = 0              # RTNH_F_*
    foreign: bool = False       # an encapsulation, or a gateway that is no IP address
    ipv6: bool = False          # the gateway is IPv6; IPv4 routes can have such gateways, too
    weight: int = 1             # share of the flows, if there are several


class Route(NamedTuple):
    """A route. Two are the same if all fields are equal."""

    table: int
    prefix: Prefix
    tos: int
    priority: int
    type: int                   # RTN_*
    hops: tuple[Hop, ...]
    next_hop_id: int = 0        # next-hop object; zero if ``hops`` are the route's own
    preference: int = 0         # rank by router preference among IPv6 routes of equal priority: the least first
    of_source: bool = False     # IPv6: for packets of some sources only


class NextHopObject(NamedTuple):
    """A next-hop object or a group of them."""

    id: int
    hop: Hop | None             # None for groups and blackholes
    group: tuple[tuple[int, int], ...] = ()     # id and weight
    blackhole: bool = False


class Neighbour(NamedTuple):
    """An entry of the ARP or the NDP table."""

    ifindex: int
    address: int
    state: int                  # NUD_*
    mac: int | None
    ipv6: bool = False


class Link(NamedTuple):
    """An interface."""

    ifindex: int
    name: str
    flags: int                  # IFF_*
    mtu: int
    mac: int | None


class Address(NamedTuple):
    """An address of an interface."""

    ifindex: int
    address: int
    length: int
    ipv6: bool = False


class Event(NamedTuple):
    """A message: something is there now, or is gone."""

    new: bool
    item: Route | NextHopObject | Neighbour | Link | Address | Mroute
    flags: int = 0              # NLM_F_*


def decode(data: bytes) -> Iterator[Event]:
    """Events in what was received, in order; messages and routes of no interest are left out."""
    for offset, length, kind, flags, _ in _messages(data):
        event = _decode_message(data, offset, length, kind, flags)
        if event is not None:
            yield event


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    offset, end = 0, len(data)
    while offset + HEADER.size <= end:
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > end:
            return
        yield offset, length, kind, flags, sequence
        offset += length + 3 & ~3


def _decode_message(data: bytes, offset: int, length: int, kind: int, flags: int) -> Event | None:
    item: Route | NextHopObject | Neighbour | Link | Address | Mroute | None
    if kind in (RTM_NEWROUTE, RTM_DELROUTE):
        item = (decode_mroute if data[offset + HEADER.size] in MROUTE_FAMILIES else _decode_route)(data, offset, length)
        new = kind == RTM_NEWROUTE
    elif kind in (RTM_NEWNEIGH, RTM_DELNEIGH):
        item = _decode_neighbour(data, offset, length)
        new = kind == RTM_NEWNEIGH
    elif kind in (RTM_NEWNEXTHOP, RTM_DELNEXTHOP):
        item = _decode_next_hop(data, offset, length)
        new = kind == RTM_NEWNEXTHOP
    elif kind in (RTM_NEWLINK, RTM_DELLINK):
        item = _decode_link(data[offset:offset + length])
        new = kind == RTM_NEWLINK
    elif kind in (RTM_NEWADDR, RTM_DELADDR):
        item = _decode_address(data[offset:offset + length])
        new = kind == RTM_NEWADDR
    else:
        return None
    return None if item is None else Event(new, item, flags)


def _decode_route(data: bytes, start: int, length: int) -> Route | None:
    (_, _, _, _, _, family, prefix_length, source_length, tos, table, _, _, kind, flags) = ROUTE_HEAD.unpack_from(
        data, start)
    if family not in _FAMILIES or flags & _RTM_F_CLONED:
        return None
    ipv6 = family == socket.AF_INET6
    prefix = priority = ifindex = next_hop_id = preference = 0
    gateway: int | None = None
    gateway_ipv6 = foreign = False
    hops: tuple[Hop, ...] | None = None
    # Written out instead of by attributes(): this loop is what a burst of routes spends its time in.
    offset, end = start + 28, start + length
    while offset + 4 <= end:
        size, attribute = ATTRIBUTE.unpack_from(data, offset)
        if size < 4 or offset + size > end:
            break
        if attribute == _RTA_DST:
            prefix = read_ip(data, offset + 4, ipv6)
        elif attribute == _RTA_TABLE:
            table, = U32.unpack_from(data, offset + 4)
        elif attribute == _RTA_OIF:
            ifindex, = U32.unpack_from(data, offset + 4)
        elif attribute == _RTA_GATEWAY:
            gateway, gateway_ipv6 = read_ip(data, offset + 4, ipv6), ipv6
        elif attribute == _RTA_PRIORITY:
            priority, = U32.unpack_from(data, offset + 4)
        else:
            attribute &= NLA_TYPE_MASK
            if attribute == _RTA_MULTIPATH:
                hops = tuple(_multipath(data, offset + 4, offset + size, ipv6))
            elif attribute == _RTA_NH_ID:
                next_hop_id, = U32.unpack_from(data, offset + 4)
            elif attribute == _RTA_PREF:
                preference = _PREFERENCES.get(data[offset + 4] & 3, 0) if size > 4 else 0
            elif attribute == _RTA_VIA:
                gateway = _via(data, offset + 4, offset + size)
                gateway_ipv6, foreign = gateway is not None, foreign or gateway is None
            elif attribute == _RTA_ENCAP:
                foreign = True
        offset += size + 3 & ~3
    if hops is None:
        hops = (Hop(ifindex, gateway, flags & 0xFF, foreign, gateway_ipv6),) if ifindex else ()
    elif ipv6:
        # Which of the routes that make up a set of next hops the kernel tells of first does not matter.
        hops = tuple(sorted(hops, key=lambda hop: (hop.ifindex, hop.gateway or 0)))
    return Route(table, Prefix(ipv6, prefix, prefix_length), tos, priority, kind, hops, next_hop_id, preference,
                 source_length > 0)


def _via(data: bytes, first: int, end: int) -> int | None:
    """The IPv6 address of an RTA_VIA (struct rtvia); None if it is anything else."""
    if end - first != 2 + IPV6.size or int.from_bytes(data[first:first + 2], sys.byteorder) != socket.AF_INET6:
        return None
    return read_ip(data, first + 2, True)


def _multipath(data: bytes, offset: int, end: int, ipv6: bool) -> Iterator[Hop]:
    while offset + _RTNEXTHOP.size <= end:
        length, flags, weight, ifindex = _RTNEXTHOP.unpack_from(data, offset)
        if length < _RTNEXTHOP.size:
            return
        gateway: int | None = None
        gateway_ipv6 = foreign = False
        for kind, first, last in attributes(data, offset + _RTNEXTHOP.size, min(end, offset + length)):
            if kind == _RTA_GATEWAY:
                gateway, gateway_ipv6 = read_ip(data, first, ipv6), ipv6
            elif kind == _RTA_VIA:
                gateway = _via(data, first, last)
                gateway_ipv6, foreign = gateway is not None, foreign or gateway is None
            elif kind == _RTA_ENCAP:
                foreign = True
        yield Hop(ifindex, gateway, flags, foreign, gateway_ipv6, weight + 1)
        offset += length + 3 & ~3


def _decode_next_hop(data: bytes, start: int, length: int) -> NextHopObject | None:
    _, _, _, _, flags = _NEXT_HOP.unpack_from(data, start + HEADER.size)
    number = ifindex = 0
    gateway: int | None = None
    foreign = blackhole = ipv6 = False
    group: tuple[tuple[int, int], ...] | None = None
    for kind, first, end in attributes(data, start + HEADER.size + _NEXT_HOP.size, start + length):
        if kind == _NHA_ID:
            number, = U32.unpack_from(data, first)
        elif kind == _NHA_GROUP:
            members = (_GROUP_MEMBER.unpack_from(data, at)[:2] for at in range(first, end, _GROUP_MEMBER.size))
            group = tuple((member, weight + 1) for member, weight in members)
        elif kind == _NHA_BLACKHOLE:
            blackhole = True
        elif kind == _NHA_OIF:
            ifindex, = U32.unpack_from(data, first)
        elif kind == _NHA_GATEWAY:
            ipv6 = end - first == IPV6.size
            gateway = read_ip(data, first, ipv6)
        elif kind == _NHA_ENCAP:
            foreign = True
    if not number:
        return None
    if group is not None or blackhole:
        return NextHopObject(number, None, group or (), blackhole)
    return NextHopObject(number, Hop(ifindex, gateway, flags & 0xFF, foreign, ipv6))


def _decode_neighbour(data: bytes, start: int, length: int) -> Neighbour | None:
    family, ifindex, state, flags, _ = _NEIGHBOUR.unpack_from(data, start + HEADER.size)
    if family not in _FAMILIES or flags & _NTF_PROXY:
        return None
    ipv6 = family == socket.AF_INET6
    address: int | None = None
    mac: int | None = None
    for kind, first, end in attributes(data, start + HEADER.size + _NEIGHBOUR.size, start + length):
        if kind == _NDA_DST:
            address = read_ip(data, first, ipv6)
        elif kind == _NDA_LLADDR and end - first == 6:
            mac = int.from_bytes(data[first:end], "big")
    return None if address is None else Neighbour(ifindex, address, state, mac, ipv6)


def _decode_link(message: bytes) -> Link | None:
    decoded = ifinfmsg(message)
    decoded.decode()
    name = decoded.get_attr("IFLA_IFNAME")
    # Bridges tell of their ports in messages of another family, without all that is asked for here.
    if name is None or decoded["family"] != socket.AF_UNSPEC:
        return None
    mac = decoded.get_attr("IFLA_ADDRESS")
    return Link(decoded["index"], name, decoded["flags"], decoded.get_attr("IFLA_MTU") or 0,
                int(mac.replace(":", ""), 16) if mac else None)


def _decode_address(message: bytes) -> Address | None:
    decoded = ifaddrmsg(message)
    decoded.decode()
    address = decoded.get_attr("IFA_LOCAL") or decoded.get_attr("IFA_ADDRESS")
    if decoded["family"] not in _FAMILIES or address is None:
        return None
    return Address(decoded["index"], int(ip_address(address)), decoded["prefixlen"],
                   decoded["family"] == socket.AF_INET6)


def neighbour_use_request(ifindex: int, address: int, ipv6: bool = False) -> bytes:
    """A request that makes the kernel resolve a neighbour, or check one that is stale, as if it had a packet for it."""
    message = ndmsg()
    message["header"]["type"] = RTM_NEWNEIGH
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_CREATE
    message["family"] = socket.AF_INET6 if ipv6 else socket.AF_INET
    message["ifindex"] = ifindex
    message["flags"] = _NTF_USE
    message["attrs"] = [["NDA_DST", format_address(address, ipv6)]]
    message.encode()
    return bytes(message.data)


class EventSource(Protocol):
    """Who tells what the kernel of a namespace knows: a socket there, or who hears of one elsewhere."""

    def fileno(self) -> int:
        """Descriptor that is readable when there are events."""
        ...

    def close(self) -> None:
        """Let go of it."""

    def receive(self) -> bytes | None:
        """Events that wait; None if there are none. Raises Overflow if some were lost."""

    def discard(self) -> None:
        """Throw away all events that wait."""

    def dump(self, kind: int) -> list[Event]:
        """All objects of a kind, of both families, from the request ``RTM_GET...``."""
        ...

    def dump_mroutes(self) -> list[Mroute]:
        """All multicast routes of both families."""
        ...

    def use_neighbour(self, ifindex: int, address: int, ipv6: bool = False) -> None:
        """Have a neighbour resolved or checked."""


class MirrorSocket:
    """Netlink sockets in a namespace: one for events, one for dumps and requests.

    Parameters
    ----------
    namespace : path
        The namespace's file, such as ``/proc/<pid>/ns/net``. It may belong to a user namespace.
    receive_buffer : int
        Bytes that may wait in the kernel.

    Raises
    ------
    OSError
        If the namespace is not there.
    """

    def __init__(self, namespace: Path | str, receive_buffer: int = _RECEIVE_BUFFER) -> None:
        self._events, self._requests = in_namespace(namespace, lambda: _open(receive_buffer))
        self._sequence = 0

    def fileno(self) -> int:
        """Descriptor that is readable when there are events."""
        return self._events.fileno()

    def close(self) -> None:
        """Close both."""
        self._events.close()
        self._requests.close()

    def receive(self) -> bytes | None:
        """Events that wait, as much as fits a buffer; None if there are none.

        Raises
        ------
        Overflow
            If events were lost.
        """
        try:
            return self._events.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise Overflow from error
            raise

    def discard(self) -> None:
        """Throw away all events that wait, lost ones included."""
        while True:
            with contextlib.suppress(Overflow):
                if self.receive() is None:
                    return

    def dump(self, kind: int) -> list[Event]:
        """All objects of a kind, of both families, from the request ``RTM_GET...``.

        A dump during which the objects changed, so that some may be missing, is done again.

        Raises
        ------
        OSError
            If the kernel refuses, or they change faster than they can be dumped.
        """
        families = (socket.AF_UNSPEC,) if kind in (RTM_GETLINK, RTM_GETNEXTHOP) else _FAMILIES
        return [event for family in families for event in self._dump(kind, family)]

    def dump_mroutes(self) -> list[Mroute]:
        """All multicast routes of both families; raises as :meth:`dump`."""
        return [event.item for family in MROUTE_FAMILIES for event in self._dump(RTM_GETROUTE, family)
                if isinstance(event.item, Mroute)]

    def use_neighbour(self, ifindex: int, address: int, ipv6: bool = False) -> None:
        """Make the kernel resolve or check a neighbour; no answer is waited for."""
        with contextlib.suppress(OSError):      # the interface may have gone
            self._requests.send(neighbour_use_request(ifindex, address, ipv6))

    def _dump(self, kind: int, family: int) -> list[Event]:
        for _ in range(_DUMPS):
            events, interrupted = self._dump_once(kind, family)
            if not interrupted:
                # A kernel without IPv6 gives those of all families that it has.
                return [event for event in events if family in (socket.AF_UNSPEC, _family(event.item))]
        raise OSError(errno.EAGAIN, "the kernel's tables change faster than they can be read")

    def _dump_once(self, kind: int, family: int) -> tuple[list[Event], bool]:
        parts, interrupted = self._dump_raw_once(kind, family)
        return [event for part in parts for event in decode(part)], interrupted

    def dump_raw(self, kind: int, family: int = socket.AF_UNSPEC) -> list[bytes]:
        """Messages of a complete dump, as they come.

        Parameters
        ----------
        kind : int
            Of the request, such as ``RTM_GETROUTE``.
        family : int

        Raises
        ------
        OSError
            If it can't be had.
        """
        for _ in range(_DUMPS):
            parts, interrupted = self._dump_raw_once(kind, family)
            if not interrupted:
                return parts
        raise OSError(errno.EAGAIN, "the kernel's tables change faster than they can be read")

    def _dump_raw_once(self, kind: int, family: int) -> tuple[list[bytes], bool]:
        self._sequence += 1
        # The body is as long as the header asked for; all of it zero but for the family.
        body = _DUMP_BODIES[kind]
        self._requests.send(HEADER.pack(HEADER.size + body, kind, NLM_F_REQUEST | NLM_F_DUMP, self._sequence, 0)
                            + bytes([family]) + bytes(body - 1))
        parts: list[bytes] = []
        interrupted = False
        while True:
            data = self._requests.recv(_RECEIVE_SIZE)
            parts.append(data)
            for offset, _, message, flags, sequence in _messages(data):
                if sequence != self._sequence:
                    continue                    # an error of a neighbour request
                interrupted |= bool(flags & NLM_F_DUMP_INTR)
                if message == _NLMSG_DONE:
                    return parts, interrupted
                if message == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", data, offset + HEADER.size)[0]
                    if code == errno.EOPNOTSUPP and kind == RTM_GETNEXTHOP:     # older than Linux 5.3
                        return [], False
                    raise OSError(code, os.strerror(code))


def _family(item: Route | NextHopObject | Neighbour | Link | Address | Mroute) -> int:
    if isinstance(item, Mroute):
        return MROUTE_FAMILIES[item.key.group.ipv6]
    if isinstance(item, Route):
        return socket.AF_INET6 if item.prefix.ipv6 else socket.AF_INET
    if isinstance(item, Neighbour | Address):
        return socket.AF_INET6 if item.ipv6 else socket.AF_INET
    return socket.AF_UNSPEC


def _open(receive_buffer: int) -> tuple[socket.socket, socket.socket]:
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                           socket.NETLINK_ROUTE)
    # Past the limit of net.core.rmem_max; the namespace's administrator may do that.
    events.setsockopt(socket.SOL_SOCKET, 33, receive_buffer)    # SO_RCVBUFFORCE
    events.bind((0, 0))
    for group in _GROUPS:
        events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    requests = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    requests.bind((0, 0))
    requests.settimeout(10)
    return events, requests
