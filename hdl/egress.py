"""Puts on a frame what depends on the port that it leaves by: source address and 802.1Q tag."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .inserter import Inserter
from .layouts import PORT_ROW
from .portrow import PortRow
from .records import TableSignature, egress_layout
from .stream import FrameSignature
from .table import table_addr_bits

__all__ = ["Egress"]


class Egress(wiring.Component):
    """Way out to one data port: the PORT row of the frame's router says what is put in.

    Latency 3 cycles; a beat a cycle, and one cycle more for each frame, in which the beat more of the frame before
    goes out, if there is one.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of egress_layout
    o : FrameSignature
    table : TableSignature
        Control port of this port's PORT rows, by router.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(egress_layout(config.data_width))),
            "o": Out(FrameSignature(config)),
            "table": In(TableSignature(table_addr_bits(config.routers), PORT_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.row = row = PortRow(self.config)
        m.submodules.inserter = inserter = Inserter(self.config)
        connect(m, flipped(self.i), row.i)
        connect(m, flipped(self.table), row.table)
        m.d.comb += [
            inserter.i.valid.eq(row.o.valid),
            row.o.ready.eq(inserter.i.ready),
            *(inserter.i.payload[name].eq(row.o.payload[name])
              for name in ("data", "last", "length", "own_source", "mac", "push", "tci")),
            self.o.valid.eq(inserter.o.valid),
            inserter.o.ready.eq(self.o.ready),
            *(self.o.payload[name].eq(inserter.o.payload[name]) for name in ("data", "last", "empty")),
        ]
        return m
