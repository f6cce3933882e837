"""Speed and state of a link as RGMII codes them."""

from enum import IntEnum

from amaranth.lib import data

__all__ = ["InBandStatus", "Speed"]


class Speed(IntEnum):
    """Speed of a link, coded as in the in-band status (RGMII 1.3 and 2.0, section 3.4.1)."""

    TEN = 0
    HUNDRED = 1
    GIGABIT = 2
    RESERVED = 3


#: RXD[3:0] between frames (section 3.4.1). The PHY may leave it out.
InBandStatus = data.StructLayout({"link": 1, "speed": Speed, "full_duplex": 1})
