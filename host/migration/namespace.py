"""What of a network namespace is not in its tables: its interfaces, and its settings under ``/proc/sys/net``."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from ..mirror.netlink import RTM_GETLINK, Link, MirrorSocket, decode
from ..netns import in_namespace

__all__ = ["LinkState", "NamespaceState", "put_state", "state_of"]

#: Settings that belong to a namespace. What is not there is passed over.
_SETTINGS = ("ipv4/*", "ipv4/conf/*/*", "ipv4/neigh/*/*", "ipv6/*", "ipv6/conf/*/*", "ipv6/neigh/*/*",
             "ipv6/route/*", "ipv6/icmp/*")
#: Counters and one-time actions, or of all the machine.
_NOT = frozenset({"flush", "stable_secret", "tcp_fastopen_key", "ipfrag_time", "tcp_congestion_control",
                  "tcp_available_congestion_control", "tcp_available_ulp", "tcp_allowed_congestion_control"})
_TOP = Path("/proc/sys/net")


class LinkState(BaseModel):
    """An interface."""

    name: str
    index: int
    up: bool


class NamespaceState(BaseModel):
    """Interfaces, and settings that differ from a new namespace's."""

    links: list[LinkState] = []
    settings: dict[str, str] = {}

    def of_interfaces(self, names: Iterable[str]) -> "NamespaceState":
        """Only the settings of these interfaces."""
        wanted = set(names)
        return NamespaceState(settings={name: value for name, value in self.settings.items()
                                        if wanted & set(name.split("/"))})


def state_of(namespace: Path | str, fresh: dict[str, str]) -> NamespaceState:
    """State of a namespace.

    Parameters
    ----------
    namespace : path
    fresh : dict
        Settings of a new one (:func:`settings`).
    """
    mirror = MirrorSocket(namespace)
    try:
        links = [event.item for part in mirror.dump_raw(RTM_GETLINK) for event in decode(part)
                 if isinstance(event.item, Link)]
    finally:
        mirror.close()
    found = in_namespace(namespace, settings)
    return NamespaceState(
        links=[LinkState(name=link.name, index=link.ifindex, up=bool(link.flags & 1)) for link in links],
        settings={name: value for name, value in found.items() if value != fresh.get(name, found.get(_default(name)))})


def _default(name: str) -> str:
    """What a new interface takes a setting of its own from."""
    parts = name.split("/")
    return "/".join((*parts[:2], "default", *parts[3:])) if len(parts) == 4 else name


def settings() -> dict[str, str]:
    """Settings of the calling thread's namespace."""
    found = {}
    for pattern in _SETTINGS:
        for path in _TOP.glob(pattern):
            if path.name not in _NOT:
                try:
                    found[str(path.relative_to(_TOP))] = path.read_text().rstrip("\n")
                except OSError:
                    continue        # those that can only be written, or are not for this kind of interface
    return found


def put_state(state: NamespaceState) -> None:
    """Give the calling thread's namespace those settings; those of interfaces that it does not have yet are passed
    over, and those that the kernel does not let be changed."""
    # "all" sets what each interface has, so that it goes first.
    for name, value in sorted(state.settings.items(), key=lambda item: ("/all/" not in item[0], item[0])):
        try:
            (_TOP / name).write_text(value)
        except OSError:
            continue
