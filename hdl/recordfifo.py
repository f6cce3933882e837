"""A FIFO in block RAM, with no logic for a case that it does not have."""

from typing import Any

from amaranth.hdl import Signal
from amaranth.lib.fifo import SyncFIFOBuffered

from .memories import NEVER_MEET

__all__ = ["RecordFifo"]


class RecordFifo(SyncFIFOBuffered):
    """``SyncFIFOBuffered``, whose memory's ports are known to never be at the same row.

    It reads only what was written before, and writes only where that was read, so a row is never read and written in
    one cycle. Not knowing that, yosys puts a register of the whole width ahead of the memory, and a comparator and
    multiplexer behind it.

    Parameters
    ----------
    width, depth : int
        Bits, and items.

    Attributes
    ----------
    meet : Signal
        A row is read and written in this cycle: never. For the sake of a proof.
    """

    def __init__(self, *, width: int, depth: int) -> None:
        super().__init__(width=width, depth=depth)
        self.meet = Signal()

    def elaborate(self, platform: Any):
        m = super().elaborate(platform)
        storage = m.submodules.storage
        storage.attrs.update(NEVER_MEET)
        (read,), (write,) = storage.read_ports, storage.write_ports
        m.d.comb += self.meet.eq(read.en & write.en & (read.addr == write.addr))
        return m
