import pytest
from polyrouter.host.runtime.base import RuntimeFailure
from polyrouter.host.runtime.idrange import FIRST, SIZE, SLOTS, IdRanges


def test_ranges_are_disjoint_and_stay(tmp_path):
    ranges = IdRanges(tmp_path / "ranges")
    alive = {f"lab/n/{vr}" for vr in range(200)}
    first = {owner: ranges.take(owner, alive.__contains__) for owner in alive}
    assert len(set(first.values())) == 200
    for value in first.values():
        assert (value - FIRST) % SIZE == 0
        assert FIRST <= value <= 2**31 - 2 * SIZE
    assert {owner: IdRanges(tmp_path / "ranges").take(owner, alive.__contains__) for owner in alive} == first


def test_release(tmp_path):
    ranges = IdRanges(tmp_path / "ranges")
    ranges.release("lab/n/0")
    ranges.take("lab/n/0", lambda owner: True)
    ranges.take("lab/n/1", lambda owner: True)
    ranges.release("lab/n/0")
    assert list(ranges.owners().values()) == ["lab/n/1"]


def test_range_of_a_vanished_owner_is_given_away(tmp_path, monkeypatch):
    monkeypatch.setattr("polyrouter.host.runtime.idrange.SLOTS", 2)
    ranges = IdRanges(tmp_path / "ranges")
    alive = {"a/n/0", "b/n/0"}
    gone = ranges.take("a/n/0", alive.__contains__)
    ranges.take("b/n/0", alive.__contains__)
    alive.remove("a/n/0")
    assert ranges.take("c/n/0", alive.__contains__) == gone
    assert sorted(ranges.owners().values()) == ["b/n/0", "c/n/0"]


def test_all_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr("polyrouter.host.runtime.idrange.SLOTS", 1)
    ranges = IdRanges(tmp_path / "ranges")
    ranges.take("a/n/0", lambda owner: True)
    with pytest.raises(RuntimeFailure, match="all 1 ranges are in use"):
        ranges.take("b/n/0", lambda owner: True)


def test_below_what_programs_take_for_negative():
    assert FIRST + SLOTS * SIZE <= 2**31 - SIZE
