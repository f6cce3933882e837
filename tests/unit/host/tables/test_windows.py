"""Windows of the shared tables."""

from dataclasses import astuple

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.host.tables.fib import FibCompiler
from polyrouter.host.tables.windows import LEAST_FIB_WORDS, Window, WindowPool, WindowsFull, most_filter_rules

CONFIG = CoreConfig(routers=4, fib_words=1000, adjacencies=100, filter_rules=16, policers=8, mac_rows=64)


def test_equal_shares_fill_the_tables():
    pool = WindowPool(CONFIG)
    windows = [pool.allocate(router) for router in range(4)]
    assert windows == [Window(250 * k, 250, 25 * k, 25, 4 * k, 4, 2 * k, 2) for k in range(4)]
    assert pool.fib.free == pool.adjacencies.free == pool.filters.free == pool.policers.free == 0
    assert pool.macs.free == 64


def test_a_gap_is_used_again():
    pool = WindowPool(CONFIG)
    for router in range(3):
        pool.allocate(router)
    pool.release(1)
    assert pool.allocate(3, 200, 20) == Window(250, 200, 25, 20, 4, 4, 2, 2)
    assert pool.allocate(1, 51, 6) == Window(750, 51, 75, 6, 12, 4, 6, 2)


def test_what_does_not_fit_is_refused_and_nothing_is_taken():
    pool = WindowPool(CONFIG)
    pool.allocate(0, 600, 10)
    with pytest.raises(WindowsFull, match="router 1 asks for 500 FIB words, and of 1000 there are 400 left: ask for"):
        pool.allocate(1, 500, 10)
    with pytest.raises(WindowsFull, match="router 1 asks for 91 adjacencies, and of 100 there are 90 left"):
        pool.allocate(1, 100, 91)
    assert pool.allocate(1, 400, 90) == Window(600, 400, 10, 90, 4, 4, 2, 2)


def test_a_share_without_room_for_both_roots_is_refused():
    pool = WindowPool(CoreConfig(routers=64, fib_words=64))
    with pytest.raises(WindowsFull, match="router 3 would have 1 FIB words, and needs 4 at least"):
        pool.allocate(3)
    assert pool.fib.free == 64


def test_message_tells_of_fragments():
    pool = WindowPool(CONFIG)
    for router in range(4):
        pool.allocate(router)
    pool.release(0)
    pool.release(2)
    with pytest.raises(WindowsFull, match="500 left, at most 250 in a row"):
        pool.allocate(0, 300)


def test_reserve_what_was_there_before():
    pool = WindowPool(CONFIG)
    pool.reserve(2, Window(300, 100, 30, 10))
    assert pool.allocate(0, 300, 30) == Window(0, 300, 0, 30, 0, 4, 0, 2)
    with pytest.raises(WindowsFull, match="FIB words 350 to 449 can't be router 1's"):
        pool.reserve(1, Window(350, 100, 50, 10))
    with pytest.raises(WindowsFull, match="adjacencies 95 to 104"):
        pool.reserve(1, Window(400, 100, 95, 10))
    pool.reserve(1, Window(400, 100, 90, 10))


def test_nonsense_is_refused():
    pool = WindowPool(CONFIG)
    pool.allocate(0)
    with pytest.raises(ValueError, match="router 0 has FIB words already"):
        pool.allocate(0)
    with pytest.raises(ValueError, match="router must be 0 to 3"):
        pool.allocate(4)
    with pytest.raises(ValueError, match="must be 1 to 262144"):
        pool.allocate(1, -1)


def test_filter_policer_and_mac_windows():
    pool = WindowPool(CONFIG)
    pool.allocate(0, filter_rules=0, policers=0)
    first = pool.allocate(1, filter_rules=10, policers=3, mac_rows=32)
    assert (first.filter_base, first.filter_size, first.policer_base, first.policer_size) == (0, 10, 0, 3)
    assert (first.mac_base, first.mac_size) == (0, 32)
    assert pool.allocate(2, mac_rows=16) == Window(500, 250, 50, 25, 10, 4, 3, 2, 32, 16)
    with pytest.raises(WindowsFull, match="router 3 asks for 3 filter rules, and of 16 there are 2 left: ask for less"):
        pool.allocate(3, filter_rules=3)
    with pytest.raises(WindowsFull, match="router 3 asks for 4 policers, and of 8 there are 3 left"):
        pool.allocate(3, filter_rules=0, policers=4)
    with pytest.raises(WindowsFull, match="router 3 asks for 32 MAC rows, and of 64 there are 16 left"):
        pool.allocate(3, filter_rules=0, mac_rows=32)
    with pytest.raises(ValueError, match="power of two, at least 4, not 12"):
        pool.allocate(3, mac_rows=12)
    assert pool.fib.free == pool.adjacencies.free * 10 == 250
    pool.release(1)
    assert pool.allocate(3, filter_rules=10, mac_rows=4).filter_base == 0


