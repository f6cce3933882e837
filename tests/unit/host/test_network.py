"""Only one changes a network at a time."""

import pytest
from polyrouter.host.errors import NetworkError
from polyrouter.host.network import Network


def test_one_changes_a_network_at_a_time(monkeypatch, tmp_path):
    monkeypatch.setenv("POLYROUTER_STATE", str(tmp_path))
    with Network("one").alone():
        with Network("other").alone():
            pass
        with pytest.raises(NetworkError, match="another 'polyrouter up' or 'down' of one is running"), \
                Network("one").alone():
            pass
    with Network("one").alone():
        pass
