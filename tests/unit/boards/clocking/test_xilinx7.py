"""Settings of an MMCM keep its limits and make what was asked for; the cell has them."""

import pytest
from amaranth.back import rtlil
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.clocking.request import FINE_STEPS, MOST_ERROR_PPM, Output, PllError, error_ppm
from polyrouter.boards.clocking.xilinx7 import (
    DETECTOR_HZ,
    MOST_DIVIDER,
    MULTIPLIERS,
    VCO_HZ,
    Xilinx7Mmcm,
    xilinx7_mmcm_setting,
)


def check(input_hz: float, outputs: list[Output], setting) -> None:
    detector = input_hz / setting.input_divider
    assert DETECTOR_HZ[0] <= detector <= DETECTOR_HZ[1] and VCO_HZ[0] <= setting.vco_hz <= VCO_HZ[1]
    assert MULTIPLIERS[0] <= setting.multiplier <= MULTIPLIERS[1]
    assert setting.vco_hz == pytest.approx(detector * setting.multiplier)
    for output, divider, hz in zip(outputs, setting.dividers, setting.frequencies(), strict=True):
        assert 1 <= divider <= MOST_DIVIDER and error_ppm(hz, output.hz) <= MOST_ERROR_PPM
        assert (output.phase / 360 * FINE_STEPS * divider).is_integer()


@given(st.integers(10, 200), st.lists(st.integers(1, 16), min_size=1, max_size=5), st.sampled_from([0, 45, 90, 180]))
def test_whatever_is_found_keeps_the_limits(input_mhz, ratios, phase):
    outputs = [Output(f"clock{index}", input_mhz * 4e6 / ratio, phase if index else 0)
               for index, ratio in enumerate(ratios)]
    try:
        setting = xilinx7_mmcm_setting(input_mhz * 1e6, outputs)
    except PllError as error:
        assert "MHz" in str(error)
        return
    check(input_mhz * 1e6, outputs, setting)


@pytest.mark.parametrize("core_mhz", [62.5, 100, 125])
def test_clocks_of_the_boards(core_mhz):
    outputs = [Output("sync", core_mhz * 1e6), Output("eth", 125e6), Output("eth90", 125e6, 90),
               Output("idelay", 200e6)]
    mmcm = Xilinx7Mmcm(200e6, outputs)
    check(200e6, outputs, mmcm.setting)
    text = rtlil.convert(mmcm, ports=[mmcm.clk, mmcm.o, mmcm.locked], emit_src=False)
    assert text.count("cell \\BUFG") == len(outputs) + 1
    assert "CLKOUT2_PHASE 90" in text.replace("real ", "").replace('"', "").replace("\\", "")


@pytest.mark.parametrize("input_hz,outputs,said", [
    (4e6, [Output("tx", 125e6)], "input of 4 MHz at an MMCM; it takes 10 to 800 MHz"),
    (100e6, [Output("tx", 500e6)], "tx of 500 MHz"),
    (100e6, [], "0 clocks of one MMCM"),
    (100e6, [Output("tx", 125e6), Output("odd", 33.3217e6)], "no setting of an MMCM makes 125 MHz, 33.3217 MHz"),
])
def test_what_it_cannot_make(input_hz, outputs, said):
    with pytest.raises(PllError, match=said):
        xilinx7_mmcm_setting(input_hz, outputs)
