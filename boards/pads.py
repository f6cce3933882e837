# amaranth: UnusedElaboratable=no
# A wrong description is found while a design is put together; then its error is all that there is to say.
"""Pins of a board around the RGMIIs: MDIO, resets of the PHYs, LEDs, UART. The same for all vendors."""

from typing import Any

from amaranth.build.plat import Platform
from amaranth.hdl import Module
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from .description import Board, BoardError
from .mdio import MdioSignature

__all__ = ["Pads", "request_ports"]


def request_ports(board: Board, platform: Platform) -> list[Any]:
    """The resources of the RGMII ports, in order, with ``dir="-"``."""
    return [platform.request(*board.resource_of(port), dir="-") for port in range(len(board.ports))]


class Pads(wiring.Component):
    """Buffers of everything that is slow.

    Parameters
    ----------
    board : Board
    ports : list
        Of :func:`request_ports`: the pins of MDIO and resets are in these resources.
    platform : Platform
        That the rest is requested from.
    uart : bool
        Whether the UART is used.

    Attributes
    ----------
    mdio0, mdio1, ... : MdioSignature
        One for each bus. What is read is not synchronized.
    phy_reset0, phy_reset1, ... : Signal, in
        Active high.
    leds : Signal, in
        A bit for each port; those that the board has no LED for are not used.
    uart_rxd : Signal, out
        Only with ``uart``. Not synchronized.
    uart_txd : Signal, in
        Only with ``uart``.

    Raises
    ------
    BoardError
        If a bus has no pins, or a resource not the pins that it needs.
    """

    def __init__(self, board: Board, ports: list[Any], platform: Platform, *, uart: bool) -> None:
        self._board, self._platform, self._has_uart = board, platform, uart
        self._buses = []
        for bus in range(board.buses):
            own = [pins for pins, entry in zip(ports, board.ports, strict=True) if entry.mdio == bus]
            pair = next(((pins.mdc, pins.mdio) for pins in own if hasattr(pins, "mdc") and hasattr(pins, "mdio")), None)
            if pair is None:
                raise BoardError(f"board {board.name}: no port of MDIO bus {bus} has pins mdc and mdio in its resource")
            self._buses.append((*pair, [pins.rst for pins in own if hasattr(pins, "rst")]))
        self._leds = [self._led(entry) for entry in board.leds[:len(ports)]]
        self._uart = platform.request(board.uart, 0, dir="-") if uart else None
        super().__init__({
            **{f"mdio{bus}": In(MdioSignature) for bus in range(board.buses)},
            **{f"phy_reset{bus}": In(1) for bus in range(board.buses)},
            "leds": In(len(ports)), **({"uart_rxd": Out(1), "uart_txd": In(1)} if uart else {})})

    def _led(self, entry) -> io.PortLike:
        pins = self._platform.request(entry.resource, entry.number, dir="-")
        if entry.pin is None:
            return pins
        if not hasattr(pins, entry.pin):
            raise BoardError(f"board {self._board.name}: its resource {entry.resource} {entry.number} has no pin "
                             f"{entry.pin}")
        return getattr(pins, entry.pin)

    def elaborate(self, platform):
        m = Module()
        for bus, (mdc, mdio, resets) in enumerate(self._buses):
            inner = getattr(self, f"mdio{bus}")
            m.submodules[f"mdc{bus}"] = clock = io.Buffer("o", mdc)
            m.submodules[f"mdio{bus}"] = line = io.Buffer("io", mdio)
            m.d.comb += [clock.o.eq(inner.mdc), line.o.eq(inner.o), line.oe.eq(inner.oe), inner.i.eq(line.i)]
            for number, pin in enumerate(resets):
                m.submodules[f"reset{bus}_{number}"] = reset = io.Buffer("o", pin)
                m.d.comb += reset.o.eq(getattr(self, f"phy_reset{bus}"))
        for number, pin in enumerate(self._leds):
            m.submodules[f"led{number}"] = led = io.Buffer("o", pin)
            m.d.comb += led.o.eq(self.leds[number])
        if self._has_uart:
            m.submodules.rxd = rxd = io.Buffer("i", self._uart.rx)
            m.submodules.txd = txd = io.Buffer("o", self._uart.tx)
            m.d.comb += [self.uart_rxd.eq(rxd.i), txd.o.eq(self.uart_txd)]
        return m
