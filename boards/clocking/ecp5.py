"""The PLL of an ECP5: dividers and phases for a set of clocks, and the cell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .request import FINE_STEPS, MOST_ERROR_PPM, Output, PllError, check_ranges, divided, error_ppm

__all__ = ["Ecp5Pll", "Ecp5PllSetting", "ecp5_pll_setting"]

#: Lattice FPGA-DS-02012, sysCLOCK PLL timing: limits in Hz of the input, of the phase detector, of the oscillator, and
#: of an output.
INPUT_HZ = 8e6, 400e6
DETECTOR_HZ = 10e6, 400e6
VCO_HZ = 400e6, 800e6
OUTPUT_HZ = 3.125e6, 400e6
#: All dividers count up to this.
MOST_DIVIDER = 128
#: Of the cell, in the order in which outputs are given to them; the first one is fed back.
CELLS = "CLKOP", "CLKOS", "CLKOS2", "CLKOS3"


@dataclass(frozen=True)
class Ecp5PllSetting:
    """Parameters of an EHXPLLL.

    Parameters
    ----------
    input_divider, feedback_divider : int
        CLKI_DIV and CLKFB_DIV: the first output is the input times the second over the first.
    dividers : tuple of int
        Of the oscillator, for each output.
    shifts : tuple of int
        Eighths of the oscillator's period, for each output.
    vco_hz : float
        The oscillator.
    """

    input_divider: int
    feedback_divider: int
    dividers: tuple[int, ...]
    shifts: tuple[int, ...]
    vco_hz: float

    def frequencies(self) -> tuple[float, ...]:
        """Of the outputs, in Hz."""
        return tuple(self.vco_hz / divider for divider in self.dividers)


def ecp5_pll_setting(input_hz: float, outputs: Sequence[Output]) -> Ecp5PllSetting:
    """Parameters that make these clocks, the first of them in phase with the input.

    Among all that do, those with the fastest phase detector, which has the least jitter, and then the fastest
    oscillator.

    Parameters
    ----------
    input_hz : float
        The clock that there is.
    outputs : sequence of Output
        One to four.

    Raises
    ------
    PllError
        If there are none.
    """
    if not 1 <= len(outputs) <= len(CELLS):
        raise PllError(f"{len(outputs)} clocks of one PLL; an EHXPLLL makes 1 to {len(CELLS)}")
    check_ranges("an EHXPLLL", input_hz, outputs, INPUT_HZ, OUTPUT_HZ)
    if outputs[0].phase:
        raise PllError(f"{outputs[0].name}, the first clock, is fed back: its phase must be 0, not "
                       f"{outputs[0].phase:g}")
    best = max(_settings(input_hz, outputs), key=lambda found: (-found.input_divider, found.vco_hz), default=None)
    if best is None:
        wanted = ", ".join(f"{output.hz / 1e6:g} MHz" for output in outputs)
        raise PllError(f"no setting of an EHXPLLL makes {wanted} of {input_hz / 1e6:g} MHz within {MOST_ERROR_PPM:g} "
                       "ppm and with these phases: take other core clocks or a second PLL")
    return best


def _settings(input_hz: float, outputs: Sequence[Output]) -> Iterator[Ecp5PllSetting]:
    first = outputs[0]
    for input_divider in range(1, MOST_DIVIDER + 1):
        detector = input_hz / input_divider
        feedback_divider = round(first.hz / detector)
        if (not DETECTOR_HZ[0] <= detector <= DETECTOR_HZ[1] or not 1 <= feedback_divider <= MOST_DIVIDER
                or error_ppm(detector * feedback_divider, first.hz) > MOST_ERROR_PPM):
            continue
        for divider in range(1, MOST_DIVIDER + 1):
            vco = detector * feedback_divider * divider
            if not VCO_HZ[0] <= vco <= VCO_HZ[1]:
                continue
            if found := divided(vco, outputs, MOST_DIVIDER):
                yield Ecp5PllSetting(input_divider, feedback_divider, *found, vco)


class Ecp5Pll(wiring.Component):
    """An EHXPLLL (Lattice FPGA-TN-02200). Nextpnr derives the constraints of the outputs from that of the input.

    Parameters
    ----------
    input_hz : float
    outputs : sequence of Output
        See :func:`ecp5_pll_setting`.

    Attributes
    ----------
    clk : Signal, in
    reset : Signal, in
        Starts it anew.
    o : Signal, out
        A bit for each output.
    locked : Signal, out
        In no clock domain.

    Raises
    ------
    PllError
        As of :func:`ecp5_pll_setting`.
    """

    def __init__(self, input_hz: float, outputs: Sequence[Output]) -> None:
        self.setting = ecp5_pll_setting(input_hz, outputs)
        self._input_hz = input_hz
        super().__init__({"clk": In(1), "reset": In(1), "o": Out(len(outputs)), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        setting = self.setting
        cell: dict[str, object] = {}
        for index, (name, divider, shift) in enumerate(zip(CELLS, setting.dividers, setting.shifts, strict=False)):
            # An output rises CPHASE + 1 periods of the oscillator after all have started: divider - 1 is no shift.
            coarse, fine = divmod(shift, FINE_STEPS)
            cell |= {f"p_{name}_ENABLE": "ENABLED", f"p_{name}_DIV": divider,
                     f"p_{name}_CPHASE": (divider - 1 + coarse) % divider, f"p_{name}_FPHASE": fine,
                     f"o_{name}": self.o[index]}
        fed_back = Signal()
        m.d.comb += fed_back.eq(self.o[0])
        m.submodules.pll = Instance(
            "EHXPLLL", a_FREQUENCY_PIN_CLKI=f"{self._input_hz / 1e6:.6f}", a_ICP_CURRENT="12", a_LPF_RESISTOR="8",
            **{f"a_FREQUENCY_PIN_{name}": f"{hz / 1e6:.6f}"
               for name, hz in zip(CELLS, setting.frequencies(), strict=False)},
            p_PLLRST_ENA="ENABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
            p_FEEDBK_PATH=CELLS[0], p_CLKI_DIV=setting.input_divider, p_CLKFB_DIV=setting.feedback_divider, **cell,
            i_CLKI=self.clk, i_CLKFB=fed_back, i_RST=self.reset, o_LOCK=self.locked,
            **{f"i_{pin}": Const(0) for pin in (
                "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP", "PHASELOADREG", "PLLWAKESYNC",
                "ENCLKOP", "ENCLKOS", "ENCLKOS2", "ENCLKOS3")})
        return m
