"""Registers of a board: what it is, the state of its PHYs and of its host link, watchdog, LEDs, and access to PHYs."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...hdl.layouts import (
    BOARD_IDENTITY,
    BOARD_LEDS,
    BOARD_MDIO,
    BOARD_NAME_BYTES,
    BOARD_PHY,
    BOARD_PORT_BITS,
    BOARD_VERSION,
    BOARD_WATCHDOG,
    WATCHDOG_UNIT,
    BoardRow,
    HostLinkKind,
    OpStatus,
    Table,
    pack,
    unpack,
)
from .driver import Driver
from .errors import BoardError, NotABoard, OpError

__all__ = ["BoardIdentity", "BoardRegisters", "InbandStatus", "LinkCounters", "MdioError", "PhyStatus",
           "RegisterError", "WatchdogState"]

#: By the number in a PHY's row, in Mb/s.
_SPEEDS = (10, 100, 1000)
#: How long another access, a set-up of a PHY among them, may keep a bus, in seconds: a software reset takes up to 0.5.
_MDIO_PATIENCE = 5.0
_WIDTHS = {name: BOARD_MDIO[name].width for name in ("bus", "phy", "register", "data")}


class RegisterError(BoardError):
    """A board has no registers, or not what was asked of them; the message says what there is."""


class MdioError(BoardError):
    """An access to a PHY's register failed: nobody answered, or the bus was never free."""


@dataclass(frozen=True)
class BoardIdentity:
    """What a board is.

    Attributes
    ----------
    name : str
    ports : int
        Ports that have a PHY.
    buses : int
        MDIO buses.
    link : HostLinkKind
        How the host gets there.
    link_port : int or None
        Port that its frames come by; None: a UART.
    """

    name: str
    ports: int
    buses: int
    link: HostLinkKind = HostLinkKind.PORT
    link_port: int | None = 0


@dataclass(frozen=True)
class InbandStatus:
    """The link as the PHY tells it in band (RGMII 2.0, 3.4.1).

    Attributes
    ----------
    speed : int or None
        In Mb/s; None: the reserved value.
    """

    link: bool
    speed: int | None
    full_duplex: bool


@dataclass(frozen=True)
class PhyStatus:
    """A port's PHY.

    Attributes
    ----------
    bus, address : int
        Where it is on MDIO.
    present : bool
        It answers with the id that the board expects.
    link, full_duplex : bool
    speed : int or None
        Of the link, or of the last one, in Mb/s; None: the reserved value.
    identifier : int
        Registers 2 (upper half) and 3.
    inband : InbandStatus or None
        None: this PHY sends none.
    """

    bus: int
    address: int
    present: bool
    link: bool
    full_duplex: bool
    speed: int | None
    identifier: int
    inband: InbandStatus | None


@dataclass(frozen=True)
class LinkCounters:
    """Frames that the host link saw, modulo 2**32; what each is, :class:`.BoardRow` says."""

    accepted: int
    greeted: int
    forged: int
    replayed: int
    foreign: int
    overflow: int
    framing: int


@dataclass(frozen=True)
class WatchdogState:
    """The watchdog.

    Attributes
    ----------
    timeout : float
        In seconds; 0: off.
    armed, expired : bool
    disables : bool
        The board's policy: no router is enabled while it is expired.
    """

    timeout: float
    armed: bool
    expired: bool
    disables: bool


