"""What a board's top level is told of its ports and of the way to its host."""

from dataclasses import dataclass
from enum import Enum

from .phy import Phy

__all__ = ["HostLinkChoice", "HostLinkKind", "TopPort"]


@dataclass(frozen=True, kw_only=True)
class TopPort:
    """An RGMII port."""

    phy: Phy
    phy_address: int
    mdio: int = 0
    phy_rx_delay: bool | None = None
    phy_tx_delay: bool | None = None


class HostLinkKind(Enum):
    """How the host gets to the board."""

    PORT = "port"
    AUTHENTICATED = "authenticated"
    UART = "uart"


@dataclass(frozen=True, kw_only=True)
class HostLinkChoice:
    """How the host gets to the board, with what that needs."""

    kind: HostLinkKind
    port: int = 0
    baud: int = 3_000_000
    key: bytes | None = None
    mac: str | None = None
