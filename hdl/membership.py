"""Which routers take a copy of a broadcast or multicast frame."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import CONTEXT_ROW, PORT_ROW, RouterMode
from .records import PORT_BITS, ROUTER_BITS, VERDICT
from .table import table_addr_bits

__all__ = ["GROUP_QUERY", "TAKER", "MemberWrite", "Membership", "PortWrite"]

#: What the takers of a group frame depend on.
GROUP_QUERY = data.StructLayout({
    "port": PORT_BITS, "vid": PORT_ROW["vid"].width,
    **{name: VERDICT[name].shape for name in ("peer", "peer_router", "segment", "segment_router")},
})
#: One router that takes a copy, or the end of the list.
TAKER = data.StructLayout({"router": ROUTER_BITS, "end": 1})
_MEMBER = data.StructLayout({"on": 1, "ports": 8, "group": 8, "guard": 8})


def MemberWrite(config: CoreConfig) -> wiring.Signature:
    """A context row that the control engine has just written: ``en`` is high for one cycle."""
    return wiring.Signature({
        "en": Out(1), "addr": Out(table_addr_bits(config.routers)), "data": Out(CONTEXT_ROW),
    })


def PortWrite(config: CoreConfig) -> wiring.Signature:
    """A row of the PORT table that the control engine has just written: ``en`` is high for one cycle."""
    return wiring.Signature({
        "en": Out(1), "router": Out(table_addr_bits(config.routers)), "port": Out(table_addr_bits(config.ports)),
        "vid": Out(PORT_ROW["vid"].width),
    })


class Membership(wiring.Component):
    """Lists the routers that take a group frame, in ascending order.

    Scans its own copy of the parts of the CONTEXT and PORT rows that matter, one router a cycle, so a list takes
    ``routers + 3`` cycles and one more for each entry that is not accepted at once.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : stream of GROUP_QUERY
        A frame; the next one is accepted after the end of the list.
    o : stream of TAKER
        The routers, then one beat with ``end``.
    write : MemberWrite
        Writes of context rows.
    port_write : PortWrite
        Writes of PORT rows.
    disable : Signal, in
        No router is enabled, so none takes a frame.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(GROUP_QUERY)),
            "o": Out(stream.Signature(TAKER)),
            "write": In(MemberWrite(config)),
            "port_write": In(PortWrite(config)),
            "disable": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        routers = self._config.routers
        m.submodules.members = members = memory.Memory(shape=_MEMBER, depth=max(2, routers), init=[])
        write = members.write_port()
        read = members.read_port()
        m.d.comb += [
            write.en.eq(self.write.en),
            write.addr.eq(self.write.addr),
            write.data.on.eq(self.write.data.enable & (self.write.data.mode == RouterMode.ROUTED)),
            write.data.ports.eq(self.write.data.ports),
            write.data.group.eq(self.write.data.group),
            write.data.guard.eq(self.write.data.guard),
        ]
        m.submodules.vlans = vlans = memory.Memory(
            shape=unsigned(len(self.port_write.vid)), depth=self._config.ports << len(self.port_write.router), init=[])
        write_vlan = vlans.write_port()
        read_vlan = vlans.read_port()
        m.d.comb += [
            write_vlan.en.eq(self.port_write.en),
            write_vlan.addr.eq(Cat(self.port_write.router, self.port_write.port)),
            write_vlan.data.eq(self.port_write.vid),
        ]

        query = Signal(GROUP_QUERY)
        row = Signal(range(routers + 1))            # read next
        router = Signal(range(max(2, routers)))     # whose row the memories deliver now
        loaded = Signal()
        checked = Signal.like(router)               # the one before
        takes = Signal()                            # it takes the frame
        port = query.port
        move = Signal()
        m.d.comb += [
            # While a taker waits, everything behind it has to stay.
            move.eq(~takes | self.o.ready),
            read.addr.eq(row),
            read.en.eq(move),
            read_vlan.addr.eq(Cat(row[:len(self.port_write.router)], port[:len(self.port_write.port)])),
            read_vlan.en.eq(move),
            self.o.payload.router.eq(checked),
        ]
        member = read.data
        takes_it = (
            member.on & ~self.disable & member.ports.bit_select(port, 1) & member.group.bit_select(port, 1)
            & (~member.guard.bit_select(port, 1) | (query.peer & (query.peer_router == router)))
            & (read_vlan.data == query.vid) & (~query.segment | (query.segment_router == router)))
        ending = Signal(2)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [row.eq(0), loaded.eq(0), ending.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += query.eq(self.i.payload)
                    m.next = "SCAN"
            with m.State("SCAN"):
                m.d.comb += self.o.valid.eq(takes)
                with m.If(move):
                    m.d.sync += [
                        loaded.eq(row != routers),
                        router.eq(row),
                        checked.eq(router),
                        takes.eq(loaded & takes_it),
                    ]
                    with m.If(row == routers):
                        m.d.sync += ending.eq(ending + 1)
                        with m.If(ending == 2):
                            m.d.sync += takes.eq(0)
                            m.next = "END"
                    with m.Else():
                        m.d.sync += row.eq(row + 1)
            with m.State("END"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.end.eq(1), self.o.payload.router.eq(0)]
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
