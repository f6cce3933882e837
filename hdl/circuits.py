"""Where a frame goes that leaves the link port: the LINK table, and its lists."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from .config import CoreConfig
from .layouts import LINK_ROW, LinkKind, Reason
from .mac.gmii import FCS_BYTES
from .records import REFUSED, ROUTER_BITS, VERDICT, TableSignature
from .slice import RegisterSlice
from .stream import LENGTH_BITS
from .table import TableMemory, table_addr_bits
from .tunnel import OUTER_BYTES, by_kind

__all__ = ["DEPARTURE", "Circuits", "departing_layout", "directed_layout"]

_VID_BITS = LINK_ROW["next"].width

#: What is known of a frame that leaves the link port.
DEPARTURE = data.StructLayout({
    "router": ROUTER_BITS,      # that sent it
    "tagged": 1,                # it has a circuit
    "tci": 16,                  # circuit, DEI and PCP
    "source": _VID_BITS,        # circuit that it came in by; zero if there is none
    "entropy": VERDICT["entropy"].width,
})


def departing_layout(width: int) -> data.StructLayout:
    """A beat of a frame that leaves, without its tag; ``length`` and ``departure`` hold for the whole frame."""
    return data.StructLayout({"data": width, "last": 1, "length": LENGTH_BITS, "departure": DEPARTURE})


def directed_layout(width: int) -> data.StructLayout:
    """A beat of a frame that knows where it goes; all but ``data`` and ``last`` hold for the whole frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS,
        "router": ROUTER_BITS,              # that sent it
        "kind": LINK_ROW["kind"].width,     # LinkKind: DIRECT, TUNNEL, or NONE: a packet of a tunnel that ends here
        "tci": 16,                          # DIRECT: of the circuit that it comes in by
        "underlay": LINK_ROW["underlay"].width,
        "tunnel": LINK_ROW["tunnel"].width,
        "entropy": VERDICT["entropy"].width,
    })


