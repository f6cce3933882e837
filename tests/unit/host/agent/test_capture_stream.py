"""Copies of frames from the agent to a file, and that they end with who reads them."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import uvicorn
from polyrouter.host.agent.api import make_app
from polyrouter.host.agent.client import AgentClient, AgentError, socket_path
from polyrouter.host.capture import capture_hardware
from scapy.utils import rdpcap

WAIT = 20
FRAME = bytes(range(60))


class Plane:
    """A data plane that has nothing but captures."""

    def __init__(self) -> None:
        self.take: Callable[[int, bytes], None] = lambda *_: None
        self.begun, self.ended = threading.Event(), threading.Event()

    def capture(self, name: str, take: Callable[[int, bytes], None]) -> Callable[[], None]:
        assert name == "red-left"
        self.take = take
        self.begun.set()
        return self.ended.set


def router(name: str) -> SimpleNamespace:
    if name != "red-left":
        raise LookupError(f"there is no router {name} on this node; there are red-left")
    return SimpleNamespace(number=3)


@pytest.fixture
def plane(tmp_path, monkeypatch) -> Iterator[Plane]:
    monkeypatch.setenv("POLYROUTER_RUN", str(tmp_path))
    plane = Plane()
    path = socket_path("net", "left")
    path.parent.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    agent = SimpleNamespace(plane=plane, router=router)
    server = uvicorn.Server(uvicorn.Config(make_app(agent), log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    yield plane
    server.should_exit = True
    thread.join(WAIT)


def send(plane: Plane, frames: list[tuple[int, bytes]]) -> None:
    def run() -> None:
        assert plane.begun.wait(WAIT)
        for port, frame in frames:
            plane.take(port, frame)

    threading.Thread(target=run).start()


def test_frames_are_written_and_the_copies_end(plane, tmp_path):
    send(plane, [(0, FRAME), (1, FRAME[::-1]), (0, FRAME * 2)])
    counts: list[int] = []
    with AgentClient("net", "left") as client:
        written = capture_hardware(client.frames("red-left"), 0, tmp_path / "out.pcapng", count=2, seen=counts.append)
        assert plane.ended.wait(WAIT)
    assert (written, counts) == (2, [1, 2])
    assert [bytes(packet) for packet in rdpcap(str(tmp_path / "out.pcapng"))] == [FRAME, FRAME * 2]


def test_the_copies_end_when_nothing_comes_and_time_is_up(plane, tmp_path):
    with AgentClient("net", "left") as client:
        assert capture_hardware(client.frames("red-left"), None, tmp_path / "out.pcapng", seconds=0.1) == 0
        assert plane.ended.wait(WAIT)


def test_the_copies_end_with_the_reader(plane):
    client = AgentClient("net", "left")
    lines = client.frames("red-left")
    assert next(lines) == ""
    assert not plane.ended.is_set()
    client.close()
    del lines
    assert plane.ended.wait(WAIT)


def test_interrupted(tmp_path):
    closed = []

    def lines() -> Iterator[str]:
        try:
            yield ""
            yield json.dumps({"time": 1.5, "port": 2, "frame": FRAME.hex()})
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    assert capture_hardware(lines(), None, tmp_path / "out.pcapng") == 1
    assert closed == [True]


def test_no_such_router(plane):
    with AgentClient("net", "left") as client, pytest.raises(AgentError, match="left: there is no router moon on this"):
        next(client.frames("moon"))
