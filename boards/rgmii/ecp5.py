"""RGMII pins of an ECP5: buffers, delays, DDR cells."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from .ddr import RgmiiDdrSignature
from .delay import delay_taps
from .ports import RgmiiPorts

__all__ = ["SCLK_CENTERED_NS", "Ecp5RgmiiPins"]

#: Lattice FPGA-TN-02035, DELAYG: a tap, and the largest number of them.
TAP_PS = 25
MOST_TAPS = 127
#: Delay of data whose clock comes centered, by a pin and the clock network, in ns: what DELAYG does with DEL_MODE
#: SCLK_CENTERED (FPGA-TN-02035, GDDRX1_RX.SCLK.Centered). It makes up for the way of the clock to the cells. 39 taps
#: are nextpnr's figure (``ecp5/pack.cc``).
SCLK_CENTERED_NS = 39 * TAP_PS / 1000


class Ecp5RgmiiPins(wiring.Component):
    """Puts an RGMII's double data rate boundary on pins of an ECP5 (Lattice FPGA-TN-02035: IDDRX1F, ODDRX1F, DELAYG).

    The PHY must see TXC 2 ns late against TXD, and the receive cells RXC so against RXD. Each delay is made once: by
    the PHY, by the board's traces, or here. On its way to the cells RXC loses some ns by itself, which ``rx_delay_ns``
    makes up for.

    The domains ``rx``, to be made of ``rx_clk``, and ``tx`` are for the caller to rename. Clock constraints belong on
    the pin RXC, not on ``rx_clk``.

    Latency, of the cells: 1 cycle of ``rx`` from the falling edge's value, 2 of ``tx`` to the rising edge's.

    Parameters
    ----------
    ports : RgmiiPorts
        The pins.
    rx_delay_ns : float
        Delay of RXD and RX_CTL, 0 to 3.175 ns. 0: there is no cell.
    tx_delay_ns : float
        Delay of TXD and TX_CTL, in the same range.
    txc_delay_ns : float
        Delay of TXC, in the same range: 2 ns if neither PHY nor board delays TXC, else 0.

    Attributes
    ----------
    ddr : RgmiiDdrSignature
        From the logic.
    rx_clk : Signal, out
        RXC.

    Raises
    ------
    DelayError
        If a delay is out of range.
    """

    def __init__(self, ports: RgmiiPorts, *, rx_delay_ns: float = 0, tx_delay_ns: float = 0, txc_delay_ns: float = 0):
        self._ports = ports
        self._taps = {
            name: delay_taps(name, delay, tap_ps=TAP_PS, most=MOST_TAPS, cell="DELAYG")
            for name, delay in (("rx_delay_ns", rx_delay_ns), ("tx_delay_ns", tx_delay_ns),
                                ("txc_delay_ns", txc_delay_ns))
        }
        super().__init__({"ddr": In(RgmiiDdrSignature), "rx_clk": Out(1)})

    def elaborate(self, platform):
        m = Module()
        ports, ddr = self._ports, self.ddr
        m.submodules.rxc = rxc = io.Buffer("i", ports.rxc)
        m.d.comb += self.rx_clk.eq(rxc.i)
        self._inputs(m, "rxd", ports.rxd, ddr.rxd)
        self._inputs(m, "rx_ctl", ports.rx_ctl, ddr.rx_ctl)
        self._outputs(m, "txd", ports.txd, ddr.txd, "tx_delay_ns")
        self._outputs(m, "tx_ctl", ports.tx_ctl, ddr.tx_ctl, "tx_delay_ns")
        self._outputs(m, "txc", ports.txc, ddr.txc, "txc_delay_ns")
        return m

    def _inputs(self, m: Module, name: str, port: io.PortLike, pairs) -> None:
        m.submodules[name] = buffer = io.Buffer("i", port)
        for bit in range(len(port)):
            m.submodules[f"{name}{bit}_ddr"] = Instance(
                "IDDRX1F", i_SCLK=ClockSignal("rx"), i_RST=Const(0),
                i_D=self._delayed(m, f"{name}{bit}", buffer.i[bit], "rx_delay_ns"),
                o_Q0=pairs[0][bit], o_Q1=pairs[1][bit])

    def _outputs(self, m: Module, name: str, port: io.PortLike, pairs, delay: str) -> None:
        m.submodules[name] = buffer = io.Buffer("o", port)
        for bit in range(len(port)):
            pin = Signal(name=f"{name}{bit}")
            m.submodules[f"{name}{bit}_ddr"] = Instance(
                "ODDRX1F", i_SCLK=ClockSignal("tx"), i_RST=Const(0), i_D0=pairs[0][bit], i_D1=pairs[1][bit], o_Q=pin)
            m.d.comb += buffer.o[bit].eq(self._delayed(m, f"{name}{bit}", pin, delay))

    def _delayed(self, m: Module, name: str, signal, delay: str):
        taps = self._taps[delay]
        if not taps:
            return signal
        delayed = Signal(name=f"{name}_delayed")
        m.submodules[f"{name}_delay"] = Instance(
            "DELAYG", p_DEL_MODE="USER_DEFINED", p_DEL_VALUE=taps, i_A=signal, o_Z=delayed)
        return delayed