class Circuits(wiring.Component):
    """Looks up the circuit of each frame, and makes a frame of each member out of one that goes to a list.

    A frame only leaves by circuits of the router that sent it, and not by the one that it came by. A list ends after as
    many members as there are circuits, so a list that bites its own tail ends too.

    A frame's first beat is offered 4 cycles after it came, and a frame takes 3 cycles more than it has beats. One that
    goes to a list is stored first, and takes 5 cycles more than its beats for that; then 3 cycles for each circuit that
    is looked at, and its beats for each copy.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of departing_layout
    o : stream of directed_layout
    event : stream of REFUSED
        ``DROP_FAULT``: there is no such circuit, or it is another router's. ``DROP_LENGTH``: too long for the tunnel.
    table : TableSignature
        Control port: rows of LINK_ROW.
    busy : Signal, out
        A frame is under way.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        width = config.data_width
        super().__init__({
            "i": In(stream.Signature(departing_layout(width))),
            "o": Out(stream.Signature(directed_layout(width))),
            "event": Out(stream.Signature(REFUSED)),
            "table": In(TableSignature(table_addr_bits(config.circuits), LINK_ROW.size)),
            "busy": Out(1),
        })
        # Attributes for the sake of proofs.
        self.row = Signal(LINK_ROW)
        self.departure = Signal(DEPARTURE)
        self.sends = Signal()               # a frame goes out by ``row``

    def elaborate(self, platform):
        m = Module()
        config = self.config
        width, beat_bytes, circuits = config.data_width, config.beat_bytes, config.circuits
        beats = -(-config.max_frame // beat_bytes)
        m.submodules.rows = rows = TableMemory(circuits, LINK_ROW.size)
        m.submodules.store = store = memory.Memory(
            shape=unsigned(width), depth=1 << ceil_log2(beats), init=[], attrs={"rw_addr_collision": "yes"})
        m.submodules.register = register = RegisterSlice(directed_layout(width))
        connect(m, flipped(self.table), rows.table)
        connect(m, register.o, flipped(self.o))
        w_port, r_port = store.write_port(), store.read_port()
        i, o = self.i, register.i
        coming = i.payload.departure

        # What the frame is; a list's frame is not at ``i`` any more when its copies leave.
        departure, row = self.departure, self.row
        length = Signal(LENGTH_BITS)
        exists = Signal()                   # the circuit that ``row`` is of
        member = Signal(_VID_BITS)          # next one of the list
        left = Signal(range(circuits + 1))  # members that may still be looked at
        from_tunnel = Signal()
        from_list = Signal()                # this copy comes out of the store
        position = Signal(ceil_log2(beats) + 1)     # next beat in the store
        end = Signal.like(position)         # the last one
        arrives = Signal()                  # the source's row is delivered
        silent = Signal()                   # it came by the circuit that it would go back to
        reason = Signal(5)

        owned, too_long, copying = Signal(), Signal(), Signal()
        m.d.comb += [
            owned.eq(exists & (row.router == departure.router)),
            too_long.eq((row.kind == LinkKind.TUNNEL)
                        & (length > config.max_frame - FCS_BYTES - by_kind(row.tunnel.kind, OUTER_BYTES))),
            o.payload.length.eq(length),
            o.payload.router.eq(departure.router),
            o.payload.kind.eq(Mux(departure.tagged, row.kind, LinkKind.NONE)),
            o.payload.tci.eq(Cat(row.peer, departure.tci[_VID_BITS:])),
            o.payload.underlay.eq(row.underlay),
            o.payload.tunnel.eq(row.tunnel),
            o.payload.entropy.eq(departure.entropy),
            o.payload.data.eq(Mux(from_list, r_port.data, i.payload.data)),
            o.payload.last.eq(Mux(from_list, position == end, i.payload.last)),
            self.event.payload.router.eq(departure.router),
            self.event.payload.reason.eq(reason),
            w_port.addr.eq(position),
            r_port.en.eq(~copying | o.ready),
            w_port.data.eq(i.payload.data),
        ]

        def read(circuit, en=1):
            """The row is in ``row`` two cycles later."""
            m.d.comb += [rows.addr.eq(circuit), rows.en.eq(en)]
            m.d.sync += exists.eq((circuit < circuits) & (circuit != 0))

        def refuse(why):
            m.d.sync += reason.eq(why)

        # What is read in one state is delivered in the next, and registered there.
        m.d.sync += row.eq(rows.data)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += [departure.eq(coming), length.eq(i.payload.length), from_list.eq(0)]
                read(coming.tci[:_VID_BITS], i.valid)
                with m.If(i.valid):
                    m.next = "ROW"
            with m.State("ROW"):
                m.next = "CIRCUIT"
            with m.State("CIRCUIT"):
                m.d.sync += silent.eq(0)
                # The source's row comes next: it is the only one that a list needs before its first member.
                read(departure.source)
                m.d.sync += [row.eq(row), position.eq(0), member.eq(row.next), left.eq(circuits), arrives.eq(1)]
                refuse(Reason.DROP_FAULT)
                m.next = "DROP"
                with m.If(~departure.tagged):
                    m.next = "PASS"
                with m.Elif(owned & (departure.tci[:_VID_BITS] == departure.source) & (row.kind != LinkKind.NONE)):
                    m.d.sync += silent.eq(1)
                with m.Elif(owned), m.Switch(row.kind):
                    with m.Case(LinkKind.DIRECT):
                        m.next = "PASS"
                    with m.Case(LinkKind.TUNNEL):
                        m.next = "PASS"
                        with m.If(too_long):
                            refuse(Reason.DROP_LENGTH)
                            m.next = "DROP"
                    with m.Case(LinkKind.LIST):
                        m.next = "STORE"
            with m.State("PASS"):
                m.d.sync += row.eq(row)
                m.d.comb += [o.valid.eq(i.valid), i.ready.eq(o.ready)]
                with m.If(i.valid & o.ready & i.payload.last):
                    m.next = "IDLE"
            with m.State("DROP"):
                m.d.comb += i.ready.eq(1)
                with m.If(i.valid & i.payload.last):
                    m.next = "EVENT"
                    with m.If(silent):
                        m.next = "IDLE"
            with m.State("EVENT"):
                m.d.comb += self.event.valid.eq(1)
                with m.If(self.event.ready):
                    m.next = "IDLE"
                    with m.If(from_list):
                        m.next = "MEMBER"

            with m.State("STORE"):
                # The source's row is delivered in the first cycle here, whenever the first beat comes.
                m.d.comb += [i.ready.eq(1), w_port.en.eq(i.valid)]
                m.d.sync += [from_list.eq(1), arrives.eq(0)]
                with m.If(arrives):
                    m.d.sync += row.eq(rows.data)
                with m.Else():
                    m.d.sync += row.eq(row)
                with m.If(i.valid):
                    m.d.sync += [position.eq(position + 1), end.eq(position)]
                    with m.If(i.payload.last):
                        m.next = "SOURCE"
            with m.State("SOURCE"):
                m.d.sync += from_tunnel.eq(exists & (row.kind == LinkKind.TUNNEL))
                m.next = "MEMBER"
            with m.State("MEMBER"):
                read(member)
                m.d.sync += [left.eq(left - 1), position.eq(0)]
                m.next = "MEMBER-ROW"
                with m.If((member == 0) | (member >= circuits) | (left == 0)):
                    m.next = "IDLE"
            with m.State("MEMBER-ROW"):
                m.next = "MEMBER-CIRCUIT"
            with m.State("MEMBER-CIRCUIT"):
                m.d.sync += [member.eq(row.next), row.eq(row)]
                m.d.comb += r_port.addr.eq(0)
                refuse(Reason.DROP_LENGTH)
                m.next = "MEMBER"
                with m.If(owned & (member != departure.source)
                          & ((row.kind == LinkKind.DIRECT) | ((row.kind == LinkKind.TUNNEL) & ~from_tunnel))):
                    m.next = "COPY"
                    with m.If(too_long):
                        m.next = "EVENT"
            with m.State("COPY"):
                m.d.sync += row.eq(row)
                m.d.comb += [o.valid.eq(1), r_port.addr.eq(position + 1)]
                with m.If(o.ready):
                    m.d.sync += position.eq(position + 1)
                    with m.If(position == end):
                        m.next = "MEMBER"
            m.d.comb += [
                self.busy.eq(~fsm.ongoing("IDLE")),
                copying.eq(fsm.ongoing("COPY")),
                self.sends.eq(copying | fsm.ongoing("PASS")),
            ]
        return m
