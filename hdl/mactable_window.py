"""Where in the bridges' MAC table an address may be, and the port by which the table's memory is reached."""

from amaranth.hdl import Cat, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import MAC_ROW
from .records import META
from .table import table_addr_bits

__all__ = ["PLACES", "MacPlace", "MacPortSignature", "place_of", "row_of"]

#: Rows in which an address may be; a window has at least as many.
PLACES = 4
#: An address folded to the bits that choose its rows.
_OFFSET_BITS = META["mac_size"].width - 1
_FOLD = 16

#: The rows ``base + (offset ^ j)`` for all ``j`` below PLACES, if the window is ``usable``: a power of two, and large
#: enough.
MacPlace = data.StructLayout({"base": META["mac_base"].width, "offset": _OFFSET_BITS, "usable": 1})


def place_of(mac: Value, base: Value, size: Value) -> dict[str, Value]:
    """Fields of MacPlace for an address and a window. Combinational: a carry chain and four levels of logic."""
    ones = (size - 1)[:len(size)]
    folded = (mac ^ mac[_FOLD:] ^ mac[2 * _FOLD:])[:_OFFSET_BITS]
    return {
        "base": base,
        "offset": folded & ones[:_OFFSET_BITS],
        "usable": (size >= PLACES) & ((size & ones) == 0),
    }


def row_of(config: CoreConfig, place: data.View, number: Value) -> tuple[Value, Value]:
    """Row of the table for ``j = number``, and whether the table has it."""
    row = place.base + Cat(place.offset[:len(number)] ^ number, place.offset[len(number):])
    bits = table_addr_bits(config.mac_rows)
    return row[:bits], row[bits:] == 0


def MacPortSignature(config: CoreConfig) -> wiring.Signature:
    """One port of the memory, which has the ``In`` side: ``data`` is the row of the last cycle with ``en``.

    A cycle with ``write`` writes ``w_data`` and reads nothing.
    """
    return wiring.Signature({
        "en": Out(1), "write": Out(1), "addr": Out(table_addr_bits(config.mac_rows)), "w_data": Out(MAC_ROW),
        "data": In(MAC_ROW),
    })
