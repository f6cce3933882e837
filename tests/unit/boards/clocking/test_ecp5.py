"""Settings of an ECP5's PLL keep its limits and make what was asked for; the cell has them."""

import re

import pytest
from amaranth.back import rtlil
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.clocking.ecp5 import (
    DETECTOR_HZ,
    MOST_DIVIDER,
    VCO_HZ,
    Ecp5Pll,
    ecp5_pll_setting,
)
from polyrouter.boards.clocking.request import FINE_STEPS, MOST_ERROR_PPM, Output, PllError, error_ppm

#: Oscillators of the boards, and the clocks that they need: transmit clock and core.
BOARDS = [(100e6, (125e6, 62.5e6)), (100e6, (125e6, 75e6, 125e6)), (25e6, (125e6, 75e6)), (30e6, (75e6, 125e6)),
          (125e6, (125e6, 100e6))]


def check(input_hz: float, outputs: list[Output], setting) -> None:
    detector = input_hz / setting.input_divider
    assert DETECTOR_HZ[0] <= detector <= DETECTOR_HZ[1] and VCO_HZ[0] <= setting.vco_hz <= VCO_HZ[1]
    assert setting.vco_hz == pytest.approx(detector * setting.feedback_divider * setting.dividers[0])
    assert all(1 <= divider <= MOST_DIVIDER for divider in (
        setting.input_divider, setting.feedback_divider, *setting.dividers))
    for output, divider, shift, hz in zip(outputs, setting.dividers, setting.shifts, setting.frequencies(),
                                          strict=True):
        assert error_ppm(hz, output.hz) <= MOST_ERROR_PPM
        assert shift / FINE_STEPS / divider * 360 == pytest.approx(output.phase)


@pytest.mark.parametrize("input_hz,clocks", BOARDS)
def test_clocks_of_the_boards(input_hz, clocks):
    outputs = [Output(f"clock{index}", hz) for index, hz in enumerate(clocks)]
    check(input_hz, outputs, ecp5_pll_setting(input_hz, outputs))


@given(st.integers(8, 200), st.integers(1, 12), st.lists(st.sampled_from([0, 45, 90, 180, 270]), max_size=3),
       st.lists(st.integers(1, 12), min_size=3, max_size=3))
def test_whatever_is_found_keeps_the_limits(input_mhz, times, phases, ratios):
    """Ratios of small numbers, of which many can be made; what can't is an error that names the clocks."""
    hz = input_mhz * 1e6 * times / 4
    outputs = [Output("first", hz), *(Output("other", hz / ratio, phase)
                                      for ratio, phase in zip(ratios, phases, strict=False))]
    try:
        setting = ecp5_pll_setting(input_mhz * 1e6, outputs)
    except PllError as error:
        assert "MHz" in str(error)
        return
    check(input_mhz * 1e6, outputs, setting)


@pytest.mark.parametrize("input_hz,outputs,said", [
    (4e6, [Output("tx", 125e6)], "input of 4 MHz at an EHXPLLL; it takes 8 to 400 MHz"),
    (100e6, [Output("tx", 500e6)], "tx of 500 MHz"),
    (100e6, [], "0 clocks of one PLL"),
    (100e6, [Output("tx", 125e6)] * 5, "5 clocks of one PLL"),
    (100e6, [Output("tx", 125e6, 90)], "its phase must be 0, not 90"),
    (30e6, [Output("tx", 125e6)], "no setting of an EHXPLLL makes 125 MHz of 30 MHz"),
    (100e6, [Output("tx", 125e6), Output("core", 101e6)], "makes 125 MHz, 101 MHz of 100 MHz"),
    (100e6, [Output("tx", 125e6), Output("late", 125e6, 7)], "with these phases"),
])
def test_what_can_not_be_made_is_said(input_hz, outputs, said):
    with pytest.raises(PllError, match=re.escape(said)):
        ecp5_pll_setting(input_hz, outputs)


def test_the_cell_has_the_setting():
    """125 MHz, the same a quarter of a period later, and 62.5 MHz, of 100 MHz."""
    pll = Ecp5Pll(100e6, [Output("tx", 125e6), Output("tx90", 125e6, 90), Output("core", 62.5e6)])
    text = rtlil.convert(pll, name="top", emit_src=False)
    assert text.count("cell \\EHXPLLL") == 1
    parameters = {name: int(value) for name, value in re.findall(r"parameter (?:signed )?\\(\w+) (\d+)$", text, re.M)}
    setting = pll.setting
    divider = setting.dividers[0]
    assert setting.dividers == (divider, divider, 2 * divider)
    assert (parameters["CLKI_DIV"], parameters["CLKFB_DIV"]) == (4, 5)
    assert [parameters[f"{name}_DIV"] for name in ("CLKOP", "CLKOS", "CLKOS2")] == list(setting.dividers)
    # Eighths of the oscillator's period from the start of all counters to an output's first edge.
    edges = [FINE_STEPS * (parameters[f"{name}_CPHASE"] + 1) + parameters[f"{name}_FPHASE"]
             for name in ("CLKOP", "CLKOS", "CLKOS2")]
    assert [edge % (FINE_STEPS * own) for edge, own in zip(edges, setting.dividers, strict=True)] == [
        0, FINE_STEPS * divider // 4, 0]
