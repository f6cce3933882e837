"""A design passes only if every clock was checked at its own constraint and keeps it."""

import pytest
from polyrouter.boards.flow.timing import UNCONSTRAINED_MHZ, ClockTiming, TimingError, check_timing

CLOCKS = {"core": 62.5e6, "transmit": 125e6, "receive 0": 125e6}
#: As nextpnr 0.11 reports them.
NETS = {"$glbnet$clk": (144.2, 62.5), "$glbnet$tx0_clk": (166.4, 125), "$glbnet$rx0_clk": (171.8, 125)}


def report(**changes: tuple[float, float]) -> dict:
    nets = NETS | {f"$glbnet${name}": values for name, values in changes.items()}
    return {"fmax": {net: {"achieved": mhz, "constraint": wanted} for net, (mhz, wanted) in nets.items()}}


def test_clocks_that_keep_their_constraints_come_in_order():
    assert check_timing(report(), "Info: all is well\n", CLOCKS) == [
        ClockTiming("$glbnet$tx0_clk", 166.4, 125), ClockTiming("$glbnet$rx0_clk", 171.8, 125),
        ClockTiming("$glbnet$clk", 144.2, 62.5)]


@pytest.mark.parametrize("changes,log,said", [
    ({"rx0_clk": (124.99, 125)}, "", "$glbnet$rx0_clk reaches 124.99 MHz of 125 MHz"),
    ({"new_clk": (300.0, UNCONSTRAINED_MHZ)}, "",
     "$glbnet$new_clk has no constraint: add one where its clock comes into the chip"),
    ({"clk": (300.0, 12)}, "", "$glbnet$clk was checked at 12 MHz, which is no clock of this board: core 62.5 MHz, "
     "transmit 125 MHz, receive 0 125 MHz\nno clock was checked at the 62.5 MHz of core"),
    ({}, "Warning: net 'rx_buf.i' does not exist in design, ignoring clock constraint\n",
     "a constraint was ignored: Warning: net 'rx_buf.i' does not exist in design, ignoring clock constraint"),
])
def test_what_is_wrong_is_said(changes, log, said):
    with pytest.raises(TimingError) as raised:
        check_timing(report(**changes), log, CLOCKS)
    assert str(raised.value) == said


def test_each_clock_of_a_frequency_counts():
    missing = report()
    del missing["fmax"]["$glbnet$rx0_clk"]
    with pytest.raises(TimingError, match=r"^1 of 2 clocks were checked at 125 MHz: transmit, receive 0$"):
        check_timing(missing, "", CLOCKS)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(TimingError) as raised:
        check_timing(report(tx0_clk=(1, 125), rx0_clk=(2, 125)), "ignoring clock constraint a\nignoring constraint b\n",
                     CLOCKS)
    assert len(str(raised.value).splitlines()) == 4
