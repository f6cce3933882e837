"""Saved state: what was committed is there for the next one who opens it."""

from polyrouter.host.store import AgentStore, NetworkStore


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
