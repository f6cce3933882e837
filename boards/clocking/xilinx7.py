"""The MMCM of a 7-series FPGA: dividers for a set of clocks, the cell, and the clock buffers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .request import MOST_ERROR_PPM, Output, PllError, check_ranges, divided

__all__ = ["Xilinx7Mmcm", "Xilinx7MmcmSetting", "xilinx7_mmcm_setting"]

#: Xilinx DS182 and DS181, MMCM switching characteristics, speed grade -1 with its worst buffer: limits in Hz of the
#: input, of the phase detector, of the oscillator, and of an output.
INPUT_HZ = 10e6, 800e6
DETECTOR_HZ = 10e6, 450e6
VCO_HZ = 600e6, 1200e6
OUTPUT_HZ = 4.69e6, 464e6
#: UG472: what the dividers count up to, and the outputs there are.
MOST_INPUT_DIVIDER, MULTIPLIERS, MOST_DIVIDER, MOST_OUTPUTS = 106, (2, 64), 128, 7


@dataclass(frozen=True)
class Xilinx7MmcmSetting:
    """Parameters of an MMCME2_BASE.

    Parameters
    ----------
    input_divider, multiplier : int
        DIVCLK_DIVIDE and CLKFBOUT_MULT_F.
    dividers : tuple of int
        Of the oscillator, for each output.
    vco_hz : float
        The oscillator.
    """

    input_divider: int
    multiplier: int
    dividers: tuple[int, ...]
    vco_hz: float

    def frequencies(self) -> tuple[float, ...]:
        """Of the outputs, in Hz."""
        return tuple(self.vco_hz / divider for divider in self.dividers)


def xilinx7_mmcm_setting(input_hz: float, outputs: Sequence[Output]) -> Xilinx7MmcmSetting:
    """Parameters that make these clocks. Fractional dividers, which have more jitter, are not used.

    Among all that do, those with the fastest phase detector, and then the fastest oscillator, which have the least
    jitter.

    Parameters
    ----------
    input_hz : float
        The clock that there is.
    outputs : sequence of Output
        One to seven.

    Raises
    ------
    PllError
        If there are none.
    """
    if not 1 <= len(outputs) <= MOST_OUTPUTS:
        raise PllError(f"{len(outputs)} clocks of one MMCM; it makes 1 to {MOST_OUTPUTS}")
    check_ranges("an MMCM", input_hz, outputs, INPUT_HZ, OUTPUT_HZ)
    best = max(_settings(input_hz, outputs), key=lambda found: (-found.input_divider, found.vco_hz), default=None)
    if best is None:
        wanted = ", ".join(f"{output.hz / 1e6:g} MHz" for output in outputs)
        raise PllError(f"no setting of an MMCM makes {wanted} of {input_hz / 1e6:g} MHz within {MOST_ERROR_PPM:g} ppm "
                       "and with these phases: take another core clock")
    return best


def _settings(input_hz: float, outputs: Sequence[Output]) -> Iterator[Xilinx7MmcmSetting]:
    for input_divider in range(1, MOST_INPUT_DIVIDER + 1):
        detector = input_hz / input_divider
        if not DETECTOR_HZ[0] <= detector <= DETECTOR_HZ[1]:
            continue
        for multiplier in range(MULTIPLIERS[0], MULTIPLIERS[1] + 1):
            vco = detector * multiplier
            if not VCO_HZ[0] <= vco <= VCO_HZ[1]:
                continue
            if found := divided(vco, outputs, MOST_DIVIDER):
                yield Xilinx7MmcmSetting(input_divider, multiplier, found[0], vco)


class Xilinx7Mmcm(wiring.Component):
    """An MMCME2_BASE with a BUFG in its feedback and at each output (Xilinx UG472, UG953).

    Parameters
    ----------
    input_hz : float
    outputs : sequence of Output
        See :func:`xilinx7_mmcm_setting`.

    Attributes
    ----------
    clk : Signal, in
    o : Signal, out
        A bit for each output, behind its buffer.
    locked : Signal, out
        In no clock domain.

    Raises
    ------
    PllError
        As of :func:`xilinx7_mmcm_setting`.
    """

    def __init__(self, input_hz: float, outputs: Sequence[Output]) -> None:
        self.setting = xilinx7_mmcm_setting(input_hz, outputs)
        self._input_hz = input_hz
        self._outputs = tuple(outputs)
        super().__init__({"clk": In(1), "o": Out(len(outputs)), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        setting = self.setting
        made = Signal(len(self._outputs))
        fed_back, feedback = Signal(), Signal()
        cell: dict[str, object] = {}
        for index, (output, divider) in enumerate(zip(self._outputs, setting.dividers, strict=True)):
            # The first one's divider may be fractional, and is a parameter of another name and type.
            cell |= {f"p_CLKOUT{index}_DIVIDE{'' if index else '_F'}": divider if index else float(divider),
                     f"p_CLKOUT{index}_PHASE": float(output.phase), f"o_CLKOUT{index}": made[index]}
            m.submodules[f"{output.name}_buffer"] = Instance("BUFG", i_I=made[index], o_O=self.o[index])
        m.submodules.feedback = Instance("BUFG", i_I=feedback, o_O=fed_back)
        m.submodules.mmcm = Instance(
            "MMCME2_BASE", p_BANDWIDTH="OPTIMIZED", p_CLKIN1_PERIOD=round(1e9 / self._input_hz, 3),
            p_DIVCLK_DIVIDE=setting.input_divider, p_CLKFBOUT_MULT_F=float(setting.multiplier), **cell,
            i_CLKIN1=self.clk, i_CLKFBIN=fed_back, o_CLKFBOUT=feedback, i_RST=Const(0), i_PWRDWN=Const(0),
            o_LOCKED=self.locked)
        return m
