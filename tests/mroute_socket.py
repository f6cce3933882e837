"""Multicast routes of the kernel, as a routing daemon sets them (Linux ``linux/mroute.h``, ``linux/mroute6.h``)."""

import socket
import struct
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from polyrouter.host.netns import in_namespace

__all__ = ["MrouteSocket"]

_INIT, _DONE, _ADD_VIF, _DEL_VIF, _ADD_MFC, _DEL_MFC = range(200, 206)      # MRT_*, and MRT6_* are the same
_VIFF_USE_IFINDEX, _VIFF_REGISTER = 0x8, 0x4
_MOST_VIFS = 32
_NOT = 255      # as a TTL threshold: no way out
_VIF = struct.Struct("=HBBIi4s")                        # vifctl
_MFC = struct.Struct(f"=4s4sH{_MOST_VIFS}s2xIIIi")      # mfcctl
_MIF = struct.Struct("=HBBHxxI")                        # mif6ctl
_ADDRESS = struct.Struct("=HHI16sI")                    # sockaddr_in6
_SET = struct.Struct("=H2x8I")                          # the rest of mf6cctl


class MrouteSocket:
    """Multicast routing of a namespace, on from here until :meth:`close`.

    Parameters
    ----------
    namespace : path
        The namespace's file.
    ipv6 : bool
        The family.
    """

    def __init__(self, namespace: Path | str, *, ipv6: bool = False) -> None:
        self.ipv6, self._namespace = ipv6, namespace
        self._level = socket.IPPROTO_IPV6 if ipv6 else socket.IPPROTO_IP
        family, protocol = ((socket.AF_INET6, socket.IPPROTO_ICMPV6) if ipv6
                            else (socket.AF_INET, socket.IPPROTO_IGMP))
        self._socket = in_namespace(namespace, lambda: socket.socket(family, socket.SOCK_RAW, protocol))
        self._socket.setsockopt(self._level, _INIT, 1)

    def close(self) -> None:
        """End multicast routing; the kernel forgets all routes."""
        self._socket.close()

    def add_interface(self, number: int, name: str | None) -> None:
        """Make an interface known by a number; without a name, the one that PIM registers go through."""
        index = 0 if name is None else in_namespace(self._namespace, lambda: socket.if_nametoindex(name))
        if self.ipv6:
            self._set(_ADD_VIF, _MIF.pack(number, 0, 1, index, 0))
        else:
            flags = _VIFF_REGISTER if name is None else _VIFF_USE_IFINDEX
            self._set(_ADD_VIF, _VIF.pack(number, flags, 1, 0, index, bytes(4)))

    def add(self, source: str | None, group: str, parent: int, out: Mapping[int, int]) -> None:
        """Add or change a route, (*,G) without a source: from an interface to others, with their TTL thresholds."""
        self._set(_ADD_MFC, self._route(source, group, parent, out))

    def delete(self, source: str | None, group: str, parent: int) -> None:
        """Take a route away."""
        self._set(_DEL_MFC, self._route(source, group, parent, {}))

    def _route(self, source: str | None, group: str, parent: int, out: Mapping[int, int]) -> bytes:
        addresses = [ip_address(text).packed for text in (source or ("::" if self.ipv6 else "0.0.0.0"), group)]
        if self.ipv6:
            names = b"".join(_ADDRESS.pack(socket.AF_INET6, 0, 0, address, 0) for address in addresses)
            return names + _SET.pack(parent, sum(1 << number for number in out), *[0] * 7)
        ttls = bytes(out.get(number, _NOT) for number in range(_MOST_VIFS))
        return _MFC.pack(*addresses, parent, ttls, 0, 0, 0, 0)

    def _set(self, option: int, value: bytes) -> None:
        self._socket.setsockopt(self._level, option, value)
