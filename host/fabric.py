"""Namespaces, bridges, veth pairs and TAPs of a network, through pyroute2.

``ensure_*`` make something so and say whether they had to change anything; ``remove_*`` don't mind if it is gone.
"""

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from .netns import in_namespace
from .spec import HostSpec, NodeSpec

__all__ = ["HOST_TAP_MTU", "Fabric", "create_namespace", "list_namespaces", "namespace_path", "processes_in",
           "remove_namespace", "set_up", "tap_mtu"]

#: The host port carries frames of up to 9018 bytes with a header of 32.
HOST_TAP_MTU = 9100

_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_IFF_UP, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 1, 0x8913, 0x8914
_SIOCETHTOOL = 0x8946
# Receive and transmit checksums, scatter-gather, TCP segmentation, GSO, GRO.
_ETHTOOL_OFFLOADS = (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C)
_NUD_PERMANENT = 0x80
#: Bridges drop 01:80:c2:00:00:0X; bit X of the mask lets them through. 0, 1 and 2 can't be: LLDP (0E), 802.1X (03) can.
_GROUP_FORWARD_MASK = 0xFFF8

T = TypeVar("T")


def tap_mtu(core: dict[str, Any]) -> int:
    """MTU of a port's TAP: what the data plane takes as the longest frame, without header and FCS."""
    return int(core["max_frame"]) - 18


def namespace_path(name: str) -> Path:
    """Where a named network namespace is mounted."""
    return Path("/run/netns") / name


def list_namespaces() -> set[str]:
    """Names of all named network namespaces."""
    return set(netns.listnetns())


def processes_in(namespaces: list[str]) -> Iterator[int]:
    """Processes that are in one of the namespaces."""
    wanted = set()
    for name in namespaces:
        with contextlib.suppress(OSError):
            wanted.add(namespace_path(name).stat().st_ino)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "ns/net").stat().st_ino in wanted:
                    yield int(entry.name)


def remove_namespace(name: str) -> bool:
    """Remove a namespace and with it all interfaces in it."""
    if name not in list_namespaces():
        return False
    netns.remove(name)
    return True


