"""Rates in registers: within 1 % of what was asked, or refused."""

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.policers import policer_cycles
from polyrouter.hdl.shapers import shaper_cycles
from polyrouter.host.tables.rates import LARGEST_BURST, LEAST_BURST, RateError, Rates, format_rate

ASKED = (64_000, 100_000, 1_000_000, 7_654_321, 10_000_000, 999_999_999, 1_000_000_000)


def rates_of(config: CoreConfig) -> Rates:
    return Rates(config.clock_hz, policer_cycles(config), shaper_cycles(config), config.max_frame)


@pytest.mark.parametrize("routers", [1, 8, 64, 256])
@pytest.mark.parametrize("rate", ASKED)
def test_what_passes_in_a_second(routers, rate):
    """Counts the bytes of all refills of a second, as the hardware adds them."""
    config = CoreConfig(routers=routers)
    rates = rates_of(config)
    for make, back, cycles, width in ((rates.policer, rates.policer_bits, rates.policer_cycles, 32),
                                      (rates.shaper, rates.shaper_bits, rates.shaper_cycles, 32)):
        register, burst = make(rate)
        assert 0 < register < 1 << width
        bytes_in_a_second = register * (config.clock_hz / cycles) / 65536
        assert abs(bytes_in_a_second * 8 / rate - 1) < 0.01
        assert abs(back(register) / rate - 1) < 0.01
        assert register / 65536 <= burst <= LARGEST_BURST
        same, least = make(rate, LEAST_BURST)
        assert same == register
        assert register / 65536 <= least <= burst
    assert rates.shaper(rate, LEAST_BURST)[1] <= rates.shaper(rate)[0] // 65536 + 1     # one refill, and no frame
    assert rates.policer(rate)[1] >= config.max_frame + rates.policer(rate)[0] // 65536


def test_what_the_board_cannot_do_is_refused():
    large = rates_of(CoreConfig(routers=1024))
    with pytest.raises(RateError, match=r"4G bit/s; this board can do .* to 3\.2G bit/s"):
        large.shaper(4_000_000_000)
    assert large.shaper(1_000_000_000)
    small = rates_of(CoreConfig())
    with pytest.raises(RateError, match="a burst of 100 bytes at 10M bit/s; this board can do 1525 to 262143 bytes"):
        small.policer(10_000_000, 100)
    with pytest.raises(RateError, match="a burst of 262144 bytes"):
        small.shaper(10_000_000, 262_144)
    with pytest.raises(RateError, match="100 bit/s; this board can do"):
        small.policer(100)


def test_ages_of_mac_addresses():
    rates = rates_of(CoreConfig())
    assert rates.mac_age_cycles(300) * 7 / 125e6 == pytest.approx(300)
    assert rates.mac_age_cycles(0) == 0


def test_rates_for_people():
    assert [format_rate(rate) for rate in (64_000, 10_000_000, 1_000_000_000, 1_500_000, 12)] == [
        "64k", "10M", "1G", "1.5M", "12"]