def test_windows_that_an_older_agent_saved():
    assert Window(*[300, 100, 30, 10]) == Window(300, 100, 30, 10, 0, 0, 0, 0, 0, 0)
    pool = WindowPool(CONFIG)
    pool.reserve(1, Window(300, 100, 30, 10))
    assert (pool.filters.free, pool.policers.free, pool.macs.free) == (16, 8, 64)
    saved = pool.allocate(2, mac_rows=16)
    pool.release(2)
    pool.reserve(2, Window(*list(astuple(saved))))
    with pytest.raises(WindowsFull, match="filter rules 0 to 3 can't be router 3's"):
        pool.reserve(3, Window(400, 100, 40, 10, 0, 4))


def test_roots_of_both_families_have_room():
    assert LEAST_FIB_WORDS == 4
    config = CoreConfig(routers=64, fib_words=256)
    pool = WindowPool(config)
    assert [pool.allocate(router).fib_size for router in range(64)] == [4] * 64
    FibCompiler.dual_stack(LEAST_FIB_WORDS)
    with pytest.raises(WindowsFull, match="router 0 would have 3 FIB words, and needs 4 at least"):
        WindowPool(config).allocate(0, 3)


@pytest.mark.parametrize("parameters,most", [
    ({}, 21), ({"filter_banks": 4}, 84), ({"ports": 8, "data_width": 128}, 10), ({"ports": 1}, 84),
    ({"clock_hz": 156.25e6}, 26), ({"clock_hz": 156.25e6, "filter_banks": 8}, 208),
])
def test_rules_that_line_rate_allows(parameters, most):
    config = CoreConfig(routers=4, filter_rules=2048, **parameters)
    assert most_filter_rules(config) == most
    # The scan of so many rules is not longer than the time in which a shortest frame comes on each port; one more is.
    cycles = 672e-9 / config.ports * config.clock_hz
    assert most / config.filter_banks <= cycles < (most + config.filter_banks) / config.filter_banks
    pool = WindowPool(config)
    with pytest.raises(WindowsFull, match=f"router 1 asks for {most + 1} filter rules, and with filter_banks "
                       f"{config.filter_banks} line rate on {config.ports} ports allows {most} at most: ask for less, "
                       "or build a core with more filter_banks"):
        pool.allocate(1, filter_rules=most + 1)
    assert pool.filters.free == 2048
    assert pool.allocate(1, filter_rules=most).filter_size == most
    assert pool.allocate(2).filter_size == min(most, 512)


def places(window: Window, config: CoreConfig) -> int:
    """Cycles that the scan takes."""
    last = window.filter_base + window.filter_size - 1
    return last // config.filter_banks - window.filter_base // config.filter_banks + 1


def test_no_window_begins_where_its_scan_would_take_too_long():
    config = CoreConfig(routers=8, filter_rules=2048, filter_banks=4)
    cycles = most_filter_rules(config) // config.filter_banks
    sizes = (3, 84, 81, 82, 80, 83, 1)
    pool = WindowPool(config)
    windows = [pool.allocate(router, filter_rules=size) for router, size in enumerate(sizes)]
    assert [window.filter_size for window in windows] == list(sizes)
    assert all(places(window, config) <= cycles for window in windows)
    assert windows[2].filter_base % 4 == 0 and windows[3].filter_base - windows[2].filter_base - 81 == 3
    assert windows[4].filter_base == windows[3].filter_base + 82 and windows[0].filter_base == 0


def test_equal_shares_of_filter_rules_fit_at_any_size_of_the_table():
    for banks in (1, 2, 4, 8):
        for rules in range(0, 800, 7):
            config = CoreConfig(routers=4, filter_rules=rules, filter_banks=banks)
            pool = WindowPool(config)
            windows = [pool.allocate(router) for router in range(4)]
            assert all(places(window, config) * banks <= most_filter_rules(config)
                       for window in windows if window.filter_size)
