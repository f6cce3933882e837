"""A VNIC's veth pair: the outer end in the fabric, the inner end in its user's namespace."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ..fabric import offloads_off
from ..link_spec import VnicSpec
from .errors import LaneError
from .links import Link, in_namespace_of, link_at, link_named, links_of, namespace_path
from .namespaces import create_namespace, is_namespace, memos_of, release_namespace
from .naming import Memo, inner_name

__all__ = ["Inner", "Pair", "ensure_pair", "known_pair", "remove_pairs", "settle_inner", "take_back"]

#: IFA_PROTO of the addresses that were set here: the user's own ones are left alone. Kernels before 5.18 forget it.
_ADDRESS_PROTOCOL = 0x50
_IFA_F_NODAD = 0x02


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Pair:
    """A VNIC's veth pair as it was found or made.

    Attributes
    ----------
    outer : int
        Index of the outer end.
    inner : int
        Index of the inner end, in its namespace.
    changed : bool
        Whether anything was made or moved.
    """

    outer: int
    inner: int
    changed: bool


def ensure_pair(route: IPRoute, fabric: str, spec: VnicSpec, namespace: str, group: int, links: dict[str, Link]
                ) -> Pair:
    """Make a VNIC's pair, or bring it to where it belongs; ends may still be down.

    Parameters
    ----------
    route : IPRoute
        In the fabric, as the caller is.
    fabric : str
        Its namespace.
    spec : VnicSpec
        What is wanted.
    namespace : str
        Name, or path of a container's, of the inner end's namespace. One with a name is made if it is not there.
    group : int
        Mark of the owner's interfaces.
    links : dict of str to Link
        The fabric's interfaces.

    Raises
    ------
    LaneError
        If there is an interface of somebody else by this name, or the namespace is not there.
    """
    outer = links.get(spec.outer)
    if outer is not None and outer.group != group:
        raise LaneError(f"VNIC {spec.name}: {fabric} has an interface {spec.outer} already that is none of this "
                        "lane's; remove it, or give the VNIC another outer name")
    memo = Memo.parse(outer.alias) if outer else None
    where = _find_inner(fabric, outer, [memo.namespace, namespace], links) if outer and memo else None
    if outer is not None and where is None:
        route.link("del", index=outer.index)        # half made, or its user took the other end away
        outer = memo = None
    changed = outer is None
    if outer is None or memo is None:
        route.link("add", ifname=spec.outer, kind="veth", mtu=spec.mtu, group=group,
                   peer={"ifname": inner_name(spec.outer), "address": spec.mac, "mtu": spec.mtu})
        outer = link_named(route, spec.outer)
        assert outer is not None
        offloads_off(spec.outer)
        memo, where = Memo(namespace, spec.mac), ""
    fresh = _announce(route, outer, memo, namespace)
    if fresh:
        create_namespace(namespace)
        changed = True
    if where != namespace:
        _move(spec, outer.peer or 0, where or fabric, namespace)
        memo = replace(memo, namespace=namespace)
        route.link("set", index=outer.index, ifalias=str(memo))
        changed = True
    # Of two interfaces with one index, the one that comes into a namespace gets another.
    peer = link_named(route, spec.outer).peer if changed else outer.peer
    if peer is None:
        raise LaneError(f"VNIC {spec.name}: {spec.outer} has no other end; do it again")
    return Pair(outer.index, peer, changed)


def known_pair(spec: VnicSpec, namespace: str, group: int, links: dict[str, Link]) -> Pair | None:
    """A VNIC's pair if it is whole, as far as its outer end tells; None if that is not so, and it is to be looked into.

    Parameters are those of :func:`ensure_pair`.
    """
    outer = links.get(spec.outer)
    memo = Memo.parse(outer.alias) if outer else None
    if outer is None or memo is None or outer.peer is None or outer.group != group or inner_name(spec.outer) in links:
        return None
    whole = (memo.namespace, memo.mac) == (namespace, spec.mac) and set(memo.made) <= {namespace}
    return Pair(outer.index, outer.peer, changed=False) if whole else None


def _announce(route: IPRoute, outer: Link, memo: Memo, namespace: str) -> bool:
    """Write down that a namespace will be made, before it is; returns whether it has to be."""
    fresh = "/" not in namespace and not is_namespace(namespace)
    if fresh and namespace not in memo.made:
        memo.made.append(namespace)
    if outer.alias != str(memo):
        route.link("set", index=outer.index, ifalias=str(memo))
    return fresh


def _find_inner(fabric: str, outer: Link, places: list[str], links: dict[str, Link]) -> str | None:
    """Namespace that an outer end's other end is in; empty: still in the fabric. None: in none of these."""
    for place in dict.fromkeys(places):
        with contextlib.suppress(OSError):
            link = in_namespace_of(place, lambda route: link_at(route, outer.peer or 0))
            if link and (link.peer, link.kind) == (outer.index, "veth") and not _same(place, fabric):
                return place
    inner = links.get(inner_name(outer.name))
    return "" if inner is not None and inner.index == outer.peer else None


def _same(one: str, other: str) -> bool:
    return os.path.samefile(namespace_path(one), namespace_path(other))


def _move(spec: VnicSpec, index: int, where: str, namespace: str) -> None:
    try:
        with _opened(namespace_path(namespace)) as target:
            in_namespace_of(where, lambda route: route.link("set", index=index, net_ns_fd=target))
    except FileNotFoundError:
        raise LaneError(f"VNIC {spec.name}: there is no namespace {namespace}; start what it belongs to first"
                        ) from None


