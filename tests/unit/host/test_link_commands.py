"""A link command that fails is undone; what was saved is as before, or says that the next ``up`` has work to do."""

import pytest
from polyrouter.host import link_commands
from polyrouter.host.errors import NetworkError
from polyrouter.host.link_commands import LinkCommands

from .saved_network import save


class Settling:
    """Stands for the machine: remembers what it was to make of what, and fails as it is told."""

    def __init__(self, fails: list[BaseException | None]) -> None:
        self.fails, self.calls = fails, []

    def __call__(self, *_):
        return self

    def execute(self, old, spec, changes, *_):
        self.calls.append((old, spec, [f"{change.action} {change.kind} {change.name}" for change in changes
                                       if change.kind == "vnic"]))
        error = self.fails.pop(0)
        if error is not None:
            raise error


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYROUTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("POLYROUTER_RUN", str(tmp_path / "run"))
    monkeypatch.setattr(link_commands, "require_machine", lambda: None)
    return save(tmp_path)


@pytest.fixture
def settling(monkeypatch):
    def fail_with(*errors):
        made = Settling(list(errors))
        monkeypatch.setattr(link_commands, "Settling", made)
        return made
    return fail_with


def saved(network) -> dict:
    with network.store() as store:
        return {name: store.get(name) for name in ("spec", "allocation", "links", "attempt", "text")}


def create(network) -> None:
    LinkCommands(network).create("vnic", "more", {"switch": "stub"})


def test_what_was_made_is_saved(network, settling):
    made = settling(None)
    create(network)
    (_, _, changes), = made.calls
    assert "create vnic more" in changes
    assert "more" in network.spec().nodes["left"].vnics and saved(network)["attempt"] is None
    assert saved(network)["links"] == {"vnics": {"more": {"switch": "stub"}}}


@pytest.mark.parametrize("error", [NetworkError("no room"), KeyboardInterrupt(), RuntimeError("agent gone")])
def test_what_fails_is_undone(network, settling, error):
    """Ctrl-C, too; what is undone is what was tried, and the failure itself is what is said."""
    before = saved(network)
    made = settling(error, None)
    with pytest.raises(type(error)) as raised:
        create(network)
    assert raised.value is error
    (first_old, first_new, _), (second_old, second_new, changes) = made.calls
    assert (second_old, second_new) == (first_new, first_old)
    assert "remove vnic more" in changes
    assert saved(network) == before


@pytest.mark.parametrize("error,said", [(NetworkError("no room"), "no room"),
                                        (KeyboardInterrupt(), "KeyboardInterrupt")])
def test_what_can_not_be_undone_is_said_and_left_to_the_next_up(network, settling, error, said):
    before = saved(network)
    settling(error, RuntimeError("agent gone"))
    with pytest.raises(NetworkError) as raised:
        create(network)
    assert str(raised.value) == (f"{said}; nor could it be undone (agent gone): run 'polyrouter up' with the network's "
                                 "file, which repairs it")
    after = saved(network)
    assert after["attempt"] is not None and after | {"attempt": None, "allocation": None} == before | {
        "allocation": None}
    with pytest.raises(NetworkError, match="the last change of small did not end: run 'polyrouter up' again first"):
        create(network)


def test_ctrl_c_while_it_is_undone_leaves_it_to_the_next_up(network, settling):
    settling(NetworkError("no room"), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        create(network)
    assert saved(network)["attempt"] is not None
