"""Saved state: what was committed is there for the next one who opens it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from polyrouter.host.store import AgentStore, LeaseError, NetworkStore


def test_resources_are_known_before_they_are_made(tmp_path):
    store = NetworkStore(tmp_path / "network.db")
    store.will_create("namespace", "pr-a")
    store.will_create("namespace", "pr-a")
    store.will_create("node", "left")
    # Another one that opens the file, as 'down' does after a kill -9, sees them.
    assert sorted(NetworkStore(tmp_path / "network.db").resources()) == [("namespace", "pr-a"), ("node", "left")]
    store.removed("namespace", "pr-a")
    assert store.resources() == [("node", "left")]


def test_settings(tmp_path):
    store = NetworkStore(tmp_path / "new" / "network.db")
    assert store.get("spec") is None
    assert store.get("windows", {}) == {}
    store.set(spec={"a": [1, 2]}, file="x.yaml")
    store.set(spec=None)
    again = NetworkStore(tmp_path / "new" / "network.db")
    assert again.get("spec") is None
    assert again.get("file") == "x.yaml"


def test_routers(tmp_path):
    store = AgentStore(tmp_path / "agent.db")
    store.save_router("red-left", 3, {"name": "red-left"})
    store.save_router("red-left", 4, {"name": "red-left", "image": "b"})
    store.save_router("blue-left", 0, {})
    assert AgentStore(tmp_path / "agent.db").routers() == {
        "red-left": (4, {"name": "red-left", "image": "b"}), "blue-left": (0, {})}
    store.forget_router("red-left")
    assert list(store.routers()) == ["blue-left"]


# Leases


@pytest.fixture
def leases(tmp_path):
    store = NetworkStore(tmp_path / "network.db")
    yield store
    store.close()


def test_a_router_is_one_nodes_at_a_time(leases):
    assert leases.lease("red") is None
    fence = leases.begin_move("red", "west", "east", "1")
    assert leases.lease("red") == ("west", fence, {"id": "1", "to": "east"})
    assert leases.commit_move("red", "1", fence, spec={"a": 1}) == fence + 1
    assert leases.lease("red")[:2] == ("east", fence + 1)
    assert leases.get("spec") == {"a": 1}
    leases.end_move("red", "1")
    assert leases.lease("red") == ("east", fence + 1, None)
    with pytest.raises(LeaseError, match="red is not on west any more, but on east"):
        leases.begin_move("red", "west", "east", "2")
    assert leases.begin_move("red", "east", "west", "3") == fence + 1
    # It is under way: whoever takes part in it needs the lease.
    leases.keep_leases({})
    assert leases.lease("red").node == "east"
    leases.end_move("red", "3")
    leases.keep_leases({"red": "east", "blue": "west"})
    assert leases.lease("red").node == "east"
    leases.keep_leases({"red": "far"})      # the file says so now
    assert leases.leases() == {}
    assert leases.begin_move("red", "far", "east", "4") == 0


def test_a_move_that_was_given_up_is_never_committed(leases):
    fence = leases.begin_move("red", "west", "east", "1")
    with pytest.raises(LeaseError, match="being moved to east already"):
        leases.begin_move("red", "west", "far", "2")
    leases.end_move("red", "2")         # not its
    assert leases.lease("red").move is not None
    leases.end_move("red", "1")
    with pytest.raises(LeaseError, match="given up meanwhile"):
        leases.commit_move("red", "1", fence, spec={"a": 1})
    assert leases.lease("red") == ("west", fence, None)
    assert leases.get("spec") is None
    again = leases.begin_move("red", "west", "far", "3")
    for id, number in (("1", again), ("3", again + 1)):
        with pytest.raises(LeaseError):
            leases.commit_move("red", id, number)
    assert leases.commit_move("red", "3", again) == again + 1


def test_of_two_who_want_to_move_it_one_may(tmp_path):
    def begin(number):
        store = NetworkStore(tmp_path / "network.db")
        try:
            store.begin_move("red", "west", "east", str(number))
            return number
        except LeaseError:
            return None
        finally:
            store.close()

    NetworkStore(tmp_path / "network.db").close()
    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(begin, range(8)) if number is not None]
    assert len(winners) == 1
    store = NetworkStore(tmp_path / "network.db")
    assert store.lease("red").move["id"] == str(winners[0])
    store.close()
