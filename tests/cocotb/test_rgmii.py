"""A MAC behind an RGMII in Verilator, with cocotbext-eth's PHY at the pins, at all speeds."""

import pytest
from polyrouter.boards.rgmii.status import Speed
from polyrouter.hdl.config import CoreConfig

CONFIG = CoreConfig(data_width=64, clock_hz=62.5e6)
SPEEDS = [Speed.TEN, Speed.HUNDRED, Speed.GIGABIT]
#: How many lengths are left out, for a run of some seconds.
QUICK_STEP = {Speed.TEN: 487, Speed.HUNDRED: 211, Speed.GIGABIT: 53}
#: All lengths at 10 Mb/s would be a second of simulated time, a quarter of an hour.
LONG_STEP = {Speed.TEN: 31, Speed.HUNDRED: 7, Speed.GIGABIT: 1}


def name(speed: Speed) -> str:
    return speed.name.lower()


@pytest.mark.parametrize("speed", SPEEDS, ids=name)
def test_lengths(simulate, speed):
    simulate("rgmii", CONFIG, "bench_rgmii", "lengths_both_ways", POLYROUTER_SPEED=speed.name,
             POLYROUTER_STEP=QUICK_STEP[speed])


@pytest.mark.parametrize("test", ["bad_frames_between_good_ones", "in_band_status", "reset_in_a_frame"])
@pytest.mark.parametrize("speed", SPEEDS, ids=name)
def test_frames(simulate, speed, test):
    simulate("rgmii", CONFIG, "bench_rgmii", test, POLYROUTER_SPEED=speed.name)


def test_speeds_in_turn(simulate):
    simulate("rgmii", CONFIG, "bench_rgmii", "speeds_in_turn")


@pytest.mark.parametrize("speed", [Speed.HUNDRED, Speed.GIGABIT], ids=name)
def test_speed_that_is_not_the_lines(simulate, speed):
    simulate("rgmii", CONFIG, "bench_rgmii", "speed_that_is_not_the_lines", POLYROUTER_SPEED=speed.name)


@pytest.mark.slow
@pytest.mark.parametrize("speed", SPEEDS, ids=name)
def test_padding(simulate, speed):
    simulate("rgmii", CONFIG, "bench_rgmii", "short_frames_are_padded", POLYROUTER_SPEED=speed.name)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("speed", SPEEDS, ids=name)
def test_every_length(simulate, speed):
    simulate("rgmii", CONFIG, "bench_rgmii", "lengths_both_ways", POLYROUTER_SPEED=speed.name,
             POLYROUTER_STEP=LONG_STEP[speed])
