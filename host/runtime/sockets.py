"""What CRIU neither saves nor takes of the sockets of processes, seen and set from outside (pidfd_getfd(2), Linux 5.6).

- Netlink sockets: it refuses groups above 32. They are left before a checkpoint, and joined again after it.
- Sockets of IP: it restores no membership in multicast groups. Which socket is in which one, the kernel does not list;
  but for the groups of an interface, it answers for each socket whether it has a filter for them (RFC 3678), and so
  whether it is a member.
"""

import ctypes
import errno
import os
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from pydantic import BaseModel

__all__ = ["Membership", "NetlinkGroup", "join_groups", "join_netlink_groups", "leave_netlink_groups", "memberships"]

_PIDFD_GETFD = 438
_SOL_NETLINK, _ADD_MEMBERSHIP, _DROP_MEMBERSHIP, _LIST_MEMBERSHIPS = 270, 1, 2, 9
#: The last group that CRIU takes.
_MOST = 32
#: Bytes of a bit map of groups, of more than there are.
_GROUP_BYTES = 64
_JOIN_GROUP, _MSFILTER = 42, 48
_SOCKADDR_STORAGE = 128
#: gf_interface, gf_group, gf_fmode, gf_numsrc, and no source.
_GROUP_FILTER = struct.Struct(f"=I4x{_SOCKADDR_STORAGE}sII")
_GROUP_REQUEST = struct.Struct(f"=I4x{_SOCKADDR_STORAGE}s")
_INODE = re.compile(r"socket:\[(\d+)\]")

_libc = ctypes.CDLL(None, use_errno=True)


class NetlinkGroup(BaseModel):
    """A netlink group of a socket."""

    pid: int                # in the processes' own namespace
    descriptor: int
    group: int


class Membership(BaseModel):
    """A multicast group that a socket is a member of, on an interface."""

    pid: int                # in the processes' own namespace
    descriptor: int
    ifindex: int
    group: str

    @property
    def family(self) -> int:
        """Address family of the group."""
        return socket.AF_INET6 if ":" in self.group else socket.AF_INET


@contextmanager
def _socket_of(pid: int, descriptor: int) -> Iterator[socket.socket]:
    """A copy of another process's socket."""
    process = os.pidfd_open(pid)
    try:
        copy = _libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if copy < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"descriptor {descriptor} of process {pid}: {os.strerror(code)}")
    with socket.socket(fileno=copy) as found:
        yield found


def _inner_pid(pid: int) -> int:
    """Number of a process in the innermost namespace that it is in."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return pid


def _by_inner_pid(pids: Iterable[int]) -> dict[int, int]:
    found = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            found[_inner_pid(pid)] = pid
    return found


def _sockets(pid: int) -> dict[int, int]:
    """Descriptors of a process that are sockets, and their inodes."""
    found = {}
    with suppress(FileNotFoundError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if match := _INODE.fullmatch(os.readlink(f"/proc/{pid}/fd/{name}")):
                    found[int(name)] = int(match[1])
    return found


def _inodes(pid: int, *tables: str) -> set[int]:
    """Inodes of the sockets in tables of a process's network namespace."""
    found = set()
    for table in tables:
        with suppress(FileNotFoundError):
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()
            column = lines[0].split().index("Inode") if "Inode" in lines[0] else 9
            found |= {int(line.split()[column]) for line in lines[1:]}
    return found


# Netlink


def leave_netlink_groups(pids: Iterable[int]) -> list[NetlinkGroup]:
    """Leave the netlink groups that CRIU refuses.

    Parameters
    ----------
    pids : iterable of int
        Processes, as this one sees them.

    Returns
    -------
    list of NetlinkGroup
        What :func:`join_netlink_groups` takes.
    """
    left = []
    for inner, pid in _by_inner_pid(pids).items():
        netlink = _inodes(pid, "netlink")
        for descriptor, inode in _sockets(pid).items():
            if inode not in netlink:
                continue
            with _socket_of(pid, descriptor) as found:
                groups = int.from_bytes(found.getsockopt(_SOL_NETLINK, _LIST_MEMBERSHIPS, _GROUP_BYTES), "little")
                for group in range(_MOST + 1, 8 * _GROUP_BYTES + 1):
                    if groups >> (group - 1) & 1:
                        found.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, group)
                        left.append(NetlinkGroup(pid=inner, descriptor=descriptor, group=group))
    return left


