"""Signals of a GMII, IEEE 802.3 clause 35, as a MAC has them; the clocks are clock domains."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "FCS_BYTES", "GAP_BYTES", "GmiiSignature", "LEAST_FRAME", "LINE_OVERHEAD", "LINE_RATE", "PREAMBLE",
    "PREAMBLE_BYTES", "SFD",
]

#: 4.4.2: shortest frame with FCS, and the gap between two frames, in bytes.
LEAST_FRAME = 64
GAP_BYTES = 12
#: 3.2.1 and 3.2.2: seven bytes of preamble, then the start frame delimiter; the low bit goes first.
PREAMBLE = 0x55
PREAMBLE_BYTES = 7
SFD = 0xD5
#: 3.2.9.
FCS_BYTES = 4
#: Byte times that a frame takes besides its length without FCS: preamble and start frame delimiter, FCS, and gap.
LINE_OVERHEAD = PREAMBLE_BYTES + 1 + FCS_BYTES + GAP_BYTES
#: Bits a second.
LINE_RATE = 1e9

#: ``rxd``, ``rx_dv`` and ``rx_er`` belong to the domain ``rx``, ``txd``, ``tx_en`` and ``tx_er`` to ``tx``.
GmiiSignature = wiring.Signature({
    "rxd": In(8), "rx_dv": In(1), "rx_er": In(1),
    "txd": Out(8), "tx_en": Out(1), "tx_er": Out(1),
})
