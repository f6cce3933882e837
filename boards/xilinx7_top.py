# amaranth: UnusedElaboratable=no
# A wrong description is found while a design is put together; then its error is all that there is to say.
"""All of a board with a 7-series FPGA: clocks, resets, pins, and the top level."""

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, ResetSignal, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer

from .clocking.request import Output
from .clocking.xilinx7 import Xilinx7Mmcm
from .description import Board, BoardError, BoardPort
from .entropy import RingOscillators
from .pads import Pads, request_ports
from .rgmii.ports import RgmiiPorts
from .rgmii.xilinx7 import REFERENCE_HZ, Xilinx7DelayControl, Xilinx7RgmiiPins
from .toplevel import ETH_HZ, connect_pads, connect_rgmii

__all__ = ["Xilinx7Top"]

#: What a quarter of a cycle of 125 MHz is, in ns: the only delay of TXC that there is.
_SHIFT_NS = 2.0


class Xilinx7Top(Elaboratable):
    """Puts a board's top level on the pins of a 7-series FPGA.

    An MMCM makes the core's clock, 125 MHz, the same a quarter of a cycle later if a port's TXC is shifted, and 200 MHz
    if one has input delays. ``sync`` is reset until it has locked. Clock constraints are at the pins of the clock and
    of each RXC; Vivado derives those of the MMCM's outputs.

    Parameters
    ----------
    board : Board
    inner : BoardTop
        The top level, made for this board; what has its members does.

    Raises
    ------
    BoardError
        If a port has delays that these FPGAs don't have.
    PllError, DelayError, PinError, BoardError
        When it is elaborated: if the board's description is wrong.
    """

    def __init__(self, board: Board, inner: wiring.Component) -> None:
        self._board, self.inner = board, inner
        for number, port in enumerate(board.ports):
            if port.fpga_tx_delay_ns or port.fpga_txc_delay_ns not in (0, _SHIFT_NS):
                raise BoardError(f"board {board.name}, port {number}: a 7-series FPGA delays TXC by {_SHIFT_NS:g} ns "
                                 "or not at all (fpga_txc_delay_ns), and no other output (fpga_tx_delay_ns)")

    def elaborate(self, platform):
        m = Module()
        board, inner = self._board, self.inner
        m.submodules.top = inner
        m.submodules.clock = clock = io.Buffer("i", platform.request(
            board.clock or platform.default_clk, board.clock_number, dir="-"))
        outputs = [Output("sync", board.core_hz), Output("eth", ETH_HZ)]
        if any(port.fpga_txc_delay_ns for port in board.ports):
            outputs.append(Output("eth90", ETH_HZ, 90))
        if any(port.fpga_rx_delay_ns for port in board.ports):
            outputs.append(Output("idelay_start", REFERENCE_HZ))
        m.submodules.mmcm = mmcm = Xilinx7Mmcm(board.clock_hz(), outputs)
        m.d.comb += [mmcm.clk.eq(clock.i), inner.eth_clk.eq(ClockSignal("eth"))]
        for index, output in enumerate(outputs):
            reset_less = output.name.startswith("eth")
            m.domains += ClockDomain(output.name, reset_less=reset_less)
            m.d.comb += ClockSignal(output.name).eq(mmcm.o[index])
            if not reset_less:
                m.submodules[f"{output.name}_reset"] = ResetSynchronizer(~mmcm.locked, domain=output.name)
        if outputs[-1].name == "idelay_start":
            self._delay_control(m)
        ports = request_ports(board, platform)
        m.submodules.pads = pads = Pads(board, ports, platform, uart="uart_rxd" in inner.signature.members)
        connect_pads(m, inner, pads)
        for number, (pins, entry) in enumerate(zip(ports, board.ports, strict=True)):
            self._rgmii(m, platform, number, RgmiiPorts.of_resource(pins), entry)
        if "entropy" in inner.signature.members:
            m.submodules.entropy = entropy = RingOscillators("xc7")
            m.d.comb += inner.entropy.eq(entropy.o)
        return m

    def _rgmii(self, m: Module, platform, number: int, ports: RgmiiPorts, entry: BoardPort) -> None:
        platform.add_clock_constraint(ports.rxc.io, ETH_HZ)
        cells = Xilinx7RgmiiPins(ports, rx_delay_ns=entry.fpga_rx_delay_ns, shift_txc=bool(entry.fpga_txc_delay_ns),
                                 rxc_buffer=entry.rxc_buffer)
        connect_rgmii(m, self.inner, number, cells, tx="eth", **({"tx90": "eth90"} if entry.fpga_txc_delay_ns else {}))

    def _delay_control(self, m: Module) -> None:
        # Its reset must last 60 ns with a clock that is stable: some cycles from the time that the MMCM has locked.
        cycles = Signal(4)
        with m.If(~cycles.all()):
            m.d.idelay_start += cycles.eq(cycles + 1)
        held = Signal(init=1)
        m.d.idelay_start += held.eq(~cycles.all())
        m.domains += ClockDomain("idelay")
        m.d.comb += [ClockSignal("idelay").eq(ClockSignal("idelay_start")), ResetSignal("idelay").eq(held)]
        m.submodules.delay_control = Xilinx7DelayControl()
