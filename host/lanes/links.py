"""What interfaces a namespace has, as the software lane needs to see them."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ..netns import in_namespace

__all__ = ["Link", "find_link", "in_namespace_of", "link_at", "link_named", "links_of", "namespace_path"]

T = TypeVar("T")

#: BR_STATE_FORWARDING.
_FORWARDING = 3


@dataclass(frozen=True)
class Link:
    """An interface.

    Attributes
    ----------
    peer : int or None
        Index of a veth pair's other end, in whatever namespace that is.
    master : int or None
        Index of its bridge.
    forwarding : bool
        As a bridge's port: whether frames pass.
    learning, flood : bool
        As a bridge's port: whether the bridge learns from it, and sends there what it knows no port for.
    counters : dict
        Its counters, ``rx_packets`` and so on.
    """

    index: int
    name: str
    kind: str
    group: int
    alias: str | None
    peer: int | None
    master: int | None
    mac: str
    mtu: int
    up: bool
    forwarding: bool
    learning: bool
    flood: bool
    counters: dict[str, int]


def namespace_path(name: str) -> str:
    """Path of a namespace that is given by name or path."""
    return name if "/" in name else f"/run/netns/{name}"


def in_namespace_of(namespace: str, function: Callable[[IPRoute], T]) -> T:
    """Call a function with a netlink socket in a namespace, given by name or path.

    pyroute2 makes a socket's connection when it is used first, and one for each thread: so all of its use has to be in
    the thread that is in the namespace.

    Raises
    ------
    OSError
        If there is no such namespace. What the function raises is passed on.
    """
    def work() -> T:
        with IPRoute() as route:
            return function(route)

    return in_namespace(namespace_path(namespace), work)


def links_of(route: IPRoute) -> dict[str, Link]:
    """All interfaces of a namespace by name."""
    return {link.name: link for link in map(_link, route.get_links())}


def find_link(route: IPRoute, name: str) -> Link | None:
    """An interface of a namespace by name, None if there is none; among many this takes less time than all of them."""
    try:
        return next((_link(row) for row in route.link("get", ifname=name)), None)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
        return None


def _link(row: Any) -> Link:
    info = row.get("linkinfo")
    port = info.get_attr("IFLA_INFO_SLAVE_DATA") if info else None
    counters = row.get("stats64") or {}
    return Link(row["index"], row.get("ifname"), (info.get_attr("IFLA_INFO_KIND") if info else "") or "",
                row.get("group") or 0, row.get("ifalias"), row.get("link"), row.get("master"), row.get("address") or "",
                row.get("mtu"), bool(row["flags"] & 1), _state(port) == _FORWARDING,
                _flag(port, "IFLA_BRPORT_LEARNING"), _flag(port, "IFLA_BRPORT_UNICAST_FLOOD"),
                {key: counters[key] for key in ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes") if key in counters})


def link_at(route: IPRoute, index: int) -> Link | None:
    """The interface with an index, if there is one. The kernel brings its state up to date first, since 6.14."""
    try:
        return _link(route.link("get", index=index)[0])
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
        return None


def link_named(route: IPRoute, name: str) -> Link:
    """The interface of a name; it must be there.

    Raises
    ------
    NetlinkError
        If it is not.
    """
    return _link(route.link("get", ifname=name)[0])


def _state(port: Any) -> int | None:
    return port.get_attr("IFLA_BRPORT_STATE") if hasattr(port, "get_attr") else None


def _flag(port: Any, name: str) -> bool:
    return bool(port.get_attr(name)) if hasattr(port, "get_attr") else False
