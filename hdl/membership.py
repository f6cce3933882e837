"""Which routers take a copy of a broadcast or multicast frame."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import CONTEXT_ROW, RouterMode
from .records import PORT_BITS, ROUTER_BITS
from .table import table_addr_bits

__all__ = ["GROUP_QUERY", "TAKER", "MemberWrite", "Membership"]

#: What the takers of a group frame depend on.
GROUP_QUERY = data.StructLayout({"port": PORT_BITS, "peer": 1, "peer_router": 10})
#: One router that takes a copy, or the end of the list.
TAKER = data.StructLayout({"router": ROUTER_BITS, "end": 1})
_MEMBER = data.StructLayout({"on": 1, "ports": 8, "group": 8, "guard": 8})


def MemberWrite(config: CoreConfig) -> wiring.Signature:
    """A context row that the control engine has just written: ``en`` is high for one cycle."""
    return wiring.Signature({
        "en": Out(1), "addr": Out(table_addr_bits(config.routers)), "data": Out(CONTEXT_ROW),
    })


class Membership(wiring.Component):
    """Lists the routers that take a group frame, in ascending order.

    Scans its own copy of the part of the context rows that matters, one router a cycle, so a list takes
    ``routers + 2`` cycles and one more for each entry that is not accepted at once.

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
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(GROUP_QUERY)),
            "o": Out(stream.Signature(TAKER)),
            "write": In(MemberWrite(config)),
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

        query = Signal(GROUP_QUERY)
        row = Signal(range(routers + 1))        # read next
        router = Signal(range(max(2, routers)))     # whose row the memory delivers now
        loaded = Signal()
        port = query.port
        m.d.comb += [
            read.addr.eq(row),
            self.o.payload.router.eq(router),
        ]
        takes = Signal()
        m.d.comb += takes.eq(
            read.data.on & read.data.ports.bit_select(port, 1) & read.data.group.bit_select(port, 1)
            & (~read.data.guard.bit_select(port, 1) | (query.peer & (query.peer_router == router))))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [row.eq(0), loaded.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += query.eq(self.i.payload)
                    m.next = "SCAN"
            with m.State("SCAN"):
                # While a taker waits, its row has to stay: the port would read on otherwise.
                m.d.comb += [self.o.valid.eq(loaded & takes), read.en.eq(~self.o.valid | self.o.ready)]
                with m.If(~self.o.valid | self.o.ready):
                    m.d.sync += [loaded.eq(1), router.eq(row), row.eq(row + 1)]
                    with m.If(row == routers):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.end.eq(1), self.o.payload.router.eq(0)]
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
