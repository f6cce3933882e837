"""Tells which files of a directory were written (``inotify(7)``)."""

import ctypes
import os
import struct
from pathlib import Path

__all__ = ["Written"]

_IN_CLOSE_WRITE = 0x8
_EVENT = struct.Struct("=iIII")     # wd, mask, cookie, len
_READ = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class Written:
    """Files of a directory that whoever wrote them has closed.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            _check(_libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _IN_CLOSE_WRITE))
        except OSError:
            os.close(self._descriptor)
            raise

    def fileno(self) -> int:
        """Descriptor that is readable when there are some."""
        return self._descriptor

    def names(self) -> list[str]:
        """Those of now, without waiting; a file may be there several times."""
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return []
        found, offset = [], 0
        while offset + _EVENT.size <= len(data):
            _, _, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            found.append(os.fsdecode(data[offset:offset + length].rstrip(b"\0")))
            offset += length
        return found

    def close(self) -> None:
        """Look no more."""
        os.close(self._descriptor)


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
