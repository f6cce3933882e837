"""Windows of the shared tables."""

from dataclasses import astuple

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.host.tables.windows import Window, WindowPool, WindowsFull

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
    with pytest.raises(WindowsFull, match="router 3 would have 1 FIB words, and needs 2 at least"):
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
