"""A port of a board, as a board file says it."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyrouter.hdl.config import ConfigError

from .phy import Phy
from .phymanager import ManagedPhy

__all__ = ["TopPort", "mdio_buses"]


@dataclass(frozen=True, kw_only=True)
class TopPort:
    """One RGMII port.

    Attributes
    ----------
    phy : Phy
    phy_address : int
        On its MDIO bus, 0 to 31.
    mdio : int
        Number of its MDIO bus.
    phy_rx_delay, phy_tx_delay : bool or None
        RGMII delays that the PHY is to add; None: as strapped.
    """

    phy: Phy
    phy_address: int
    mdio: int = 0
    phy_rx_delay: bool | None = None
    phy_tx_delay: bool | None = None

    def managed(self) -> ManagedPhy:
        """Its PHY, for the manager of its bus."""
        return ManagedPhy(self.phy, self.phy_address, self.phy_rx_delay, self.phy_tx_delay)


def mdio_buses(ports: Sequence[TopPort]) -> list[list[int]]:
    """Numbers of the ports at each MDIO bus.

    Raises
    ------
    ConfigError
        If a bus has no port.
    """
    buses: list[list[int]] = [[] for _ in range(1 + max(port.mdio for port in ports))]
    for number, port in enumerate(ports):
        buses[port.mdio].append(number)
    for bus, members in enumerate(buses):
        if not members:
            raise ConfigError(f"MDIO bus {bus} has no PHY, but bus {len(buses) - 1} has: number the buses from 0 on "
                              "without a gap")
    return buses
