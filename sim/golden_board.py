"""Board table of the golden model: what the registers of a board show and do."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from polyrouter.hdl.layouts import (
    BOARD_IDENTITY,
    BOARD_LEDS,
    BOARD_MDIO,
    BOARD_NAME_BYTES,
    BOARD_PHY,
    BOARD_PORT_BITS,
    BOARD_VERSION,
    BOARD_WATCHDOG,
    BoardRow,
    HostLinkKind,
    pack,
    unpack,
)

__all__ = ["GoldenBoard", "MdioAccess"]

_COUNTERS = (BoardRow.ACCEPTED, BoardRow.GREETED, BoardRow.FORGED, BoardRow.REPLAYED, BoardRow.FOREIGN,
             BoardRow.OVERFLOW, BoardRow.FRAMING)


class MdioAccess(NamedTuple):
    """What the host wants of a PHY."""

    bus: int
    phy: int
    register: int
    write: bool
    data: int


class GoldenBoard:
    """What :class:`polyrouter.hdl.boardregs.BoardRegisters` is, but for time: that passes by its methods.

    Parameters
    ----------
    name : str
        What board this is.
    phys : Sequence[tuple[int, int]]
        MDIO bus and PHY address of each port.
    access : Callable[[MdioAccess], tuple[int, bool]]
        An access to a PHY: the data read, and whether it was acknowledged.
    disables : bool
        Policy of the watchdog.
    timeout : int
        Of the watchdog, after reset.
    mdio_reads : int
        Reads of the MDIO row for which an access lasts.
    link, link_port
        How the host gets to the board, and the port that its frames come by.

    Attributes
    ----------
    status : list[dict[str, int]]
        Fields of each port's PHY row, but for its place.
    counters : dict[BoardRow, int]
        Of the host link.
    armed, expired : bool
        State of the watchdog.
    hold : bool
        No PHY is polled.
    loopback, led_override, led_value : int
        A bit for each port. A port that is the host's alone has no loop-back.
    accesses : list[MdioAccess]
        Those that were begun.
    """

    def __init__(self, name: str, phys: Sequence[tuple[int, int]], access: Callable[[MdioAccess], tuple[int, bool]], *,
                 disables: bool = False, timeout: int = 0, mdio_reads: int = 1,
                 link: HostLinkKind = HostLinkKind.PORT, link_port: int = 0):
        self.name = name
        self.link, self.link_port = link, link_port
        self.phys = tuple(phys)
        self.buses = 1 + max(bus for bus, _ in phys)
        self.status: list[dict[str, int]] = [{} for _ in phys]
        self.counters = dict.fromkeys(_COUNTERS, 0)
        self.armed = self.expired = False
        self.timeout = timeout
        self.loopback = self.led_override = self.led_value = 0
        self.accesses: list[MdioAccess] = []
        self._access = access
        self._disables = disables
        self._mdio_reads = mdio_reads
        self._mdio: dict[str, int] = dict.fromkeys(unpack(BOARD_MDIO, 0), 0)
        self._left = 0

    @property
    def disable(self) -> bool:
        """No router may be enabled."""
        return self.expired and self._disables

    @property
    def hold(self) -> bool:
        """The host wants nobody else to use the buses."""
        return bool(self._mdio["hold"])

    def frame(self) -> None:
        """A frame from the host was accepted."""
        self.armed = True

    def silence(self, units: int) -> None:
        """No frame came for that many units."""
        if self.armed and self.timeout and units > self.timeout:
            self.expired = True

    def read(self, row: int) -> int:
        """Bits of a row."""
        mask = (1 << len(self.phys)) - 1
        name = self.name.encode("ascii").ljust(BOARD_NAME_BYTES, b"\0")
        match row:
            case BoardRow.IDENTITY:
                return pack(BOARD_IDENTITY, {"version": BOARD_VERSION, "ports": len(self.phys), "buses": self.buses,
                                             "link": self.link, "link_port": self.link_port})
            case BoardRow.NAME_LOW:
                return int.from_bytes(name[:8], "little")
            case BoardRow.NAME_HIGH:
                return int.from_bytes(name[8:], "little")
            case BoardRow.MDIO:
                return self._read_mdio()
            case BoardRow.WATCHDOG:
                return pack(BOARD_WATCHDOG, {"timeout": self.timeout, "expired": self.expired, "armed": self.armed,
                                             "disables": self._disables})
            case BoardRow.LOOPBACK:
                return pack(BOARD_PORT_BITS, {"ports": self.loopback & mask})
            case BoardRow.LEDS:
                return pack(BOARD_LEDS, {"override": self.led_override & mask, "value": self.led_value & mask})
        if row in self.counters:
            return self.counters[BoardRow(row)]
        if 0 <= row - BoardRow.PHY < len(self.phys):
            port = row - BoardRow.PHY
            bus, address = self.phys[port]
            return pack(BOARD_PHY, {**self.status[port], "bus": bus, "address": address})
        return 0

    def _read_mdio(self) -> int:
        row = pack(BOARD_MDIO, self._mdio)
        if self._mdio["busy"]:
            self._left -= 1
            if self._left <= 0:
                self.finish()
        return row

    def finish(self) -> None:
        """The access under way ends."""
        access = self.accesses[-1]
        data, ok = self._access(access)
        self._mdio |= {"busy": 0, "done": 1, "ok": int(ok)}
        if not access.write:
            self._mdio["data"] = data

    def write(self, row: int, value: int) -> None:
        """Write a row that can be."""
        match row:
            case BoardRow.MDIO:
                self._write_mdio(unpack(BOARD_MDIO, value & (1 << BOARD_MDIO.size) - 1))
            case BoardRow.WATCHDOG:
                self.timeout = value & (1 << BOARD_WATCHDOG["timeout"].width) - 1
                self.armed, self.expired = True, False
            case BoardRow.LOOPBACK:
                own = 1 << self.link_port if self.link == HostLinkKind.PORT else 0
                self.loopback = value & (1 << len(self.phys)) - 1 & ~own
            case BoardRow.LEDS:
                fields: Mapping[str, int] = unpack(BOARD_LEDS, value & (1 << BOARD_LEDS.size) - 1)
                self.led_override, self.led_value = fields["override"], fields["value"]

    def _write_mdio(self, new: Mapping[str, int]) -> None:
        self._mdio["hold"] = new["hold"]
        if self._mdio["busy"] or not new["start"]:
            return
        exists = new["bus"] < self.buses
        self._mdio |= {name: new[name] for name in ("data", "register", "phy", "bus", "write")}
        self._mdio |= {"busy": int(exists), "done": int(not exists), "ok": 0}
        if exists:
            self.accesses.append(MdioAccess(new["bus"], new["phy"], new["register"], bool(new["write"]), new["data"]))
            self._left = self._mdio_reads
