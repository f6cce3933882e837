"""The key that a host shares with a board, from a file."""

import errno
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

from ...hdl.hostlink.layouts import KEY_BYTES
from .transport import TransportError

__all__ = ["make_key", "read_key"]

_HEX = re.compile(rb"\s*([0-9a-fA-F]{%d})\s*" % (2 * KEY_BYTES))
#: Longer than any key file, so that a longer one is recognized.
_MOST = 4096


def make_key(path: Path) -> bool:
    """Make a key that only its owner may read, in a folder that is his alone if it is new.

    It is there whole or not at all, and the first of two that make one at the same time has made it.

    Parameters
    ----------
    path : path

    Returns
    -------
    bool
        Whether it was made; False if there is a file already.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}-") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
        file.flush()
        try:
            os.link(file.name, path)
        except FileExistsError:
            return False
    return True


def read_key(path: Path | str) -> bytes:
    """A board's key: 32 hexadecimal digits, or 16 bytes.

    Parameters
    ----------
    path : path
        A file that others than its owner and group may not read or write.

    Raises
    ------
    TransportError
        If there is none, its rights are too wide, or what is in it is no key.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST)
    except OSError as error:
        raise TransportError(error.errno, f"cannot read the board's key from {path}: {error.strerror}; it must be the "
                                          "one that is in the board, see docs/boards.md, \"Host link\"") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise TransportError(errno.EPERM, f"{path} has mode {stat.S_IMODE(mode):04o}, so everybody may read or change "
                                          f"the board's key: chmod 600 {path}, and consider the key known")
    if match := _HEX.fullmatch(content):
        key = bytes.fromhex(match[1].decode())
    elif len(content) == KEY_BYTES:
        key = content
    else:
        raise TransportError(errno.EINVAL, f"{path} has {len(content)} bytes that are no key: it must have 32 "
                                           "hexadecimal digits, or 16 bytes")
    if not any(key):
        raise TransportError(errno.EINVAL, f"the key in {path} is zero, which everybody knows: make one with "
                                           "'openssl rand -hex 16', and build the board with it")
    return key
