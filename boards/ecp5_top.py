# amaranth: UnusedElaboratable=no
# A wrong description is found while a design is put together; then its error is all that there is to say.
"""All of a board with an ECP5: clocks, resets, pins, and the top level."""

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer

from .clocking.ecp5_chain import Ecp5PllChain
from .clocking.request import Output
from .description import Board
from .entropy import RingOscillators
from .pads import Pads, request_ports
from .rgmii.ecp5 import Ecp5RgmiiPins
from .rgmii.ports import RgmiiPorts
from .toplevel import ETH_HZ, connect_pads, connect_rgmii

__all__ = ["Ecp5Top"]

class Ecp5Top(Elaboratable):
    """Puts a board's top level on the pins of an ECP5.

    The PLL makes the core's clock and 125 MHz. ``sync`` is reset until it has locked. Clock constraints are at the pins
    of the clock and of each RXC, as nextpnr takes them; it derives those of the PLL's outputs.

    Parameters
    ----------
    board : Board
    inner : BoardTop
        The top level, made for this board; what has its members does.

    Raises
    ------
    PllError, DelayError, PinError, BoardError
        When it is elaborated: if the board's description is wrong.
    """

    def __init__(self, board: Board, inner: wiring.Component) -> None:
        self._board, self.inner = board, inner

    def clocks(self) -> dict[str, float]:
        """The clocks that must be checked, and their frequencies in Hz."""
        return {"sync": self._board.core_hz, "eth": ETH_HZ,
                **{f"rgmii{port}_rx": ETH_HZ for port in range(len(self._board.ports))}}

    def elaborate(self, platform):
        m = Module()
        board, inner = self._board, self.inner
        m.submodules.top = inner
        m.domains += [ClockDomain("sync"), ClockDomain("eth", reset_less=True)]
        m.submodules.clock = clock = io.Buffer("i", platform.request(
            board.clock or platform.default_clk, board.clock_number, dir="-"))
        m.submodules.pll = pll = Ecp5PllChain(board.clock_hz(), [Output("eth", ETH_HZ), Output("sync", board.core_hz)])
        m.d.comb += [pll.clk.eq(clock.i), ClockSignal("eth").eq(pll.o[0]), ClockSignal("sync").eq(pll.o[1]),
                     inner.eth_clk.eq(ClockSignal("eth"))]
        m.submodules.reset = ResetSynchronizer(~pll.locked, domain="sync")
        ports = request_ports(board, platform)
        m.submodules.pads = pads = Pads(board, ports, platform, uart="uart_rxd" in inner.signature.members)
        connect_pads(m, inner, pads)
        for number, (pins, entry) in enumerate(zip(ports, board.ports, strict=True)):
            self._rgmii(m, platform, number, pins, entry)
        if "entropy" in inner.signature.members:
            m.submodules.entropy = entropy = RingOscillators("ecp5")
            m.d.comb += inner.entropy.eq(entropy.o)
        return m

    def _rgmii(self, m: Module, platform, number: int, pins, entry) -> None:
        ports = RgmiiPorts.of_resource(pins)
        cells = Ecp5RgmiiPins(ports, rx_delay_ns=entry.fpga_rx_delay_ns, tx_delay_ns=entry.fpga_tx_delay_ns,
                              txc_delay_ns=entry.fpga_txc_delay_ns)
        platform.add_clock_constraint(ports.rxc.io, ETH_HZ)
        connect_rgmii(m, self.inner, number, cells, tx="eth")
