# amaranth: UnusedElaboratable=no
"""One PLL where that does, else two; and both keep the limits of one."""

import pytest
from amaranth.back import rtlil
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.clocking.ecp5 import ecp5_pll_setting
from polyrouter.boards.clocking.ecp5_chain import Ecp5PllChain, between_hz
from polyrouter.boards.clocking.request import Output, PllError, error_ppm


def clocks(*mhz: float) -> list[Output]:
    return [Output(f"clock{index}", value * 1e6) for index, value in enumerate(mhz)]


@given(st.integers(8, 130), st.sampled_from([25.0, 50.0, 62.5, 75.0, 100.0, 125.0]))
def test_what_one_can_do_takes_one_and_two_make_the_rest(input_mhz, core_mhz):
    outputs = clocks(125, core_mhz)
    try:
        between = between_hz(input_mhz * 1e6, outputs)
    except PllError:
        return
    if between is None:
        ecp5_pll_setting(input_mhz * 1e6, outputs)
        return
    with pytest.raises(PllError):
        ecp5_pll_setting(input_mhz * 1e6, outputs)
    first = ecp5_pll_setting(input_mhz * 1e6, [Output("between", between)])
    second = ecp5_pll_setting(first.frequencies()[0], outputs)
    for found, output in zip(second.frequencies(), outputs, strict=True):
        assert error_ppm(found, output.hz) < 2


def test_30_mhz_takes_two_in_a_row():
    chain = Ecp5PllChain(30e6, clocks(125, 50))
    assert len(chain.plls) == 2
    text = rtlil.convert(chain, ports=[chain.clk, chain.o, chain.locked], emit_src=False)
    assert text.count("cell \\EHXPLLL") == 2
    assert len(Ecp5PllChain(100e6, clocks(125, 62.5)).plls) == 1


def test_what_two_cannot_make():
    with pytest.raises(PllError, match=r"no setting of an EHXPLLL makes 125 MHz, 33\.3217 MHz of 25 MHz"):
        between_hz(25e6, clocks(125, 33.3217))
