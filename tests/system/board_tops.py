"""Boards' top levels that the tests of host links and of the self-test share: one for each way to the host."""

from functools import cache
from pathlib import Path

from polyrouter.boards.top import HostLinkChoice, HostLinkKind
from polyrouter.sim.live.top import LiveTop, two_port_top

__all__ = ["KEY", "LINK_PORT", "executable_of", "top_of"]

KEY = bytes(range(1, 17))
#: Data port of the authenticated link.
LINK_PORT = 0
#: Bits of a beat of each: the narrow ones are what a small FPGA has.
_WIDTHS = {HostLinkKind.AUTHENTICATED: 64, HostLinkKind.UART: 32, HostLinkKind.PORT: 32}
#: Bits of 8 cycles: the fastest that the board's clock can.
_BAUD = 4_000_000


@cache
def top_of(kind: HostLinkKind, width: int | None = None) -> LiveTop:
    """A small board."""
    key = KEY if kind == HostLinkKind.AUTHENTICATED else None
    return two_port_top(HostLinkChoice(kind=kind, key=key, port=LINK_PORT, baud=_BAUD),
                        watchdog_disables=kind == HostLinkKind.UART,
                        data_width=_WIDTHS[kind] if width is None else width)


@cache
def executable_of(kind: HostLinkKind, width: int | None = None) -> Path:
    """Its executable; built once for all tests of all runs."""
    return top_of(kind, width).build()
