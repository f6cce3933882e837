"""Accesses to PHY registers (IEEE 802.3 clause 22), and what is known of a PHY, as records."""

from amaranth.lib import data

from .layouts import BOARD_MDIO, BOARD_PHY

__all__ = ["INBAND_STATUS", "MDIO_COMMAND", "MDIO_RESPONSE", "PHY_STATUS"]

#: An access on one MDIO bus.
MDIO_COMMAND = data.StructLayout({
    "write": 1,
    "phy": BOARD_MDIO["phy"].width,             # PHY address
    "register": BOARD_MDIO["register"].width,
    "data": BOARD_MDIO["data"].width,           # to write
})
#: Its outcome. ``ok`` of a read: the PHY drove the turnaround low; a write is not acknowledged, and always ``ok``.
MDIO_RESPONSE = data.StructLayout({"data": BOARD_MDIO["data"].width, "ok": 1})
#: What MDIO says of a PHY; fields as in BOARD_PHY.
PHY_STATUS = data.StructLayout({name: BOARD_PHY[name].shape for name in (
    "link", "speed", "full_duplex", "present", "id")})
#: What the PHY says in band of the link; fields as in BOARD_PHY with "inband_" before them.
INBAND_STATUS = data.StructLayout({name: BOARD_PHY[f"inband_{name}"].shape for name in (
    "valid", "link", "speed", "full_duplex")})
