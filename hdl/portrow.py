"""What a frame needs to know of the port that it leaves by."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import PORT_ROW
from .memories import IN_BLOCKS, NEVER_MEET, delivered
from .records import ROUTER_BITS, VERDICT, TableSignature, egress_layout
from .stream import LENGTH_BITS
from .table import table_addr_bits

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
        table = self.table
        i, o = self.i, self.o

        beat = Signal(i.payload.shape())
        valid = Signal()
        begins = Signal(init=1)         # the next beat to come is a frame's first one
        look = Signal()                 # it comes
        reading = Signal()              # this frame's row comes out of the memory
        start = Signal()                # of an access of the control engine, between two frames' first beats
        m.submodules.rows = rows = memory.Memory(
            shape=PORT_ROW, depth=max(2, self.config.routers), init=[],
            attrs=NEVER_MEET if self.config.routers <= _FEW_ROUTERS else NEVER_MEET | IN_BLOCKS)
        write, read = rows.write_port(), rows.read_port()
        row = delivered(m, platform, read, write)
        m.d.comb += [
            look.eq(i.valid & i.ready & begins),
            start.eq(table.stb & ~table.ack & ~look),
            # A router that is not there would have no row.
            read.addr.eq(Mux(look, Mux(i.payload.router < self.config.routers, i.payload.router, 0), table.addr)),
            read.en.eq(look | (start & ~table.write)),
            write.addr.eq(table.addr),
            write.data.eq(table.w_data),
            write.en.eq(start & table.write),
            table.r_data.eq(row),
            o.valid.eq(valid & ~reading),
            i.ready.eq(~valid | (o.valid & o.ready)),
        ]
        m.d.sync += [reading.eq(look), table.ack.eq(start)]
        with m.If(i.ready):
            m.d.sync += valid.eq(i.valid)
            with m.If(i.valid):
                m.d.sync += [beat.eq(i.payload), begins.eq(i.payload.last)]

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
