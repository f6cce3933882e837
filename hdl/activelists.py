"""Active lists: which routers have frames that may be sent, for each port and class, in order of their turns."""

from enum import IntEnum

from amaranth.hdl import Array, Module, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import TrafficClass
from .memories import NEVER_MEET, delivered, ram_style
from .queues import queue_row_bits, queue_rows

__all__ = ["ActiveLists", "Turn"]

_CLASSES = len(TrafficClass)


class Turn(IntEnum):
    """What happens to the first router of a list after it was served."""

    STAY = 0                # it has deficit left
    POP = 1                 # it has nothing to send any more
    ROTATE = 2              # it is put at the end of the list


class ActiveLists(wiring.Component):
    """Linked lists of routers for deficit round robin (Shreedhar & Varghese 1996), one for each port and class.

    First and last router of each list are registers, the links between are in one block RAM for each class. One change
    a cycle; it shows in the next cycle. ``peek`` must come in the cycle before a ``serve`` with POP or ROTATE, and
    after the change before it.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    port : Signal, in
        Port of a change.
    append, row : in
        Router ``row`` is put at the end of the port's list of each class with a bit in ``append``; it must not be in
        it.
    serve, serve_class, turn : in
        The first router of this list had its turn. Not together with ``append``.
    peek, peek_class : in
        Read the link of the first router of the port's list of this class.
    filled : array of Signal, out
        A bit for each class, for each port: the list is not empty.
    head : array of arrays of Signal, out
        First router of each list, as a row.
    alone : Signal, out
        The first router of the port's list of ``serve_class`` is its only one.
    fresh : array of Signal, out
        The first router's turn has only just begun: it has not got its quantum.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        row = queue_row_bits(config)
        ports = config.all_ports
        super().__init__({
            "port": In(range(ports)),
            "append": In(_CLASSES),
            "row": In(row),
            "serve": In(1),
            "serve_class": In(1),
            "turn": In(Turn),
            "alone": Out(1),
            "peek": In(1),
            "peek_class": In(1),
            "filled": Out(_CLASSES).array(ports),
            "head": Out(data.ArrayLayout(row, _CLASSES)).array(ports),
            "fresh": Out(_CLASSES).array(ports),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        ports = range(config.all_ports)
        for c in range(_CLASSES):
            heads = [self.head[q][c] for q in ports]
            tails = [Signal.like(self.row, name=f"tail_{q}_{c}") for q in ports]
            filled = [self.filled[q][c] for q in ports]
            m.submodules[f"links_{c}"] = links = memory.Memory(
                shape=unsigned(len(self.row)), depth=queue_rows(config), init=[],
                attrs=NEVER_MEET | ram_style(queue_rows(config)))
            write, read = links.write_port(), links.read_port()
            link = delivered(m, platform, read, write)
            head, tail, any_ = Array(heads)[self.port], Array(tails)[self.port], Array(filled)[self.port]
            append = self.append[c]
            serve = Signal(name=f"serve_{c}")
            alone = Signal(name=f"alone_{c}")
            m.d.comb += [
                serve.eq(self.serve & (self.serve_class == c)),
                alone.eq(head == tail),
                read.en.eq(self.peek & (self.peek_class == c)),
                read.addr.eq(head),
                write.en.eq((append & any_) | (serve & (self.turn == Turn.ROTATE) & ~alone)),
                write.addr.eq(tail),
                write.data.eq(self.row),
            ]
            with m.If(self.serve_class == c):
                m.d.comb += self.alone.eq(alone)
            with m.If(serve):
                m.d.comb += write.data.eq(head)
            for q in ports:
                here = self.port == q
                with m.If(here & append):
                    m.d.sync += [tails[q].eq(self.row), filled[q].eq(1)]
                    with m.If(~filled[q]):
                        m.d.sync += [heads[q].eq(self.row), self.fresh[q][c].eq(1)]
                with m.If(here & serve):
                    m.d.sync += self.fresh[q][c].eq(self.turn != Turn.STAY)
                    with m.If((self.turn != Turn.STAY) & ~alone):
                        m.d.sync += heads[q].eq(link)
                        with m.If(self.turn == Turn.ROTATE):
                            m.d.sync += tails[q].eq(heads[q])
                    with m.If((self.turn == Turn.POP) & alone):
                        m.d.sync += filled[q].eq(0)
        return m
