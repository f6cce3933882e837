"""Which virtual network a frame out of a tunnel belongs to."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .layouts import TERMINATION_KEY, TERMINATION_ROW
from .records import TableSignature
from .table import TableMemory, table_addr_bits
from .toeplitz import toeplitz

__all__ = ["TERMINATED", "Terminations"]

_HASHES = 2
_WAYS = 2

#: ``circuit`` is zero unless ``hit``.
TERMINATED = data.StructLayout({"hit": 1, "circuit": TERMINATION_ROW["circuit"].width})


class Terminations(wiring.Component):
    """Hash table of the tunnels that end here: two hashes of two ways, as in the VMAC-VE table.

    The key has the underlay's router in it, so one router's packets can't enter what ends at another; and the other
    end's address, so that a virtual network takes frames from its members only. The host never lets a key be in two
    rows with different circuits. The hashes are those of the VMAC-VE table: the exclusive or of ``seed >> k`` over the
    set bits ``k`` of the key.

    Latency 8 cycles, and as many from one look-up to the next.

    Parameters
    ----------
    index_bits : int
        Bits of a hash; the table has ``4 << index_bits`` rows.

    Attributes
    ----------
    i : stream of TERMINATION_KEY
    o : stream of TERMINATED
        One for each, in order.
    seed0, seed1 : Signal(64), in
        Keys of the hashes: ``seed0 | seed1 << 64`` and the other way round.
    table : TableSignature
        Control port: rows of TERMINATION_ROW.
    """

    def __init__(self, index_bits: int) -> None:
        self.rows = _HASHES * _WAYS << index_bits
        self._index_bits = index_bits
        super().__init__({
            "i": In(stream.Signature(TERMINATION_KEY)),
            "o": Out(stream.Signature(TERMINATED)),
            "seed0": In(64),
            "seed1": In(64),
            "table": In(TableSignature(table_addr_bits(self.rows), TERMINATION_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = rows = TableMemory(self.rows, TERMINATION_ROW.size)
        connect(m, flipped(self.table), rows.table)

        # Steps: 1 and 3 hash; 2 to 5 read a row each, which is registered in the step after and compared in the one
        # after that, 4 to 7. The outcome is offered behind the last one.
        idle, last = 0, 7
        step = Signal(range(last + 1))
        key = Signal(TERMINATION_KEY)
        index = Signal(self._index_bits)        # one hash after the other, for they take most of the logic
        number = Signal(range(_HASHES * _WAYS))
        row = Signal(TERMINATION_ROW)
        found = Signal(TERMINATED)
        seed = Signal(128)                      # a register, or yosys makes two hashes and chooses afterwards
        match = Signal()
        m.d.comb += [
            self.i.ready.eq((step == idle) & (~self.o.valid | self.o.ready)),
            number.eq(step - 2),
            rows.addr.eq(Cat(index, number)),
            rows.en.eq((step >= 2) & (step < 2 + _HASHES * _WAYS)),
            match.eq((step >= 4) & row.valid & (Cat(row[name] for name, _ in TERMINATION_KEY) == key.as_value())),
        ]
        m.d.sync += [
            seed.eq(Mux(step.matches(2, 3), Cat(self.seed1, self.seed0), Cat(self.seed0, self.seed1))),
            index.eq(toeplitz(seed, key.as_value(), self._index_bits)),
            row.eq(rows.data),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step == idle):
            m.d.sync += found.eq(0)
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += [key.eq(self.i.payload), step.eq(1)]
        with m.Else():
            m.d.sync += step.eq(Mux(step == last, idle, step + 1))
            with m.If(match):
                m.d.sync += [found.hit.eq(1), found.circuit.eq(row.circuit)]
            with m.If(step == last):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.hit.eq(found.hit | match),
                    self.o.payload.circuit.eq(Mux(match, row.circuit, found.circuit)),
                ]
        return m