def take_back(fabric: str, outer: Link, namespace: str) -> None:
    """Bring the inner end of a VNIC that goes into the fabric, if it is still in its namespace.

    The outer end's memo says which namespaces have to go: the pair must not go with the namespace before that is done.
    """
    def move(route: IPRoute) -> None:
        link = link_at(route, outer.peer or 0)
        if link and (link.peer, link.kind) == (outer.index, "veth"):
            with _opened(namespace_path(fabric)) as target:
                route.link("set", index=link.index, net_ns_fd=target, ifname=inner_name(outer.name))

    with contextlib.suppress(OSError):      # there is no such namespace any more
        in_namespace_of(namespace, move)


def remove_pairs(route: IPRoute, fabric: str, group: int, keep: set[str]) -> list[str]:
    """Remove an owner's pairs, but those whose outer ends are to be kept, with namespaces that were made for them and
    are nobody else's; returns what, for people."""
    changes, links = [], links_of(route)
    memos = memos_of(links)
    for link in links.values():
        if link.group == group and link.kind == "veth" and link.name not in keep:
            memo = memos.get(link.index)
            # The namespaces first: as long as the interface is there, it is known what was made for it.
            if memo is not None and memo.made:
                take_back(fabric, link, memo.namespace)
            changes += [f"removed namespace {name}" for name in (memo.made if memo else ())
                        if release_namespace(route, name, link.index, memos)]
            memos.pop(link.index, None)
            with contextlib.suppress(NetlinkError):     # went with its namespace
                route.link("del", index=link.index)
            changes.append(f"removed {link.name}")
    return changes


@dataclass(frozen=True)
class Inner:
    """A VNIC's inner end after it was settled.

    Attributes
    ----------
    mac : str
        Address that it has, which its user may have chosen.
    changed : bool
        Whether anything was not as wanted.
    """

    mac: str
    changed: bool


def settle_inner(spec: VnicSpec, pair: Pair, memo: Memo, namespace: str) -> Inner:
    """Give the inner end its name, MAC, MTU and addresses, and switch it on.

    If the VNIC's user may change its MAC address, only a new one of the specification is set.

    Raises
    ------
    LaneError
        If the namespace has another interface of that name, or can't have an address.
    """
    return in_namespace_of(namespace, lambda route: _settle(route, spec, pair, memo))


def _settle(route: IPRoute, spec: VnicSpec, pair: Pair, memo: Memo) -> Inner:
    link, changed = link_at(route, pair.inner), False
    if link is None or link.peer != pair.outer:
        raise LaneError(f"VNIC {spec.name}: its interface was taken out of its namespace meanwhile; do it again")
    if spec.namespace in memo.made and not (loopback := link_named(route, "lo")).up:
        route.link("set", index=loopback.index, state="up")
    if link.name != spec.interface:
        _rename(route, spec, link)
        changed = True
    if link.mac != spec.mac and (not spec.policy.mac_changes or memo.mac != spec.mac):
        route.link("set", index=link.index, address=spec.mac)
        link, changed = replace(link, mac=spec.mac), True
    if link.mtu != spec.mtu:
        route.link("set", index=link.index, mtu=spec.mtu)
        changed = True
    offloads_off(spec.interface)
    if not link.up:
        route.link("set", index=link.index, state="up")
        changed = True
    changed |= _settle_addresses(route, spec, link.index)
    return Inner(link.mac, changed)


def _rename(route: IPRoute, spec: VnicSpec, link: Link) -> None:
    try:
        try:
            route.link("set", index=link.index, ifname=spec.interface)
        except NetlinkError as error:
            if error.code != errno.EBUSY:       # kernels before 6.2: not while it is up
                raise
            route.link("set", index=link.index, state="down")
            route.link("set", index=link.index, ifname=spec.interface)
            route.link("set", index=link.index, state="up")
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        raise LaneError(f"VNIC {spec.name}: namespace {spec.namespace or 'of ' + spec.router} has another interface "
                        f"{spec.interface} already; give the VNIC another interface name") from None


def _settle_addresses(route: IPRoute, spec: VnicSpec, index: int) -> bool:
    wanted = {ip_interface(address) for address in spec.addresses}
    have, ours = set(), set()
    for row in route.get_addr(index=index):
        address = ip_interface(f"{row.get('local') or row.get('address')}/{row['prefixlen']}")
        have.add(address)
        if row.get("proto") == _ADDRESS_PROTOCOL:
            ours.add(address)
    for address in ours - wanted:
        route.addr("del", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
    for address in wanted - have:
        _add_address(route, spec, index, str(address.ip), address.network.prefixlen, address.version)
    return bool(ours - wanted or wanted - have)


def _add_address(route: IPRoute, spec: VnicSpec, index: int, address: str, length: int, version: int) -> None:
    if version == 6 and not Path(f"/proc/sys/net/ipv6/conf/{spec.interface}").exists():
        raise LaneError(f"VNIC {spec.name}: {address} can't be set, IPv6 is off in its namespace or in this kernel")
    if version == 6:
        # It may be off by default in a namespace that was made to be quiet.
        Path(f"/proc/sys/net/ipv6/conf/{spec.interface}/disable_ipv6").write_text("0")
    # Nobody else on its switch may have a VNIC's address: to look for duplicates would only take time.
    extra = {"flags": _IFA_F_NODAD} if version == 6 else {}
    route.addr("add", index=index, address=address, prefixlen=length, proto=_ADDRESS_PROTOCOL,
               family=socket.AF_INET6 if version == 6 else socket.AF_INET, **extra)
