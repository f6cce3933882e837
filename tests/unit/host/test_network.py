"""What a network's life needs, and that only one changes it at a time."""

import pytest
from polyrouter.host import network
from polyrouter.host.network import Network, NetworkError, require_machine


def test_without_runc_it_says_so_before_anything_is_made(monkeypatch, tmp_path):
    monkeypatch.setattr(network.os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkError, match=r"^runc is not in PATH: apt-get install runc$"):
        require_machine()


def test_without_root_it_says_so(monkeypatch):
    monkeypatch.setattr(network.os, "geteuid", lambda: 65534)
    with pytest.raises(NetworkError, match="needs root"):
        require_machine()


def test_one_changes_a_network_at_a_time(monkeypatch, tmp_path):
    monkeypatch.setenv("POLYROUTER_STATE", str(tmp_path))
    with Network("one")._alone():
        with Network("other")._alone():
            pass
        with pytest.raises(NetworkError, match="another 'polyrouter up' or 'down' of one is running"), \
                Network("one")._alone():
            pass
    with Network("one")._alone():
        pass
