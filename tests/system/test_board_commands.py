"""polyrouter board at interfaces: a host port of its own, and an authenticated link on a data port."""

import json
import os

import pytest
from polyrouter.boards.top import HostLinkKind
from polyrouter.host.cli import app
from polyrouter.sim.live.board import LiveBoard
from typer.testing import CliRunner

from .board_tops import KEY, LINK_PORT, executable_of, top_of

pytestmark = [pytest.mark.root, pytest.mark.timeout(1800)]

#: For envelopes around punted frames of full length.
MTU = 1600


@pytest.fixture
def start(fabric, tmp_path):
    boards = []

    def start(kind):
        """The options that say where the board is."""
        names = [*(f"p{port}" for port in range(top_of(kind).config.wired_ports)),
                 *(["host"] if kind == HostLinkKind.PORT else [])]
        for name in names:
            fabric.ensure_tap(name, MTU)
        taps = [fabric.open_tap(name) for name in names]
        host = taps.pop() if kind == HostLinkKind.PORT else None
        boards.append(LiveBoard(executable_of(kind), taps, host, tmp_path / "log", tmp_path / "pid"))
        boards[0].start()
        for tap in (*taps, *([] if host is None else [host])):
            os.close(tap)
        link = "eth:host"
        if kind == HostLinkKind.AUTHENTICATED:
            key = tmp_path / "key"
            key.touch(mode=0o600)
            key.write_text(KEY.hex())
            link = f"auth:p{LINK_PORT}?key={key}"
        return ["--host-link", link, "--netns", fabric.namespace, "--timeout", "2"]

    yield start
    for board in boards:
        board.stop()


@pytest.mark.parametrize("kind", [
    pytest.param(HostLinkKind.PORT, marks=pytest.mark.slow), HostLinkKind.AUTHENTICATED],
    ids=lambda kind: kind.name.lower())
def test_connect_and_selftest(start, kind):
    where = start(kind)
    found = CliRunner().invoke(app, ["board", "connect", *where, "--json"])
    assert found.exit_code == 0, found.output
    shown = json.loads(found.stdout)
    assert shown["board"]["host_link"] == kind.name.lower()
    assert shown["board"]["host_port"] == (LINK_PORT if kind == HostLinkKind.AUTHENTICATED else 2)
    tested = CliRunner().invoke(app, ["board", "selftest", *where, "--frames", "8", "--json"])
    assert tested.exit_code == 0, tested.output
    assert {row["outcome"] for row in json.loads(tested.stdout)} == {"passed", "skipped"}
    table = CliRunner().invoke(app, ["board", "selftest", *where, "--frames", "2"])
    assert "forwarding" in table.stdout and "frames forwarded, counted exactly" in table.stdout
