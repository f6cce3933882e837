"""How the host gets to a board, as a board file says it."""

import re
from dataclasses import dataclass, field

from polyrouter.hdl.config import ConfigError
from polyrouter.hdl.hostlink.layouts import DEFAULT_BAUD, DEFAULT_MAC, KEY_BYTES
from polyrouter.hdl.layouts import HostLinkKind

__all__ = ["HostLinkChoice", "HostLinkKind"]

_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


@dataclass(frozen=True, kw_only=True)
class HostLinkChoice:
    """How the host gets to the board.

    Attributes
    ----------
    kind : HostLinkKind
    port : int
        AUTHENTICATED: the data port that the host's frames come by.
    baud : int
        UART: bits a second.
    key : bytes or None
        AUTHENTICATED: the board's key, 16 bytes; never shown.
    mac : str or None
        AUTHENTICATED: the board's address, as in 02:70:6f:6c:79:01; None: the one of boards that have no other.

    Raises
    ------
    ConfigError
        If the key or the address is missing or wrong.
    """

    kind: HostLinkKind
    port: int = 0
    baud: int = DEFAULT_BAUD
    key: bytes | None = field(default=None, repr=False)
    mac: str | None = None

    def __post_init__(self) -> None:
        if self.kind != HostLinkKind.AUTHENTICATED:
            return
        if self.key is None:
            raise ConfigError("an authenticated host link needs the board's key: make a file with "
                              "'openssl rand -hex 16', and build the board with it")
        if len(self.key) != KEY_BYTES or not any(self.key):
            raise ConfigError(f"the board's key must be {KEY_BYTES} bytes that are not all zero, not "
                              f"{len(self.key)} bytes{'' if any(self.key) else ' of zero'}: make one with "
                              "'openssl rand -hex 16'")
        if self.mac is not None and (not _MAC.fullmatch(self.mac) or int(self.mac[:2], 16) & 1):
            raise ConfigError(f"the board's address must be like 02:70:6f:6c:79:01, and none of a group, not "
                              f"{self.mac!r}")

    @property
    def key_bits(self) -> int:
        """The key as an integer, first byte lowest; zero if there is none."""
        return int.from_bytes(self.key or b"", "little")

    @property
    def mac_bits(self) -> int:
        """The address as an integer, first byte lowest."""
        if self.mac is None:
            return DEFAULT_MAC
        return int.from_bytes(bytes.fromhex(self.mac.replace(":", "")), "little")