class BoardRegisters:
    """The board table behind a driver. Its methods may be called from any thread.

    Parameters
    ----------
    driver : Driver
        Of the board.
    patience : float
        How long to wait for an access to a PHY, in seconds.

    Raises
    ------
    RegisterError
        From every method: if the board has none.
    NotABoard
        From every method: if they are of another version.
    """

    def __init__(self, driver: Driver, *, patience: float = _MDIO_PATIENCE):
        self._driver = driver
        self._patience = patience
        self._mdio_lock = threading.RLock()
        self._hold = False
        self._identity: BoardIdentity | None = None

    def identity(self) -> BoardIdentity:
        """What the board is."""
        if self._identity is None:
            try:
                identity, *name = self._driver.read_rows(
                    (Table.BOARD, 0, row) for row in (BoardRow.IDENTITY, BoardRow.NAME_LOW, BoardRow.NAME_HIGH))
            except OpError as error:
                if error.status not in (OpStatus.BAD_TABLE, OpStatus.BAD_ROW):
                    raise
                raise RegisterError("there are no board registers: this is a core alone, as in a simulation, or one "
                                    "built from another version; build the board's top level") from error
            fields = unpack(BOARD_IDENTITY, identity)
            if fields["version"] != BOARD_VERSION:
                raise NotABoard(f"the board registers are of version {fields['version']}, not {BOARD_VERSION}: build "
                                "the bitstream and install the host's software from one version")
            octets = b"".join(part.to_bytes(BOARD_NAME_BYTES // 2, "little") for part in name).rstrip(b"\0")
            try:
                link = HostLinkKind(fields["link"])
            except ValueError:
                raise NotABoard(f"the board says that its host link is of kind {fields['link']}, which there is not: "
                                "build the bitstream and install the host's software from one version") from None
            self._identity = BoardIdentity(
                octets.decode("ascii", "replace"), fields["ports"], fields["buses"], link,
                None if link == HostLinkKind.UART else fields["link_port"])
        return self._identity

    def phys(self) -> list[PhyStatus]:
        """The PHY of each port."""
        rows = self._driver.read_rows((Table.BOARD, 0, BoardRow.PHY + port) for port in range(self.identity().ports))
        return [_phy_status(row) for row in rows]

    def link_counters(self) -> LinkCounters:
        """Counters of the host link."""
        self.identity()
        names = list(LinkCounters.__dataclass_fields__)
        values = self._driver.read_rows((Table.BOARD, 0, BoardRow[name.upper()]) for name in names)
        return LinkCounters(**dict(zip(names, values, strict=True)))

    def watchdog(self) -> WatchdogState:
        """State of the watchdog."""
        fields = unpack(BOARD_WATCHDOG, self._read(BoardRow.WATCHDOG))
        return WatchdogState(fields["timeout"] * self._unit(), bool(fields["armed"]), bool(fields["expired"]),
                             bool(fields["disables"]))

    def set_watchdog(self, timeout: float) -> None:
        """Let the watchdog start anew.

        Parameters
        ----------
        timeout : float
            In seconds, rounded up to the next that the board can have; 0: off.

        Raises
        ------
        RegisterError
            If it is negative, or longer than the board can wait.
        """
        unit, most = self._unit(), (1 << BOARD_WATCHDOG["timeout"].width) - 1
        if not 0 <= timeout <= most * unit:
            raise RegisterError(f"the watchdog's timeout must be 0 (off) to {most * unit:.0f} s, not {timeout}")
        units = -int(-timeout // unit)
        self._write(BoardRow.WATCHDOG, pack(BOARD_WATCHDOG, {"timeout": min(units, most)}))

    def rearm_watchdog(self) -> None:
        """Let the watchdog start anew with the timeout that it has: so an expired one enables the routers again."""
        fields = unpack(BOARD_WATCHDOG, self._read(BoardRow.WATCHDOG))
        self._write(BoardRow.WATCHDOG, pack(BOARD_WATCHDOG, {"timeout": fields["timeout"]}))

    def loopback(self) -> frozenset[int]:
        """Ports whose MAC hears what it sends."""
        return _ports(unpack(BOARD_PORT_BITS, self._read(BoardRow.LOOPBACK))["ports"])

    def set_loopback(self, ports: Iterable[int]) -> None:
        """Let these ports' MACs hear what they send, and the others the line.

        Raises
        ------
        RegisterError
            If there is no such port, or it is the host's alone.
        """
        mask = self._mask(ports)
        identity = self.identity()
        own = identity.link_port if identity.link == HostLinkKind.PORT else None
        if own is not None and mask >> own & 1:
            raise RegisterError(f"port {own} is the host's alone: the board could not be reached any more")
        self._write(BoardRow.LOOPBACK, pack(BOARD_PORT_BITS, {"ports": mask}))

    def leds(self) -> dict[int, bool]:
        """What the LEDs show that are the host's."""
        fields = unpack(BOARD_LEDS, self._read(BoardRow.LEDS))
        return {port: bool(fields["value"] >> port & 1) for port in sorted(_ports(fields["override"]))}

    def set_leds(self, leds: dict[int, bool]) -> None:
        """Let LEDs show what the host wants; all others show their link."""
        self._write(BoardRow.LEDS, pack(BOARD_LEDS, {
            "override": self._mask(leds), "value": self._mask(port for port, lit in leds.items() if lit)}))

    def mdio_read(self, bus: int, phy: int, register: int) -> int:
        """Read a register of a PHY.

        Raises
        ------
        RegisterError
            If there is no such bus, address or register.
        MdioError
            If no PHY answers, or the bus was never free.
        """
        row = self._access(bus=bus, phy=phy, register=register)
        if not row["ok"]:
            raise MdioError(f"no PHY answers at address {phy} of MDIO bus {bus}: check the address, and that the PHY "
                            "has power and is out of reset")
        return row["data"]

    def mdio_write(self, bus: int, phy: int, register: int, data: int) -> None:
        """Write a register of a PHY. Whether one is there does not show.

        Raises
        ------
        RegisterError
            If there is no such bus, address or register, or the value has more than 16 bits.
        MdioError
            If the bus was never free.
        """
        self._access(bus=bus, phy=phy, register=register, data=data, write=1)

    @contextmanager
    def mdio_held(self) -> Iterator[None]:
        """Nobody polls the PHYs meanwhile, so another page of their registers can be selected.

        Who does so selects page 0 again before the end.
        """
        with self._mdio_lock:
            before, self._hold = self._hold, True
            try:
                self._free()
                self._write(BoardRow.MDIO, pack(BOARD_MDIO, {"hold": 1}))
                yield
            finally:
                self._hold = before
                self._write(BoardRow.MDIO, pack(BOARD_MDIO, {"hold": int(before)}))

    def _access(self, **fields: int) -> dict[str, int]:
        for name, width in _WIDTHS.items():
            most = self.identity().buses - 1 if name == "bus" else (1 << width) - 1
            if not 0 <= fields.get(name, 0) <= most:
                raise RegisterError(f"{name} must be 0 to {most}, not {fields[name]}")
        with self._mdio_lock:
            self._free()
            self._write(BoardRow.MDIO, pack(BOARD_MDIO, {**fields, "start": 1, "hold": int(self._hold)}))
            return self._free()

    def _free(self) -> dict[str, int]:
        """Wait until no access is under way; gives the row."""
        deadline = time.monotonic() + self._patience
        while True:
            row = unpack(BOARD_MDIO, self._read(BoardRow.MDIO))
            if not row["busy"]:
                return row
            if time.monotonic() > deadline:
                raise MdioError(f"an access to PHY {row['phy']} of MDIO bus {row['bus']} has not ended after "
                                f"{self._patience} s: check that the board's PHY manager is out of reset, and that no "
                                "other driver uses the board")

    def _unit(self) -> float:
        return WATCHDOG_UNIT / self._driver.info().config.clock_hz

    def _mask(self, ports: Iterable[int]) -> int:
        there = self.identity().ports
        mask = 0
        for port in ports:
            if not 0 <= port < there:
                raise RegisterError(f"the board has ports 0 to {there - 1}, not {port}")
            mask |= 1 << port
        return mask

    def _read(self, row: BoardRow) -> int:
        self.identity()
        return self._driver.read_row(Table.BOARD, row)

    def _write(self, row: BoardRow, value: int) -> None:
        self.identity()
        self._driver.write_rows([(Table.BOARD, 0, row, value)])


def _ports(mask: int) -> frozenset[int]:
    return frozenset(port for port in range(mask.bit_length()) if mask >> port & 1)


def _speed(number: int) -> int | None:
    return _SPEEDS[number] if number < len(_SPEEDS) else None


def _phy_status(row: int) -> PhyStatus:
    fields = unpack(BOARD_PHY, row)
    inband = InbandStatus(bool(fields["inband_link"]), _speed(fields["inband_speed"]),
                          bool(fields["inband_full_duplex"]))
    return PhyStatus(fields["bus"], fields["address"], bool(fields["present"]), bool(fields["link"]),
                     bool(fields["full_duplex"]), _speed(fields["speed"]), fields["id"],
                     inband if fields["inband_valid"] else None)
