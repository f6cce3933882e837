"""Block RAM of a table: one read port for the look-up stage, one port for the control engine."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import CoreConfig
from .memories import IN_BLOCKS, NEVER_MEET, delivered
from .records import TableSignature

__all__ = ["TableMemory", "port_index_bits", "port_table_rows", "table_addr_bits"]


def table_addr_bits(rows: int) -> int:
    """Bits of a row number; at least one, so that the address of a one-row table is a signal too."""
    return max(1, ceil_log2(rows))


class TableMemory(wiring.Component):
    """A table in synchronous-read block RAM, all zero when the FPGA is configured.

    Both sides share one read port, so that a block RAM is as wide as it can be, and a write waits as a read does, so
    that no row is ever read while it changes. Look-ups come first, with a latency of one cycle: ``data`` is the row of
    ``addr`` in the cycle after one with ``en``, and in no other. The control port has its turn in the first cycle
    without ``en``, which look-ups must leave now and then; it acknowledges in the cycle behind that.

    Parameters
    ----------
    rows : int
        Rows of the table. Neither port may be given a row beyond them.
    row_bits : int
        Bits of a row.
    in_blocks : bool
        It is block RAM, also where look-up tables would be cheaper.

    Attributes
    ----------
    addr, en, data
        Look-up port.
    table : TableSignature
        Control port.
    """

    def __init__(self, rows: int, row_bits: int, *, in_blocks: bool = False) -> None:
        self._in_blocks = in_blocks
        self.rows = rows
        self.row_bits = row_bits
        self.addr_bits = table_addr_bits(rows)
        super().__init__({
            "addr": In(unsigned(self.addr_bits)),
            "en": In(1),
            "data": Out(unsigned(row_bits)),
            "table": In(TableSignature(self.addr_bits, row_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = mem = memory.Memory(
            shape=unsigned(self.row_bits), depth=max(2, self.rows), init=[],
            attrs=NEVER_MEET | IN_BLOCKS if self._in_blocks else NEVER_MEET)
        write, read = mem.write_port(), mem.read_port()
        start = Signal()
        m.d.comb += [
            start.eq(self.table.stb & ~self.table.ack & ~self.en),
            read.addr.eq(Mux(self.en, self.addr, self.table.addr)),
            read.en.eq(self.en | (start & ~self.table.write)),
            write.addr.eq(self.table.addr),
            write.data.eq(self.table.w_data),
            write.en.eq(start & self.table.write),
            self.data.eq(delivered(m, platform, read, write)),
            self.table.r_data.eq(self.data),
        ]
        m.d.sync += self.table.ack.eq(start)
        return m


def port_index_bits(config: CoreConfig) -> int:
    """Bits of a data port's number in a row number of the PORT table, which is ``router << bits | port``."""
    return ceil_log2(config.ports)


def port_table_rows(config: CoreConfig) -> int:
    """Rows of the PORT table."""
    return config.routers << port_index_bits(config)
