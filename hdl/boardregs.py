"""Registers of a board: what the host sees and sets of what is around the core."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import ConfigError
from .layouts import (
    BOARD_IDENTITY,
    BOARD_LEDS,
    BOARD_MDIO,
    BOARD_NAME_BYTES,
    BOARD_PHY,
    BOARD_PORT_BITS,
    BOARD_PORTS,
    BOARD_ROWS,
    BOARD_VERSION,
    BOARD_WATCHDOG,
    WATCHDOG_UNIT,
    BoardRow,
    HostLinkKind,
    pack,
)
from .mdio import INBAND_STATUS, MDIO_COMMAND, MDIO_RESPONSE, PHY_STATUS
from .records import TableSignature
from .table import table_addr_bits
from .watchdog import Watchdog

__all__ = ["BoardRegisters"]

#: Rows that the host link counts, by the number of its counter.
_COUNTED = (BoardRow.ACCEPTED, BoardRow.GREETED, BoardRow.FORGED, BoardRow.REPLAYED, BoardRow.FOREIGN,
            BoardRow.OVERFLOW, BoardRow.FRAMING)
_COUNT_BITS = 32
_ROW_BITS = 64


class BoardRegisters(wiring.Component):
    """The board table, with the watchdog.

    All inputs belong to ``sync``. An access takes two cycles.

    Parameters
    ----------
    name : str
        What board this is: 1 to 16 characters of ASCII.
    phys : Sequence[tuple[int, int]]
        MDIO bus and PHY address of each port, 1 to 16 of them.
    disables : bool
        Policy of the watchdog: no router is enabled while it is expired.
    timeout : int
        Timeout of the watchdog after reset, in units of WATCHDOG_UNIT cycles; 0: off.
    link : HostLinkKind
        How the host gets here.
    link_port : int
        Port that its frames come by.

    Attributes
    ----------
    table : TableSignature
        Accesses of the control engine: rows of :class:`.layouts.BoardRow`.
    phy, inband : arrays of PHY_STATUS and INBAND_STATUS, in
        State of each port. ``valid`` of ``inband`` is low where a PHY sends none.
    mdio_command, mdio_response : arrays of streams of MDIO_COMMAND and MDIO_RESPONSE
        The host's accesses on each bus.
    mdio_hold : Signal, out
        The host wants nobody else to use the buses.
    link_counter : Signal, out
        Which counter of the host link is asked for: 0 is ACCEPTED, the others follow as in BoardRow.
    link_count : Signal(32), in
        Its value, at the latest in the next cycle. Zero if there is no such counter.
    host_alive : Signal, in
        High for a cycle for each frame from the host that was accepted.
    disable : Signal, out
        No router may be enabled.
    loopback : Signal, out
        A bit for each port: its MAC hears what it sends.
    led_override, led_value : Signal, out
        A bit for each port: its LED is the host's, and what it shows then.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    def __init__(self, name: str, phys: Sequence[tuple[int, int]], *, disables: bool = False, timeout: int = 0,
                 watchdog_unit: int = WATCHDOG_UNIT, link: HostLinkKind = HostLinkKind.PORT,
                 link_port: int = 0) -> None:
        if not (name.isascii() and name.isprintable() and 1 <= len(name) <= BOARD_NAME_BYTES):
            raise ConfigError(f"the board's name must be 1 to {BOARD_NAME_BYTES} characters of ASCII, not {name!r}")
        if not 1 <= len(phys) <= BOARD_PORTS:
            raise ConfigError(f"a board has 1 to {BOARD_PORTS} ports with a PHY, not {len(phys)}")
        for port, place in enumerate(phys):
            for what, value in zip(("bus", "address"), place, strict=True):
                if not 0 <= value < 1 << BOARD_PHY[what].width:
                    raise ConfigError(f"MDIO {what} of port {port} must be 0 to {(1 << BOARD_PHY[what].width) - 1}, "
                                      f"not {value}")
            if place in phys[:port]:
                raise ConfigError(f"ports {phys.index(place)} and {port} have the same PHY: bus {place[0]}, "
                                  f"address {place[1]}")
        if not 0 <= timeout < 1 << BOARD_WATCHDOG["timeout"].width:
            raise ConfigError(f"the watchdog's timeout must be 0 to {(1 << BOARD_WATCHDOG['timeout'].width) - 1} units "
                              f"of {WATCHDOG_UNIT} cycles, not {timeout}")
        if not 0 <= link_port < len(phys):
            raise ConfigError(f"the port of the host link must be 0 to {len(phys) - 1}, not {link_port}")
        self.name = name
        self._link, self._link_port = link, link_port
        self.phys = tuple(phys)
        self.buses = 1 + max(bus for bus, _ in phys)
        self._disables = disables
        self._timeout = timeout
        self._watchdog_unit = watchdog_unit
        ports = len(phys)
        super().__init__({
            "table": In(TableSignature(table_addr_bits(BOARD_ROWS), _ROW_BITS)),
            "phy": In(PHY_STATUS).array(ports),
            "inband": In(INBAND_STATUS).array(ports),
            "mdio_command": Out(stream.Signature(MDIO_COMMAND)).array(self.buses),
            "mdio_response": In(stream.Signature(MDIO_RESPONSE)).array(self.buses),
            "mdio_hold": Out(1),
            "link_counter": Out(range(len(_COUNTED))),
            "link_count": In(_COUNT_BITS),
            "host_alive": In(1),
            "disable": Out(1),
            "loopback": Out(ports),
            "led_override": Out(ports),
            "led_value": Out(ports),
        })

    def elaborate(self, platform):
        m = Module()
        table = self.table
        m.submodules.watchdog = watchdog = Watchdog(disables=self._disables, unit=self._watchdog_unit)
        m.d.comb += self.link_counter.eq(table.addr - _COUNTED[0])

        # An access: the link's counter is asked for in the first cycle, all else happens in the second.
        second = Signal()
        m.d.sync += [second.eq(table.stb & ~second & ~table.ack), table.ack.eq(second)]
        written = {row: Signal(name=f"write_{row.name.lower()}")
                   for row in (BoardRow.MDIO, BoardRow.WATCHDOG, BoardRow.LOOPBACK, BoardRow.LEDS)}
        for row, signal in written.items():
            m.d.comb += signal.eq(second & table.write & (table.addr == row))

        mdio = self._mdio(m, written[BoardRow.MDIO])
        timeout = Signal(BOARD_WATCHDOG["timeout"].shape, init=self._timeout)
        guard = Signal(BOARD_WATCHDOG)
        leds = Signal(BOARD_LEDS)
        loopback = Signal(BOARD_PORT_BITS)
        m.d.comb += [
            watchdog.frame.eq(self.host_alive),
            watchdog.timeout.eq(timeout),
            watchdog.rearm.eq(written[BoardRow.WATCHDOG]),
            self.disable.eq(watchdog.disable),
            guard.timeout.eq(timeout),
            guard.expired.eq(watchdog.expired),
            guard.armed.eq(watchdog.armed),
            guard.disables.eq(self._disables),
            leds.override.eq(self.led_override),
            leds.value.eq(self.led_value),
            loopback.ports.eq(self.loopback),
        ]
        new_timeout, new_loopback, new_leds = (
            _view(m, layout, table.w_data) for layout in (BOARD_WATCHDOG, BOARD_PORT_BITS, BOARD_LEDS))
        with m.If(written[BoardRow.WATCHDOG]):
            m.d.sync += timeout.eq(new_timeout.timeout)
        with m.If(written[BoardRow.LOOPBACK]):
            # A port that is the host's alone never hears itself: nobody could tell it to stop.
            kept_out = 1 << self._link_port if self._link == HostLinkKind.PORT else 0
            m.d.sync += self.loopback.eq(new_loopback.ports & ~kept_out if kept_out else new_loopback.ports)
        with m.If(written[BoardRow.LEDS]):
            m.d.sync += [self.led_override.eq(new_leds.override), self.led_value.eq(new_leds.value)]

        name = int.from_bytes(self.name.encode("ascii"), "little")
        rows = {
            BoardRow.IDENTITY: pack(BOARD_IDENTITY, {
                "version": BOARD_VERSION, "ports": len(self.phys), "buses": self.buses,
                "link": self._link, "link_port": self._link_port}),
            BoardRow.NAME_LOW: name & (1 << _ROW_BITS) - 1,
            BoardRow.NAME_HIGH: name >> _ROW_BITS,
            BoardRow.MDIO: mdio.as_value(),
            BoardRow.WATCHDOG: guard.as_value(),
            BoardRow.LOOPBACK: loopback.as_value(),
            BoardRow.LEDS: leds.as_value(),
            **dict.fromkeys(_COUNTED, self.link_count),
            **{BoardRow.PHY + port: self._phy(m, port).as_value() for port in range(len(self.phys))},
        }
        with m.If(second):
            m.d.sync += table.r_data.eq(0)
            with m.Switch(table.addr):
                for row, value in rows.items():
                    with m.Case(row):
                        m.d.sync += table.r_data.eq(value)
        return m

    def _mdio(self, m: Module, written):
        """The host's accesses to PHYs, one at a time; gives the row."""
        row = Signal(BOARD_MDIO)
        new = _view(m, BOARD_MDIO, self.table.w_data)
        offered = Signal()      # it was not accepted yet
        m.d.comb += self.mdio_hold.eq(row.hold)
        exists = new.bus < self.buses
        with m.If(written):
            m.d.sync += row.hold.eq(new.hold)
            with m.If(~row.busy & new.start):
                m.d.sync += [
                    *(row[name].eq(new[name]) for name in ("data", "register", "phy", "bus", "write")),
                    row.busy.eq(exists),
                    offered.eq(exists),
                    row.done.eq(~exists),
                    row.ok.eq(0),
                ]
        bus = row.bus[:max(1, ceil_log2(self.buses))]
        for number, (command, response) in enumerate(zip(self.mdio_command, self.mdio_response, strict=True)):
            mine = bus == number
            m.d.comb += [
                *(command.payload[name].eq(row[name]) for name, _ in MDIO_COMMAND),
                command.valid.eq(offered & mine),
                response.ready.eq(row.busy & ~offered & mine),
            ]
            with m.If(command.valid & command.ready):
                m.d.sync += offered.eq(0)
            with m.If(response.valid & response.ready):
                m.d.sync += [row.busy.eq(0), row.done.eq(1), row.ok.eq(response.payload.ok)]
                with m.If(~row.write):
                    m.d.sync += row.data.eq(response.payload.data)
        return row

    def _phy(self, m: Module, port: int):
        """Row of a port."""
        bus, address = self.phys[port]
        row = Signal(BOARD_PHY, name=f"row_phy{port}")
        m.d.comb += [
            row.bus.eq(bus),
            row.address.eq(address),
            *(row[name].eq(self.phy[port][name]) for name, _ in PHY_STATUS),
            *(row[f"inband_{name}"].eq(self.inband[port][name]) for name, _ in INBAND_STATUS),
        ]
        return row


def _view(m: Module, layout, bits):
    """The fields of a row that is written."""
    fields = Signal(layout, name="new")
    m.d.comb += fields.as_value().eq(bits)
    return fields
