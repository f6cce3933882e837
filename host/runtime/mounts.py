"""Mounts: the system calls that Python and older versions of mount(8) lack, and what is mounted now.

Identity-mapped mounts (mount_setattr(2), Linux 5.12) show a directory with other owners without changing a file.
"""

import ctypes
import errno
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["Mount", "bind_file", "clone_idmapped", "is_mount", "mount", "mounts_under", "read_mounts", "umount"]

# Numbers of system calls made since 2019 are the same on every architecture that matters here.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_IDMAP = 0x1, 0x00100000
_MS_BIND, _MNT_DETACH, _UMOUNT_NOFOLLOW = 4096, 2, 8

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class Mount(NamedTuple):
    """One line of mountinfo, see proc_pid_mountinfo(5)."""

    root: str
    point: str
    fstype: str
    source: str
    options: str


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


def read_mounts(text: str | None = None) -> list[Mount]:
    """What is mounted in this mount namespace, in order; `text` replaces /proc/self/mountinfo."""
    if text is None:
        text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    found = []
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        first, last = head.split(" "), tail.split(" ")
        found.append(Mount(_unescape(first[3]), _unescape(first[4]), last[0], _unescape(last[1]), last[2]))
    return found


def mounts_under(path: Path) -> list[str]:
    """Mount points at or below a path, deepest and newest first, so that they can be unmounted in this order."""
    top = os.path.realpath(path)
    points = [m.point for m in read_mounts() if m.point == top or m.point.startswith(top + "/")]
    return points[::-1]


def is_mount(path: Path) -> bool:
    """Whether something is mounted on exactly this path; unlike `os.path.ismount` also right for bind mounts."""
    real = os.path.realpath(path)
    return any(m.point == real for m in read_mounts())


def mount(source: str, target: Path, fstype: str, options: str = "", flags: int = 0) -> None:
    """mount(2).

    Raises
    ------
    OSError
    """
    _check(
        _libc.mount(source.encode(), os.fsencode(target), fstype.encode(), ctypes.c_ulong(flags), options.encode()),
        f"mounting {fstype} on {target}",
    )


def bind_file(source: str, target: Path) -> None:
    """Bind a file, such as a namespace, to an existing file.

    Raises
    ------
    OSError
    """
    mount(source, target, "", flags=_MS_BIND)


def umount(path: Path) -> None:
    """Unmount what is mounted on a path, at once for new users, later for those that still have a file open in it.

    Nothing being mounted there is fine.

    Raises
    ------
    OSError
    """
    while True:
        try:
            _check(_libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW), f"unmounting {path}")
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return
            raise


@contextmanager
def _user_namespace(first: int, count: int) -> Iterator[int]:
    """Descriptor of a user namespace in which the ids 0.. are the machine's `first`.."""
    # A program of its own, since forking a process with threads from Python isn't safe.
    with subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(b"\n")
            child.stdin.flush()
            if child.stdout.read(1) != b"\n":
                raise OSError(errno.EPERM, "unshare could not make a user namespace")
            for kind in ("uid", "gid"):
                Path(f"/proc/{child.pid}/{kind}_map").write_text(f"0 {first} {count}\n")
            fd = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            with suppress(BrokenPipeError):
                child.stdin.close()
    try:
        yield fd
    finally:
        os.close(fd)


def clone_idmapped(source: Path, target: Path, first: int, count: int) -> None:
    """Mount directory `source` read-only on `target`, where owners 0..count-1 show as `first`...

    Raises
    ------
    OSError
        ENOSYS or EINVAL where the kernel or the file system can't do it.
    """
    tree = _check(
        _libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC),
        f"open_tree {source}",
    )
    try:
        with _user_namespace(first, count) as userns:
            attr = _MountAttr(attr_set=_MOUNT_ATTR_IDMAP | _MOUNT_ATTR_RDONLY, userns_fd=userns)
            _check(
                _libc.syscall(
                    _MOUNT_SETATTR,
                    tree,
                    b"",
                    _AT_EMPTY_PATH,
                    ctypes.byref(attr),
                    ctypes.c_size_t(ctypes.sizeof(attr)),
                ),
                f"mapping the owners of {source}",
            )
        _check(
            _libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH),
            f"move_mount to {target}",
        )
    finally:
        os.close(tree)
