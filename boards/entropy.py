"""Bits that nobody can predict, from ring oscillators of look-up tables."""

import re
from functools import reduce
from operator import xor

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["RING_CELL", "RingOscillators"]

#: Inverters of each ring. Lengths without a common factor do not lock to each other for long.
_RINGS = (3, 5, 7, 11)
#: Name of such an inverter in a netlist, where numbers may have been added to what Amaranth calls it.
RING_CELL = re.compile(r"(?:^|\.)ring\d+_\d+(?:\$\d+)?$")
_INVERTERS = {
    "ecp5": lambda i, o: Instance("LUT4", a_keep=1, p_INIT=Const(0x5555, 16), i_A=i, i_B=Const(0), i_C=Const(0),
                                  i_D=Const(0), o_Z=o),
    "xc7": lambda i, o: Instance("LUT1", a_keep=1, a_DONT_TOUCH="TRUE", p_INIT=Const(1, 2), i_I0=i, o_O=o),
}


class RingOscillators(wiring.Component):
    """Rings of inverters whose phases drift apart by thermal noise, XORed.

    One sample has much less than a bit of entropy; who uses it takes many, some time apart. No health test is made of
    it: if all rings stood still, the bit would be constant.

    Parameters
    ----------
    family : str
        Of the FPGA: ``ecp5`` or ``xc7``.

    Attributes
    ----------
    o : Signal, out
        In no clock domain.
    """

    def __init__(self, family: str) -> None:
        self._inverter = _INVERTERS[family]
        super().__init__({"o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        outputs = []
        for ring, length in enumerate(_RINGS):
            # "keep" on the nets too, or the tools would reduce a ring of inverters to one.
            nets = [Signal(name=f"ring{ring}_{index}", attrs={"keep": 1}) for index in range(length)]
            for index in range(length):
                m.submodules[f"ring{ring}_{index}"] = self._inverter(nets[index - 1], nets[index])
            outputs.append(nets[-1])
        m.d.comb += self.o.eq(reduce(xor, outputs))
        return m
