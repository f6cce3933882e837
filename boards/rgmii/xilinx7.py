"""RGMII pins of a Xilinx 7-series FPGA: buffers, delays, DDR cells."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from .ddr import RgmiiDdrSignature
from .delay import delay_taps
from .ports import RgmiiPorts
from .shifted_clock import ShiftedClockPair

__all__ = ["Xilinx7DelayControl", "Xilinx7RgmiiPins"]

#: Xilinx DS182 and UG471: IDELAYE2 has 32 positions; at 200 MHz they are 1 / (32 * 2 * 200 MHz) apart.
REFERENCE_HZ = 200e6
TAP_PS = 1e12 / (64 * REFERENCE_HZ)
MOST_TAPS = 31
RXC_BUFFERS = ("BUFG", "BUFR")


class Xilinx7DelayControl(wiring.Component):
    """Calibrates the delays of all pins of a group (Xilinx UG471: IDELAYCTRL).

    Needed once for each group if any of its pins has a delay. The reference clock is the domain ``idelay``, 200 MHz.
    Its reset must last at least 60 ns; Vivado makes a copy for each clock region that needs one.

    Parameters
    ----------
    group : str
        The same as for the pins: IODELAY_GROUP.

    Attributes
    ----------
    ready : Signal, out
        The delays are right. Asynchronous.
    """

    def __init__(self, *, group: str = "rgmii"):
        self._group = group
        super().__init__({"ready": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.control = Instance(
            "IDELAYCTRL", a_IODELAY_GROUP=self._group, i_REFCLK=ClockSignal("idelay"),
            i_RST=ResetSignal("idelay", allow_reset_less=True), o_RDY=self.ready)
        return m


class Xilinx7RgmiiPins(wiring.Component):
    """Puts an RGMII's double data rate boundary on pins of a 7-series FPGA (Xilinx UG471: IDDR, ODDR, IDELAYE2).

    The PHY must see TXC 2 ns late against TXD, and the receive cells RXC so against RXD. Each delay is made once: by
    the PHY, by the board's traces, or here. On its way to the cells RXC loses some ns by itself, which ``rx_delay_ns``
    makes up for. Pins of high-range banks have no output delay, so that TXC is shifted by a clock.

    The domains ``rx``, to be made of ``rx_clk``, and ``tx`` are for the caller to rename.

    Latency, of the cells: 1 cycle of ``rx`` from the falling edge's value, 1 of ``tx`` to the rising edge's.

    Parameters
    ----------
    ports : RgmiiPorts
        The pins.
    rx_delay_ns : float
        Delay of RXD and RX_CTL, 0 to 2.42 ns. 0: there is no cell; else :class:`Xilinx7DelayControl` is needed.
    shift_txc : bool
        TXC is 2 ns late, made by the domain ``tx90``: 125 MHz, 90 degrees behind ``tx``, of the same source.
    rxc_buffer : str
        Clock buffer of RXC: ``BUFG`` reaches the whole chip, ``BUFR`` a clock region, with less delay.
    group : str
        IODELAY_GROUP of the delays.

    Attributes
    ----------
    ddr : RgmiiDdrSignature
        From the logic.
    rx_clk : Signal, out
        RXC, behind the clock buffer.

    Raises
    ------
    DelayError
        If the delay is out of range.
    ValueError
        If there is no such clock buffer.
    """

    def __init__(self, ports: RgmiiPorts, *, rx_delay_ns: float = 0, shift_txc: bool = False, rxc_buffer: str = "BUFG",
                 group: str = "rgmii"):
        if rxc_buffer not in RXC_BUFFERS:
            raise ValueError(f"rxc_buffer must be {' or '.join(RXC_BUFFERS)}, not {rxc_buffer!r}")
        self._ports = ports
        self._taps = delay_taps("rx_delay_ns", rx_delay_ns, tap_ps=TAP_PS, most=MOST_TAPS, cell="IDELAYE2")
        self._shift_txc = shift_txc
        self._rxc_buffer = rxc_buffer
        self._group = group
        super().__init__({"ddr": In(RgmiiDdrSignature), "rx_clk": Out(1)})

    def elaborate(self, platform):
        m = Module()
        ports, ddr = self._ports, self.ddr
        m.submodules.rxc = rxc = io.Buffer("i", ports.rxc)
        more = {"i_CE": Const(1), "i_CLR": Const(0)} if self._rxc_buffer == "BUFR" else {}
        m.submodules.rxc_clock = Instance(self._rxc_buffer, i_I=rxc.i, o_O=self.rx_clk, **more)
        self._inputs(m, "rxd", ports.rxd, ddr.rxd)
        self._inputs(m, "rx_ctl", ports.rx_ctl, ddr.rx_ctl)
        self._outputs(m, "txd", ports.txd, ddr.txd)
        self._outputs(m, "tx_ctl", ports.tx_ctl, ddr.tx_ctl)
        if self._shift_txc:
            m.submodules.shifted = shifted = ShiftedClockPair()
            m.d.comb += shifted.i.eq(ddr.txc)
            self._outputs(m, "txc", ports.txc, shifted.o, clock=ClockSignal("tx90"), inverted=True)
        else:
            self._outputs(m, "txc", ports.txc, ddr.txc)
        return m

    def _inputs(self, m: Module, name: str, port: io.PortLike, pairs) -> None:
        m.submodules[name] = buffer = io.Buffer("i", port)
        for bit in range(len(port)):
            pin = buffer.i[bit]
            if self._taps:
                pin = Signal(name=f"{name}{bit}_delayed")
                m.submodules[f"{name}{bit}_delay"] = Instance(
                    "IDELAYE2", a_IODELAY_GROUP=self._group, p_IDELAY_TYPE="FIXED", p_IDELAY_VALUE=self._taps,
                    p_DELAY_SRC="IDATAIN", p_SIGNAL_PATTERN="DATA", p_HIGH_PERFORMANCE_MODE="TRUE",
                    p_REFCLK_FREQUENCY=REFERENCE_HZ / 1e6, i_IDATAIN=buffer.i[bit], o_DATAOUT=pin,
                    i_DATAIN=Const(0), i_C=Const(0), i_CE=Const(0), i_INC=Const(0), i_LD=Const(0), i_LDPIPEEN=Const(0),
                    i_CINVCTRL=Const(0), i_CNTVALUEIN=Const(0, 5), i_REGRST=Const(0))
            m.submodules[f"{name}{bit}_ddr"] = Instance(
                "IDDR", p_DDR_CLK_EDGE="SAME_EDGE_PIPELINED", p_SRTYPE="ASYNC", i_C=ClockSignal("rx"), i_CE=Const(1),
                i_S=Const(0), i_R=Const(0), i_D=pin, o_Q1=pairs[0][bit], o_Q2=pairs[1][bit])

    def _outputs(self, m: Module, name: str, port: io.PortLike, pairs, *, clock=None, inverted: bool = False) -> None:
        m.submodules[name] = buffer = io.Buffer("o", port)
        for bit in range(len(port)):
            m.submodules[f"{name}{bit}_ddr"] = Instance(
                "ODDR", p_DDR_CLK_EDGE="SAME_EDGE", p_SRTYPE="ASYNC", p_IS_C_INVERTED=Const(inverted, 1),
                i_C=ClockSignal("tx") if clock is None else clock, i_CE=Const(1), i_S=Const(0), i_R=Const(0),
                i_D1=pairs[0][bit], i_D2=pairs[1][bit], o_Q=buffer.o[bit])
