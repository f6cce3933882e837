"""Block RAM of a table: one read port for the look-up stage, one port for the control engine."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import CoreConfig
from .records import TableSignature

__all__ = ["TableMemory", "port_index_bits", "port_table_rows", "table_addr_bits"]


def table_addr_bits(rows: int) -> int:
    """Bits of a row number; at least one, so that the address of a one-row table is a signal too."""
    return max(1, ceil_log2(rows))


class TableMemory(wiring.Component):
    """A table in synchronous-read block RAM, all zero when the FPGA is configured.

    The look-up port has a latency of one cycle: ``data`` holds the row of the last cycle in which ``en`` was high. A
    row that is written in the very cycle in which it is looked up reads as its new value, whole.

    The control port acknowledges one cycle after ``stb`` rises. Its read shares the write port's address, so the
    memory maps onto true dual-port block RAM without being duplicated.

    Parameters
    ----------
    rows : int
        Rows of the table. Neither port may be given a row beyond them.
    row_bits : int
        Bits of a row.

    Attributes
    ----------
    addr, en, data
        Look-up port.
    table : TableSignature
        Control port.
    """

    def __init__(self, rows: int, row_bits: int) -> None:
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
        # The attribute tells Vivado that both ports may address the same row at once (amaranth#1589).
        m.submodules.memory = mem = memory.Memory(
            shape=unsigned(self.row_bits), depth=max(2, self.rows), init=[], attrs={"rw_addr_collision": "yes"})
        write = mem.write_port()
        control = mem.read_port()
        # Without transparency, yosys keeps a second copy of the memory on ECP5.
        lookup = mem.read_port(transparent_for=(write,))

        start = self.table.stb & ~self.table.ack
        m.d.sync += self.table.ack.eq(start)
        m.d.comb += [
            write.addr.eq(self.table.addr),
            write.data.eq(self.table.w_data),
            write.en.eq(start & self.table.write),
            control.addr.eq(self.table.addr),
            control.en.eq(start & ~self.table.write),
            self.table.r_data.eq(control.data),
            lookup.addr.eq(self.addr),
            lookup.en.eq(self.en),
            self.data.eq(lookup.data),
        ]
        return m


def port_index_bits(config: CoreConfig) -> int:
    """Bits of a data port's number in a row number of the PORT table, which is ``router << bits | port``."""
    return ceil_log2(config.ports)


def port_table_rows(config: CoreConfig) -> int:
    """Rows of the PORT table."""
    return config.routers << port_index_bits(config)