def create_namespace(name: str) -> bool:
    """Make a namespace in which nothing is sent that nobody asked for."""
    if name in list_namespaces():
        return False
    netns.create(name)

    def settle() -> None:
        # What the kernel would send of its own on these interfaces would only be noise on the wires.
        for scope in ("all", "default"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
        # Bridged frames are not the business of this machine's packet filter.
        for filter_name in ("iptables", "ip6tables", "arptables"):
            with contextlib.suppress(OSError):
                Path(f"/proc/sys/net/bridge/bridge-nf-call-{filter_name}").write_text("0")

    in_namespace(namespace_path(name), settle)
    return True


def offloads_off(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in _ETHTOOL_OFFLOADS:
            value = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(sock, _SIOCETHTOOL, request)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise


def _tap(name: str, *, persist: bool) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
        if persist:
            fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Fabric:
    """The namespace of a network's cables.

    Parameters
    ----------
    namespace : str
        Its name. It is made by :meth:`ensure_namespace`.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._route: IPRoute | None = None

    def __enter__(self) -> "Fabric":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the namespace."""
        if self._route is not None:
            self._route.close()
            self._route = None

    @property
    def route(self) -> IPRoute:
        """Netlink socket in the namespace."""
        if self._route is None:
            self._route = IPRoute(netns=self.namespace)
        return self._route

    def ensure_namespace(self) -> bool:
        """Make the namespace; agents talk over its loop-back interface."""
        made = create_namespace(self.namespace)
        loopback = self.links()["lo"]
        if not loopback["up"]:
            self.route.link("set", index=loopback["index"], state="up")
        return made

    def links(self) -> dict[str, dict[str, Any]]:
        """Interfaces by name: ``index``, ``master`` (name of the bridge it is in, or None), ``mtu``, ``up``."""
        if self.namespace not in list_namespaces():
            return {}
        return _links(self.route)

    def ensure_tap(self, name: str, mtu: int) -> bool:
        """Make a persistent TAP; it outlives whoever has it open."""
        existing = self.links().get(name)
        if existing and existing["mtu"] == mtu and existing["up"]:
            return False
        if not existing:
            in_namespace(namespace_path(self.namespace), lambda: os.close(_tap(name, persist=True)))
        self.route.link("set", index=self._index(name), mtu=mtu, state="up")
        return True

    def ensure_board(self, node: NodeSpec) -> list[str]:
        """Make the TAPs of a node's board, if it is a simulated one; returns those that were not as they are now."""
        mtus = dict.fromkeys(node.interfaces, tap_mtu(node.core))
        if node.host_tap in mtus:
            mtus[node.host_tap] = HOST_TAP_MTU
        return [name for name, mtu in mtus.items() if self.ensure_tap(name, mtu)]

    def open_tap(self, name: str) -> int:
        """File descriptor of a TAP, non-blocking, closed on exec. Only one process at a time can have it."""
        return in_namespace(namespace_path(self.namespace), lambda: _tap(name, persist=False))

    def ensure_bridge(self, name: str, members: list[str]) -> bool:
        """Make a bridge that has at least these ports; it learns, and does nothing else of its own.

        Interfaces that are not there are left out.
        """
        links, changed = self.links(), False
        if name not in links:
            self.route.link("add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0,
                            br_group_fwd_mask=_GROUP_FORWARD_MASK)
            self.route.link("set", index=self._index(name), mtu=9000, state="up")
            changed = True
        for member in members:
            if member in links and links[member]["master"] != name:
                self.route.link("set", index=links[member]["index"], master=self._index(name))
                changed = True
        return changed

    def release(self, name: str) -> bool:
        """Take an interface out of its bridge."""
        link = self.links().get(name)
        if link is None or link["master"] is None:
            return False
        self.route.link("set", index=link["index"], master=0)
        return True

    def remove_link(self, name: str) -> bool:
        """Remove an interface of any kind."""
        link = self.links().get(name)
        if link is None:
            return False
        with contextlib.suppress(NetlinkError):       # its peer's namespace may have taken it along
            self.route.link("del", index=link["index"])
        return True

    def ensure_veth(self, outer: str, inner: str, namespace: Path | str, mac: str, mtu: int, *, index: int = 0) -> bool:
        """Make a veth pair between the fabric and another namespace, both ends up, without offloads.

        ``index`` is the number that the inner end is to have; 0: any.
        """
        there = namespace_path(self.namespace)
        if in_namespace(there, lambda: _is_there(outer)):
            return False
        with _NamespaceFile(namespace) as descriptor:
            # The inner end keeps its name from the start: no other interface of it can be in the way.
            self.route.link("add", ifname=outer, kind="veth", mtu=mtu, flags=_IFF_UP, change=_IFF_UP,
                            peer={"ifname": inner, "address": mac, "mtu": mtu, "net_ns_fd": descriptor, "index": index})
        in_namespace(there, lambda: offloads_off(outer))
        in_namespace(namespace, lambda: offloads_off(inner))
        in_namespace(namespace, lambda: set_up(inner))
        return True

    def ensure_host(self, host: HostSpec) -> bool:
        """Make a host's namespace with its interface, address, default route and neighbours. A VNIC is there before."""
        changed = create_namespace(host.namespace)
        if not host.vnic:
            changed |= self.ensure_veth(host.outer, "eth0", namespace_path(host.namespace), host.mac, host.mtu)
            changed |= self.ensure_bridge(host.bridge, [host.outer])
        with IPRoute(netns=host.namespace) as route:
            return _settle_host(route, host) or changed

    def host_is_whole(self, host: HostSpec) -> bool:
        """Whether a host's namespace and interface are there."""
        return host.namespace in list_namespaces() and self.links().get(host.outer, {}).get("master") == host.bridge

    def _index(self, name: str) -> int:
        found = self.route.link_lookup(ifname=name)
        if not found:
            raise LookupError(f"there is no interface {name} in {self.namespace}")
        return found[0]


class _NamespaceFile:
    """A namespace as an open file: pyroute2 takes names and numbers, runtimes give paths."""

    def __init__(self, path: Path | str) -> None:
        self.path = path

    def __enter__(self) -> int:
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self.descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def _is_there(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def set_up(name: str) -> None:
    """Set an interface of the calling thread's namespace up (``netdevice(7)``).

    Not by pyroute2, whose socket alone takes as long as all else that a router which moves has to wait for here.
    """
    request = struct.pack("16sH14x", name.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | _IFF_UP))


def _links(route: IPRoute) -> dict[str, dict[str, Any]]:
    rows = list(route.get_links())
    names = {row["index"]: row.get("ifname") for row in rows}
    return {row.get("ifname"): {"index": row["index"], "master": names.get(row.get("master")), "mtu": row.get("mtu"),
                                "up": bool(row["flags"] & 1), "mac": row.get("address")} for row in rows}


def _ipv6(name: str, *, enable: bool) -> bool:
    """Turn IPv6 of an interface of this namespace on or off. On: with what is said to it, and nothing by itself."""
    top = Path("/proc/sys/net/ipv6/conf", name)
    if not top.exists():
        if enable:
            raise FileNotFoundError("this machine's kernel has no IPv6")
        return False
    values = {"disable_ipv6": str(int(not enable))}
    if enable:
        # Nothing else in the network has a host's addresses: to look for duplicates would only take time.
        values = {"accept_ra": "0", "autoconf": "0", "accept_dad": "0", "router_solicitations": "0"} | values
    changed = False
    for key, value in values.items():
        if (top / key).read_text().strip() != value:
            (top / key).write_text(value)
            changed = True
    return changed


def _settle_host(route: IPRoute, host: HostSpec) -> bool:
    """Addresses, routes and neighbours as they should be. Neighbours are permanent: members of other networks on the
    segment have the same addresses, and would answer for them."""
    changed = False
    links = _links(route)
    for name in ("lo", "eth0"):
        if not links[name]["up"]:
            route.link("set", index=links[name]["index"], state="up")
            changed = True
    index = links["eth0"]["index"]
    changed |= in_namespace(namespace_path(host.namespace), lambda: _ipv6("eth0", enable=host.address6 is not None))
    changed |= _settle_family(route, index, socket.AF_INET, host.address, host.gateway, host.neighbours)
    if host.address6 is not None:
        changed |= _settle_family(route, index, socket.AF_INET6, host.address6, host.gateway6, host.neighbours)
    return changed


def _settle_family(route: IPRoute, index: int, family: int, address: str | None, gateway: str | None,
                   neighbours: dict[str, str]) -> bool:
    """The part of :func:`_settle_host` that is of one family."""
    changed = False
    ipv6 = family == socket.AF_INET6
    wanted = set()
    if address is not None:
        interface = ip_interface(address)
        wanted.add((str(interface.ip), interface.network.prefixlen))
    rows = route.get_addr(family=family, index=index)
    have = {(row.get("address"), row["prefixlen"]) for row in rows
            if not (ipv6 and ip_address(row.get("address")).is_link_local)}
    for old in have - wanted:
        route.addr("del", index=index, family=family, address=old[0], prefixlen=old[1])
        changed = True
    for new in wanted - have:
        route.addr("add", index=index, family=family, address=new[0], prefixlen=new[1])
        changed = True
    rows = route.get_neighbours(family=family, ifindex=index)
    have_neighbours = {row.get("dst"): row.get("lladdr") for row in rows if row["state"] & _NUD_PERMANENT}
    wanted_neighbours = {destination: mac for destination, mac in neighbours.items()
                         if (ip_address(destination).version == 6) == ipv6}
    for gone in set(have_neighbours) - set(wanted_neighbours):
        route.neigh("del", ifindex=index, family=family, dst=gone)
        changed = True
    for destination, mac in wanted_neighbours.items():
        if have_neighbours.get(destination) != mac:
            route.neigh("replace", ifindex=index, family=family, dst=destination, lladdr=mac, state=_NUD_PERMANENT)
            changed = True
    gateways = [row.get("gateway") for row in route.get_default_routes(family=family)]
    if gateway and gateways != [gateway]:
        route.route("replace", family=family, dst="default", gateway=gateway, oif=index)
        changed = True
    elif not gateway and gateways:
        route.route("del", family=family, dst="default")
        changed = True
    return changed
