"""What this process and machine must have before a network is made."""

import os
import shutil
import stat

from .errors import NetworkError

__all__ = ["require_machine", "require_root"]

#: The device /dev/net/tun.
_TUN = os.makedev(10, 200)


def require_root() -> None:
    """Say what is missing if this process may not make namespaces.

    Raises
    ------
    NetworkError
        If it is not root's.
    """
    if os.geteuid() != 0:
        raise NetworkError("this needs root, for namespaces and interfaces: run it with sudo")


def require_machine() -> None:
    """Say what is missing before anything is started, if networks can't be made here.

    Raises
    ------
    NetworkError
        If this process is not root's, or there is no runtime or no TAPs.
    """
    require_root()
    if shutil.which("runc") is None:
        raise NetworkError("runc is not in PATH: apt-get install runc")
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
        usable = stat.S_ISCHR(os.stat("/dev/net/tun").st_mode) and os.stat("/dev/net/tun").st_rdev == _TUN
    except OSError:
        usable = False
    if not usable:
        raise NetworkError("/dev/net/tun is not usable: modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200; "
                           "a container must be given that device")
