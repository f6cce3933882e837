"""Puts on a frame what depends on the port that it leaves by: source address and 802.1Q tag."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .config import CoreConfig
from .headers import ETHERTYPE_VLAN, TAG_BYTES, Ethernet, VlanTag
from .layouts import PORT_ROW
from .records import TableSignature, egress_layout
from .slice import RegisterSlice
from .stream import FrameSignature, frame_layout
from .table import TableMemory, table_addr_bits

__all__ = ["Egress"]

#: The tag stands where an untagged frame has its EtherType (IEEE 802.1Q, 9.6).
_TAG = Ethernet.ETHERTYPE.offset


class Egress(wiring.Component):
    """Way out to one data port.

    The router's PORT row is read when a frame begins. ``own_source`` puts the row's MAC address in. With ``keep_tag``
    the frame gets the tag ``tci`` if it is ``tagged``; else it gets the VLAN of the row, if that is not zero, with the
    priority of ``tci`` if it is ``tagged``, and with priority 0 if not. A tag moves what is behind it by four bytes, so
    the frame may have one beat more.

    Latency 3 cycles; a beat a cycle, and one cycle more for each frame, in which the beat more of the frame before
    goes out, if there is one.

    Parameters
    ----------
    config : CoreConfig
    port : int
        The data port whose PORT rows these are.

    Attributes
    ----------
    i : stream of egress_layout
    o : FrameSignature
    table : TableSignature
        Control port of this port's PORT rows, by router.
    """

    def __init__(self, config: CoreConfig, port: int) -> None:
        self.config = config
        self.port = port
        super().__init__({
            "i": In(stream.Signature(egress_layout(config.data_width))),
            "o": Out(FrameSignature(config)),
            "table": In(TableSignature(table_addr_bits(config.routers), PORT_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        beat_bytes = config.beat_bytes
        moved_from = [max(0, -(-(_TAG + TAG_BYTES - lane) // beat_bytes)) for lane in range(beat_bytes)]
        beat_bits = exact_log2(beat_bytes)
        m.submodules.rows = rows = TableMemory(config.routers, PORT_ROW.size)
        m.submodules.register = register = RegisterSlice(frame_layout(config.data_width))
        connect(m, flipped(self.table), rows.table)
        connect(m, register.o, flipped(self.o))
        i, o = self.i, register.i

        beat = Signal(i.payload.shape())
        valid = Signal()
        begins = Signal(init=1)         # the next beat to come is a frame's first one
        reading = Signal()              # this frame's row comes out of the memory
        tail = Signal()                 # what was pushed out of the last beat goes out now
        step = Signal()
        m.d.comb += [
            rows.en.eq(i.valid & begins),
            # A router that is not there would have no row.
            rows.addr.eq(Mux(i.payload.router < config.routers, i.payload.router, 0)),
            o.valid.eq(tail | (valid & ~reading)),
            step.eq(valid & ~reading & ~tail & o.ready),
            i.ready.eq(~valid | step),
        ]
        m.d.sync += reading.eq(i.valid & i.ready & begins)
        with m.If(i.ready):
            m.d.sync += valid.eq(i.valid)
            with m.If(i.valid):
                m.d.sync += [beat.eq(i.payload), begins.eq(i.payload.last)]

        # What the row and the frame's fields ask for.
        row = data.View(PORT_ROW, rows.data)
        tags = Signal()
        mac = Signal(PORT_ROW["mac"].shape)
        push = Signal()
        tci = Signal(16)
        longer = Signal()               # the frame has one beat more
        empty = Signal(range(beat_bytes))
        m.d.comb += tags.eq(Mux(beat.keep_tag, beat.tagged, row.vid.any()))
        with m.If(reading):
            m.d.sync += [
                mac.eq(row.mac),
                push.eq(tags),
                # VLAN id, DEI, PCP (IEEE 802.1Q, 9.6).
                tci.eq(Mux(beat.keep_tag, beat.tci, Cat(row.vid, Const(0, 1), Mux(beat.tagged, beat.tci[13:], 0)))),
                longer.eq(tags & ((beat.length - 1)[:beat_bits] >= beat_bytes - TAG_BYTES)),
                empty.eq(Mux(tags, -(beat.length + TAG_BYTES), -beat.length)),
            ]

        carry = Signal(8 * TAG_BYTES)
        tail_empty = Signal.like(empty)
        position = Signal(range(max(moved_from) + 1))   # beat of the frame; stops where every lane is moved
        with m.If(step):
            m.d.sync += [
                carry.eq(beat.data[-8 * TAG_BYTES:]),
                position.eq(Mux(beat.last, 0, position + (position != max(moved_from)))),
                tail.eq(beat.last & longer),
                tail_empty.eq(empty),
            ]
        with m.If(tail & o.ready):
            m.d.sync += tail.eq(0)

        lanes = data.ArrayLayout(8, beat_bytes)
        now = data.View(lanes, beat.data)
        before = data.View(data.ArrayLayout(8, TAG_BYTES), carry)
        out = data.View(lanes, o.payload.data)
        inserted = [
            (beat.own_source, Ethernet.SOURCE.spread(mac)),
            (push, Ethernet.ETHERTYPE.spread(ETHERTYPE_VLAN)),
            (push, VlanTag.TCI.spread(tci)),
        ]
        m.d.comb += [
            out.eq(now),
            o.payload.last.eq(tail | (beat.last & ~longer)),
            o.payload.empty.eq(Mux(tail, tail_empty, Mux(o.payload.last, empty, 0))),
        ]
        for lane, start in enumerate(moved_from):
            with m.If((push & (position >= start)) | (tail if lane < TAG_BYTES else 0)):
                m.d.comb += out[lane].eq(before[lane] if lane < TAG_BYTES else now[lane - TAG_BYTES])
        with m.Switch(position):        # the tail's lanes are not among those of beat 0
            for k in range(max(moved_from) + 1):
                with m.Case(k):
                    for which, bytes_ in inserted:
                        with m.If(which):
                            m.d.comb += [out[byte % beat_bytes].eq(value)
                                         for byte, value in bytes_.items() if byte // beat_bytes == k]
        return m
