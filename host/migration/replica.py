"""What a container's kernel knows, as the messages that make another kernel know the same (Linux ``rtnetlink(7)``).

A replica is fed with dumps and events of a network namespace, as they come out of a netlink socket, and keeps for each
address, neighbour, next-hop object and route the request that makes it. So what takes long, of many routes, is done
while the routing daemons still run; when they are frozen, it only has to be sent.

What a kernel does by itself is left to it: routes that come with an address, the local table, neighbours that are only
being asked for. Interfaces are the caller's.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator

from ..mirror.attributes import ATTRIBUTE, HEADER, NLA_TYPE_MASK, U32, attributes
from ..mirror.netlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    RTM_DELADDR,
    RTM_DELNEIGH,
    RTM_DELNEXTHOP,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_GETADDR,
    RTM_GETNEIGH,
    RTM_GETNEXTHOP,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_NEWADDR,
    RTM_NEWNEIGH,
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    RTM_NEWRULE,
)

__all__ = ["DUMPS", "ApplyError", "Replica", "apply"]

#: Kinds of dumps that make a replica complete, and of the messages in them.
DUMPS = {RTM_GETADDR: RTM_NEWADDR, RTM_GETRULE: RTM_NEWRULE, RTM_GETNEXTHOP: RTM_NEWNEXTHOP, RTM_GETNEIGH: RTM_NEWNEIGH,
         RTM_GETROUTE: RTM_NEWROUTE}
_NEW_OF = {RTM_DELADDR: RTM_NEWADDR, RTM_DELNEIGH: RTM_NEWNEIGH, RTM_DELNEXTHOP: RTM_NEWNEXTHOP,
           RTM_DELROUTE: RTM_NEWROUTE, RTM_DELRULE: RTM_NEWRULE}
_KINDS = (RTM_NEWADDR, RTM_NEWRULE, RTM_NEWNEXTHOP, RTM_NEWNEIGH, RTM_NEWROUTE)
#: Bytes of ifaddrmsg, fib_rule_hdr, nhmsg, ndmsg, rtmsg.
_HEADS = {RTM_NEWADDR: 8, RTM_NEWRULE: 12, RTM_NEWNEXTHOP: 8, RTM_NEWNEIGH: 12, RTM_NEWROUTE: 12}
_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_IFA_F_NODAD, _IFA_F_TENTATIVE, _IFA_F_DADFAILED, _IFA_F_PERMANENT = 0x02, 0x40, 0x08, 0x80
_NDA_DST, _NDA_LLADDR, _NDA_FLAGS_EXT = 1, 2, 15
#: REACHABLE, STALE, DELAY, PROBE: known, and the kernel finds out by itself whether they still are. PERMANENT stays.
_NUD_KNOWN, _NUD_PERMANENT, _NUD_STALE = 0x02 | 0x04 | 0x08 | 0x10, 0x80, 0x04
_NHA_ID, _NHA_GROUP, _NHA_GROUP_TYPE, _NHA_RES_GROUP = 1, 2, 3, 12
#: ID, GROUP, GROUP_TYPE, BLACKHOLE, OIF, GATEWAY, ENCAP_TYPE, ENCAP, FDB, RES_GROUP: what can be asked for; the others
#: are what a dump tells besides.
_NHA_ASKED = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12)
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_CACHEINFO = 1, 4, 5, 6, 9, 12
_RTA_TABLE, _RTA_VIA, _RTA_PREF, _RTA_NH_ID = 15, 18, 20, 30
_RTPROT_KERNEL, _RTPROT_RA = 2, 9
_RTM_F_CLONED = 0x200
_TABLE_LOCAL = 255
_RTNEXTHOP = struct.Struct("=HBBi")
_FRA_PRIORITY, _FRA_TABLE = 6, 15
#: Rules that every namespace has: local, main, default.
_OWN_RULES = (0, 32766, 32767)
_NLMSG_ERROR = 2
_SOL_NETLINK, _NETLINK_EXT_ACK = 270, 11
_NLM_F_CAPPED, _NLM_F_ACK_TLVS, _NLMSGERR_ATTR_MSG = 0x100, 0x200, 1

_Key = tuple[object, ...]


class ApplyError(OSError):
    """A kernel refused a request of a replica."""


class Replica:
    """Requests that make a kernel know what another one knows.

    Attributes
    ----------
    unsure : bool
        An event did not say all: dumps are needed (:meth:`replace`).
    """

    def __init__(self) -> None:
        self.unsure = False
        self._items: dict[int, dict[_Key, bytes]] = {kind: {} for kind in _KINDS}
        self._alike: dict[object, set[_Key]] = {}       # routes that only a REPLACE tells apart

    def feed(self, data: bytes) -> None:
        """Take in what was received of a socket of events."""
        for kind, flags, body in _messages(data):
            new = _NEW_OF.get(kind, kind)
            if new not in _HEADS:
                continue
            found = _item(new, body)
            if found is None:
                continue
            if new == RTM_NEWROUTE:
                self._feed_route(kind == new, flags, body[0], *found)
            elif kind == new:
                self._items[new][found[0]] = found[1]
            else:
                self._items[new].pop(found[0], None)

    def _feed_route(self, new: bool, flags: int, family: int, key: _Key, request: bytes) -> None:
        items = self._items[RTM_NEWROUTE]
        alike = self._alike.setdefault(key[0], set())
        if not new:
            # If it is not there: a next hop of several, or a route that was told of in other words.
            self.unsure |= items.pop(key, None) is None
            alike.discard(key)
            if not alike:
                del self._alike[key[0]]
            return
        if flags & NLM_F_REPLACE:
            # Which one it was is not said, if there is more than one of its kind.
            self.unsure |= len(alike) > 1
            for other in alike:
                del items[other]
            alike.clear()
        elif family == socket.AF_INET6 and alike - {key}:
            # Several next hops are told of together, also those that were there.
            self.unsure = True
        items[key] = request
        alike.add(key)

    def replace(self, kind: int, data: Iterable[bytes]) -> None:
        """Take a complete dump in, of messages of one kind such as ``RTM_NEWROUTE``."""
        fresh: dict[_Key, bytes] = {}
        for part in data:
            for message, _, body in _messages(part):
                if message == kind and (found := _item(kind, body)) is not None:
                    fresh[found[0]] = found[1]
        self._items[kind] = fresh
        if kind == RTM_NEWROUTE:
            self._alike = {}
            for key in fresh:
                self._alike.setdefault(key[0], set()).add(key)

    def route_count(self) -> int:
        """Routes that it has, without those that a kernel has by itself."""
        return len(self._items[RTM_NEWROUTE])

    def __len__(self) -> int:
        return sum(len(items) for items in self._items.values())

    def requests(self) -> Iterator[tuple[int, list[bytes]]]:
        """Requests by what must be there before the next is asked for, with the kind of their message."""
        yield RTM_NEWADDR, list(self._items[RTM_NEWADDR].values())
        yield RTM_NEWRULE, list(self._items[RTM_NEWRULE].values())
        objects = self._items[RTM_NEWNEXTHOP]
        yield RTM_NEWNEXTHOP, [request for key, request in objects.items() if not key[1]]
        yield RTM_NEWNEXTHOP, [request for key, request in objects.items() if key[1]]
        yield RTM_NEWNEIGH, list(self._items[RTM_NEWNEIGH].values())
        # Those without a gateway first, as gateways are looked for by way of them.
        routes = self._items[RTM_NEWROUTE]
        yield RTM_NEWROUTE, [request for key, request in routes.items() if not key[2]]
        yield RTM_NEWROUTE, [request for key, request in routes.items() if key[2]]


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset, end = 0, len(data)
    while offset + HEADER.size <= end:
        length, kind, flags, _, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > end:
            return
        yield kind, flags, data[offset + HEADER.size:offset + length]
        offset += length + 3 & ~3


def _request(kind: int, flags: int, body: bytes) -> bytes:
    size = HEADER.size + len(body)
    return HEADER.pack(size, kind, NLM_F_REQUEST | flags, 0, 0) + body + bytes(-size % 4)


def _split(kind: int, body: bytes) -> tuple[bytes, dict[int, bytes]]:
    """Header and attributes of a message."""
    size = _HEADS[kind]
    found: dict[int, bytes] = {}
    offset, end = size, len(body)
    while offset + 4 <= end:
        length, attribute = ATTRIBUTE.unpack_from(body, offset)
        if length < 4 or offset + length > end:
            break
        found[attribute & NLA_TYPE_MASK] = body[offset:offset + (length + 3 & ~3)]
        offset += length + 3 & ~3
    return body[:size], found


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _value(attribute: bytes | None) -> bytes:
    if attribute is None:
        return b""
    length, = struct.unpack_from("=H", attribute)
    return attribute[4:length]


def _u32(attribute: bytes | None) -> int:
    value = _value(attribute)
    return int(U32.unpack_from(value)[0]) if len(value) >= 4 else 0


def _item(kind: int, body: bytes) -> tuple[_Key, bytes] | None:
    """What tells an item from others, and the request that makes it; None if a kernel has it by itself."""
    if len(body) < _HEADS[kind]:
        return None
    if kind == RTM_NEWROUTE:
        return _route(body)
    if kind == RTM_NEWNEXTHOP:
        return _next_hop(body)
    if body[0] not in _FAMILIES:
        return None
    return {RTM_NEWADDR: _address, RTM_NEWNEIGH: _neighbour, RTM_NEWRULE: _rule}[kind](body)


def _address(body: bytes) -> tuple[_Key, bytes] | None:
    head, found = _split(RTM_NEWADDR, body)
    family, length, _, scope, ifindex = struct.unpack("=BBBBI", head)
    if ifindex == 1 and _value(found.get(_IFA_ADDRESS)) in (b"\x7f\0\0\1", bytes(15) + b"\1"):
        return None         # 127.0.0.1 and ::1 come with the interface
    # It was there before, so there is nobody else who has it.
    flags = _u32(found.get(_IFA_FLAGS)) & ~(_IFA_F_TENTATIVE | _IFA_F_DADFAILED) | _IFA_F_NODAD
    found.pop(_IFA_CACHEINFO, None) if flags & _IFA_F_PERMANENT else None
    found[_IFA_FLAGS] = _attribute(_IFA_FLAGS, U32.pack(flags & ~_IFA_F_PERMANENT))
    new = struct.pack("=BBBBI", family, length, 0, scope, ifindex)
    key = family, ifindex, length, _value(found.get(_IFA_LOCAL)), _value(found.get(_IFA_ADDRESS))
    return key, _request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, new + b"".join(found.values()))


def _neighbour(body: bytes) -> tuple[_Key, bytes] | None:
    head, found = _split(RTM_NEWNEIGH, body)
    family, ifindex, state, flags, kind = struct.unpack("=B3xiHBB", head)
    key = family, ifindex, _value(found.get(_NDA_DST))
    if _NDA_LLADDR not in found or not state & (_NUD_KNOWN | _NUD_PERMANENT):
        # It may have been known before.
        return key, b""
    state = state & _NUD_PERMANENT or _NUD_STALE
    new = struct.pack("=B3xiHBB", family, ifindex, state, flags, kind)
    request = _request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
                       new + b"".join(found[name] for name in (_NDA_DST, _NDA_LLADDR, _NDA_FLAGS_EXT) if name in found))
    return key, request


def _next_hop(body: bytes) -> tuple[_Key, bytes] | None:
    head, found = _split(RTM_NEWNEXTHOP, body)
    family, _, protocol, _, flags = struct.unpack("=BBBBI", head)
    group = _NHA_GROUP in found
    if group and _NHA_RES_GROUP not in found:
        # Its type is the usual one, which a request may leave out.
        found.pop(_NHA_GROUP_TYPE, None)
    # Of the flags only ONLINK (4) can be asked for; DEAD and LINKDOWN are states.
    new = struct.pack("=BBBBI", 0 if group else family, 0, protocol, 0, flags & 4)
    key = _u32(found.get(_NHA_ID)), group
    return key, _request(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE,
                         new + b"".join(found[name] for name in _NHA_ASKED if name in found))


def _rule(body: bytes) -> tuple[_Key, bytes] | None:
    head, found = _split(RTM_NEWRULE, body)
    if _u32(found.get(_FRA_PRIORITY)) in _OWN_RULES:
        return None
    return (body,), _request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, head + b"".join(found.values()))


def _route(body: bytes) -> tuple[_Key, bytes] | None:
    family, length, source, tos, table, protocol, scope, kind, flags = struct.unpack_from("=BBBBBBBBI", body)
    if (family not in _FAMILIES or flags & _RTM_F_CLONED or protocol in (_RTPROT_KERNEL, _RTPROT_RA)):
        return None
    _, found = _split(RTM_NEWROUTE, body)
    number = _u32(found[_RTA_TABLE]) if _RTA_TABLE in found else table
    if number == _TABLE_LOCAL:
        return None
    found.pop(_RTA_CACHEINFO, None)
    if _RTA_NH_ID in found:
        # Its next hops are the object's, and a request may not name them too.
        for name in (_RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA):
            found.pop(name, None)
        flags = 0
    elif _RTA_MULTIPATH in found:
        found[_RTA_MULTIPATH] = _without_states(found[_RTA_MULTIPATH])
    # Of the flags, only ONLINK (4) of the next hop can be asked for.
    new = struct.pack("=BBBBBBBBI", family, length, source, tos, table, protocol, scope, kind, flags & 4)
    rest = b"".join(value for _, value in sorted(found.items()))
    # The kernel's own identity of a route, and all of it.
    same = family, number, length, _value(found.get(_RTA_DST)), tos, _u32(found.get(_RTA_PRIORITY))
    far = bool(found.keys() & {_RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA, _RTA_NH_ID})
    return (same, new + rest, far), _request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, new + rest)


def _without_states(attribute: bytes) -> bytes:
    """A multipath attribute whose next hops have no flag but ONLINK."""
    data = bytearray(attribute)
    offset = 4
    while offset + _RTNEXTHOP.size <= len(data):
        length, flags, hops, ifindex = _RTNEXTHOP.unpack_from(data, offset)
        if length < _RTNEXTHOP.size:
            break
        _RTNEXTHOP.pack_into(data, offset, length, flags & 4, hops, ifindex)
        offset += length + 3 & ~3
    return bytes(data)


_NAMES = {RTM_NEWADDR: "an address", RTM_NEWRULE: "a rule", RTM_NEWNEXTHOP: "a next-hop object",
          RTM_NEWNEIGH: "a neighbour", RTM_NEWROUTE: "a route"}
#: Requests that are sent at once, in bytes: the kernel works through them before it returns.
_AT_ONCE = 1 << 16


def apply(replica: Replica) -> int:
    """Make the kernel of this thread's network namespace know what a replica does; returns how many requests that took.

    Its interfaces must be there and up, under the same numbers.

    Raises
    ------
    ApplyError
        If it refuses one.
    """
    sent = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as route:
        route.bind((0, 0))
        route.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        route.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _AT_ONCE)
        for kind, requests in replica.requests():
            wanted = [request for request in requests if request]
            sent += len(wanted)
            for part in _parts(wanted):
                route.send(part)
                _raise_refusal(route, kind)
    return sent


def _parts(requests: list[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for request in requests:
        if size + len(request) > _AT_ONCE:
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(request)
        size += len(request)
    if batch:
        yield b"".join(batch)


def _raise_refusal(route: socket.socket, kind: int) -> None:
    """The kernel has answered when it returns, and without being asked to, only what it refuses."""
    while True:
        try:
            data = route.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        for message, flags, body in _messages(data):
            if message == _NLMSG_ERROR:
                code = -int(struct.unpack_from("=i", body)[0])
                if code not in (0, errno.EEXIST):
                    refused, reason = _refused(flags, body)
                    raise ApplyError(code, f"the kernel refuses {_NAMES[kind]}: {reason or os.strerror(code)} "
                                           f"({refused.hex()})")


def _refused(flags: int, body: bytes) -> tuple[bytes, str]:
    """The request that an error is about, without its header, and what the kernel says of it (NETLINK_EXT_ACK)."""
    length, = U32.unpack_from(body, 4)
    end = 4 + (HEADER.size if flags & _NLM_F_CAPPED else length)
    reason = ""
    if flags & _NLM_F_ACK_TLVS:
        for kind, first, last in attributes(body, end + 3 & ~3, len(body)):
            if kind == _NLMSGERR_ATTR_MSG:
                reason = body[first:last].rstrip(b"\0").decode(errors="replace")
    return body[4 + HEADER.size:min(end, 4 + HEADER.size + 64)], reason
