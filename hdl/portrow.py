"""What a frame needs to know of the port that it leaves by."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .layouts import PORT_ROW
from .records import ROUTER_BITS, VERDICT, TableSignature, egress_layout
from .stream import LENGTH_BITS
from .table import TableMemory, table_addr_bits

__all__ = ["PortRow", "addressed_layout"]


#: Routers up to which the rows are in look-up tables: the memory of a block is much deeper.
_FEW_ROUTERS = 16


def addressed_layout(width: int) -> data.StructLayout:
    """A beat of a frame that knows its port; all but ``data`` and ``last`` hold for every beat of the frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS, "router": ROUTER_BITS,
        "own_source": 1,            # ``mac`` is to be its source address
        "mac": PORT_ROW["mac"].width,
        "push": 1,                  # it is to have the tag ``tci``
        "tci": 16,
        "source": 12,               # circuit that it must not go back to; zero if there is none
        "entropy": VERDICT["entropy"].width,
    })


class PortRow(wiring.Component):
    """Reads the PORT row of a frame's router when the frame begins, and works its tag out.

    With ``keep_tag`` the frame gets the tag ``tci`` if it is ``tagged``; else it gets the VLAN of the row, if that is
    not zero, with the priority of ``tci`` if it is ``tagged``, and with priority 0 if not.

    Latency 2 cycles for a frame's first beat; a beat a cycle, and one cycle more for each frame. An access to the table
    takes a cycle in which no frame begins, so it waits for two at most, whether the port stands still or not.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of egress_layout
    o : stream of addressed_layout
    table : TableSignature
        Control port of this port's PORT rows, by router.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(egress_layout(config.data_width))),
            "o": Out(stream.Signature(addressed_layout(config.data_width))),
            "table": In(TableSignature(table_addr_bits(config.routers), PORT_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = TableMemory(
            self.config.routers, PORT_ROW.size, in_blocks=self.config.routers > _FEW_ROUTERS)
        connect(m, flipped(self.table), rows.table)
        i, o = self.i, self.o

        beat = Signal(i.payload.shape())
        valid = Signal()
        begins = Signal(init=1)         # the next beat to come is a frame's first one
        reading = Signal()              # this frame's row comes out of the memory
        m.d.comb += [
            # Not while a frame stands at the port: that would keep the control engine away.
            rows.en.eq(i.valid & i.ready & begins),
            # A router that is not there would have no row.
            rows.addr.eq(Mux(i.payload.router < self.config.routers, i.payload.router, 0)),
            o.valid.eq(valid & ~reading),
            i.ready.eq(~valid | (o.valid & o.ready)),
        ]
        m.d.sync += reading.eq(rows.en)
        with m.If(i.ready):
            m.d.sync += valid.eq(i.valid)
            with m.If(i.valid):
                m.d.sync += [beat.eq(i.payload), begins.eq(i.payload.last)]

        row = data.View(PORT_ROW, rows.data)
        mac, push, tci = Signal(PORT_ROW["mac"].shape), Signal(), Signal(16)
        with m.If(reading):
            m.d.sync += [
                mac.eq(row.mac),
                push.eq(Mux(beat.keep_tag, beat.tagged, row.vid.any())),
                # VLAN id, DEI, PCP (IEEE 802.1Q, 9.6).
                tci.eq(Mux(beat.keep_tag, beat.tci, Cat(row.vid, Const(0, 1), Mux(beat.tagged, beat.tci[13:], 0)))),
            ]
        m.d.comb += [
            *(o.payload[name].eq(beat[name])
              for name in ("data", "last", "length", "router", "own_source", "entropy")),
            o.payload.mac.eq(mac),
            o.payload.push.eq(push),
            o.payload.tci.eq(tci),
            o.payload.source.eq(Mux(beat.from_link & beat.tagged & ~beat.keep_tag, beat.tci[:12], 0)),
        ]
        return m
