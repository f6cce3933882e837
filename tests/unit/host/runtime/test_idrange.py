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


def test_a_range_is_claimed_of_who_had_it(tmp_path):
    ranges = IdRanges(tmp_path / "ranges")
    alive = lambda owner: True      # noqa: E731
    first = ranges.take("lab/a/1", alive)
    ranges.take("lab/b/2", alive)       # goes back
    with pytest.raises(RuntimeFailure, match=r"which lab/b/2 needs, belong to lab/a/1"):
        ranges.claim("lab/b/2", first, alive)
    assert sorted(ranges.owners().values()) == ["lab/a/1", "lab/b/2"]
    ranges.claim("lab/b/2", first, alive, former="lab/a/1")
    assert list(ranges.owners().values()) == ["lab/b/2"]
    assert ranges.take("lab/b/2", alive) == first
    ranges.claim("lab/b/2", first, alive, former="lab/a/1")     # again
    ranges.release("lab/a/1")
    assert list(ranges.owners().values()) == ["lab/b/2"]


def test_a_range_nobody_has_is_claimed(tmp_path):
    ranges = IdRanges(tmp_path / "ranges")
    ranges.claim("lab/b/2", FIRST + 7 * SIZE, lambda owner: True)
    assert ranges.owners() == {7: "lab/b/2"}
    ranges.claim("lab/c/3", FIRST + 7 * SIZE, lambda owner: False)      # its owner is gone
    assert ranges.owners() == {7: "lab/c/3"}


@pytest.mark.parametrize("first", [FIRST + 1, FIRST - SIZE, FIRST + SLOTS * SIZE])
def test_no_range(tmp_path, first):
    with pytest.raises(RuntimeFailure, match="no range of a container"):
        IdRanges(tmp_path / "ranges").claim("lab/b/2", first, lambda owner: True)