def join_netlink_groups(pids: Iterable[int], groups: Iterable[NetlinkGroup]) -> None:
    """Join netlink groups again that were left, as the same processes or as those that were made of their checkpoint.

    Raises
    ------
    OSError
        If a process or socket is not there.
    """
    outer = _by_inner_pid(pids)
    for item in groups:
        with _socket_of(_known(outer, item.pid), item.descriptor) as found:
            found.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, item.group)


def _known(outer: dict[int, int], inner: int) -> int:
    if inner not in outer:
        raise ProcessLookupError(errno.ESRCH, f"there is no process {inner} in the container")
    return outer[inner]


# Multicast


def memberships(pids: Iterable[int]) -> list[Membership]:
    """Memberships in multicast groups of all sockets of processes in one network namespace.

    Parameters
    ----------
    pids : iterable of int
        Processes, as this one sees them.
    """
    processes = _by_inner_pid(pids)
    if not processes:
        return []
    any_pid = next(iter(processes.values()))
    groups = {socket.AF_INET: _ipv4_groups(any_pid), socket.AF_INET6: _ipv6_groups(any_pid)}
    inodes = {socket.AF_INET: _inodes(any_pid, "raw", "udp", "icmp"),
              socket.AF_INET6: _inodes(any_pid, "raw6", "udp6", "icmp6")}
    found = []
    for inner, pid in processes.items():
        for descriptor, inode in sorted(_sockets(pid).items()):
            for family, candidates in groups.items():
                if candidates and inode in inodes[family]:
                    with _socket_of(pid, descriptor) as it:
                        found += [Membership(pid=inner, descriptor=descriptor, ifindex=ifindex, group=group)
                                  for ifindex, group in sorted(candidates)
                                  if _is_member(it, family, ifindex, group)]
    return found


def join_groups(pids: Iterable[int], members: Iterable[Membership]) -> None:
    """Make sockets members of multicast groups; those that are stay so.

    Raises
    ------
    OSError
        If a process, socket or interface is not there.
    """
    outer = _by_inner_pid(pids)
    for item in members:
        request = _GROUP_REQUEST.pack(item.ifindex, _address(item.family, item.group))
        with _socket_of(_known(outer, item.pid), item.descriptor) as found:
            try:
                found.setsockopt(_level(item.family), _JOIN_GROUP, request)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise


def _level(family: int) -> int:
    return socket.IPPROTO_IPV6 if family == socket.AF_INET6 else socket.IPPROTO_IP


def _address(family: int, address: str) -> bytes:
    """A sockaddr_in or sockaddr_in6."""
    packed = socket.inet_pton(family, address)
    head = struct.pack("=H", family) + bytes(2)
    return (head + bytes(4) + packed + bytes(4)) if family == socket.AF_INET6 else head + packed


def _is_member(it: socket.socket, family: int, ifindex: int, group: str) -> bool:
    # The buffer is asked from, too, which socket.getsockopt() does not do.
    buffer = ctypes.create_string_buffer(_GROUP_FILTER.pack(ifindex, _address(family, group), 0, 0))
    size = ctypes.c_uint32(_GROUP_FILTER.size)
    if _libc.getsockopt(it.fileno(), _level(family), _MSFILTER, buffer, ctypes.byref(size)) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EADDRNOTAVAIL, errno.ENODEV, errno.EINVAL):
        return False
    raise OSError(code, f"multicast group {group}: {os.strerror(code)}")


def _ipv4_groups(pid: int) -> list[tuple[int, str]]:
    """Interface and address of each IPv4 group, without 224.0.0.1, of which all are members."""
    found, ifindex = [], 0
    with suppress(FileNotFoundError):
        for line in Path(f"/proc/{pid}/net/igmp").read_text().splitlines()[1:]:
            fields = line.split()
            if not line.startswith("\t"):
                ifindex = int(fields[0])
            else:
                group = str(IPv4Address(int(fields[0], 16).to_bytes(4, "little")))
                if group != "224.0.0.1":
                    found.append((ifindex, group))
    return found


def _ipv6_groups(pid: int) -> list[tuple[int, str]]:
    """The same of IPv6, with those that the kernel is a member of itself."""
    found = []
    with suppress(FileNotFoundError):
        for line in Path(f"/proc/{pid}/net/igmp6").read_text().splitlines():
            fields = line.split()
            found.append((int(fields[0]), str(IPv6Address(bytes.fromhex(fields[2])))))
    return found
