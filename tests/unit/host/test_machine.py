"""What is missing for networks is said before anything is made."""

import pytest
from polyrouter.host import machine
from polyrouter.host.errors import NetworkError
from polyrouter.host.machine import require_machine


def test_without_runc_it_says_so_before_anything_is_made(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkError, match=r"^runc is not in PATH: apt-get install runc$"):
        require_machine()


def test_without_root_it_says_so(monkeypatch):
    monkeypatch.setattr(machine.os, "geteuid", lambda: 65534)
    with pytest.raises(NetworkError, match="needs root"):
        require_machine()
