"""The boundary between the logic of an RGMII and its double data rate cells: two values a clock cycle."""

from amaranth.hdl import unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PAIR_OF_BITS", "PAIR_OF_NIBBLES", "RgmiiDdrSignature", "RgmiiRxDdrSignature", "RgmiiTxDdrSignature"]

#: What a pin carries in a clock cycle: first from the rising edge on, then from the falling edge on.
PAIR_OF_BITS = data.ArrayLayout(unsigned(1), 2)
PAIR_OF_NIBBLES = data.ArrayLayout(unsigned(4), 2)

_RX = {"rxd": In(PAIR_OF_NIBBLES), "rx_ctl": In(PAIR_OF_BITS)}
_TX = {"txd": Out(PAIR_OF_NIBBLES), "tx_ctl": Out(PAIR_OF_BITS), "txc": Out(PAIR_OF_BITS)}

#: Half of :data:`RgmiiDdrSignature` in the domain ``rx``.
RgmiiRxDdrSignature = wiring.Signature(_RX)
#: Half of :data:`RgmiiDdrSignature` in the domain ``tx``.
RgmiiTxDdrSignature = wiring.Signature(_TX)
#: RGMII 1.3 and 2.0, table 1, as the logic has it. ``rxd`` and ``rx_ctl`` are in the domain ``rx``, whose clock is RXC;
#: ``txd``, ``tx_ctl`` and ``txc`` in ``tx``, 125 MHz at all speeds. TXC is data too: at 10 and 100 Mb/s it is slower
#: than ``tx``. It has no delay against the data yet; the PHY or the cells add what 1000 Mb/s needs.
RgmiiDdrSignature = wiring.Signature({**_RX, **_TX})
