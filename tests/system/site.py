"""A network of a test of its own: the command line with directories of its own, and what tests do with hosts."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polyrouter.host.cli import app
from polyrouter.host.fabric import namespace_path
from polyrouter.host.netns import in_namespace
from typer.testing import CliRunner

__all__ = ["LINK_CORE", "Arrivals", "Site", "flows_again", "new_site", "traffic", "wait_until"]

#: The core of all networks with links, here and in examples/: one board is built for them.
LINK_CORE = "{routers: 16, circuits: 32}"


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Result of a condition as soon as it holds."""
    deadline = time.monotonic() + seconds
    waiter = threading.Event()
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        waiter.wait(0.1)


class Site:
    """The command line with directories of its own."""

    def __init__(self, top: Path, name: str) -> None:
        self.top, self.name = top, name
        self.file = top / "network.yaml"
        self.environment: dict[str, str] = os.environ | {
            "POLYROUTER_STATE": str(top / "state"), "POLYROUTER_RUN": str(top / "run"), "POLYROUTER_NETWORK": name}

    def write(self, text: str) -> None:
        self.file.write_text(text.replace("NAME", self.name).replace("LINK_CORE", LINK_CORE))

    def run(self, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, arguments, env=self.environment)
        assert done.exit_code == code, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def process(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen([sys.executable, "-c", "from polyrouter.host.cli import app; app()", *arguments],
                                env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                # Who runs tests in the background may have them ignore Ctrl-C.
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                                stderr=subprocess.PIPE, text=True)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def up(self, *arguments: str) -> list[str]:
        changes = self.json("up", str(self.file), *arguments)["changes"]
        return [f"{change['action']} {change['kind']} {change['name']}" for change in changes]

    def namespace(self, host: str) -> str:
        return f"pr-{self.name}.{host}"

    def ping(self, first: str, target: str) -> bool:
        done = subprocess.run(["ip", "netns", "exec", self.namespace(first), "ping", "-n", "-q", "-c", "1", "-W", "2",
                               target], capture_output=True, timeout=30)
        return done.returncode == 0

    def pid(self, node: str, what: str) -> int:
        text = (self.top / "run" / self.name / node / f"{what}.pid").read_text()
        return json.loads(text)["pid"] if what == "board" else int(text)


class Arrivals(list[float]):
    """Times at which datagrams arrived; afterwards, which of those that were sent did not."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: set[int] = set()
        self.lost: set[int] = set()


@contextmanager
def traffic(site: Site, first: str, second: str, address: str) -> Iterator[Arrivals]:
    """Numbered datagrams from one host to another all the time; yields when they arrived."""
    def udp() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0.2)
        return sock

    receiver = in_namespace(namespace_path(site.namespace(second)), udp)
    receiver.bind((address, 7000))
    sender = in_namespace(namespace_path(site.namespace(first)), udp)
    arrivals = Arrivals()
    received: set[int] = set()
    stopping = threading.Event()

    def send() -> None:
        for number in itertools.count():
            if stopping.wait(0.01):
                return
            try:
                sender.sendto(number.to_bytes(4, "big"), (address, 7000))
            except OSError:     # no neighbour for a moment
                continue
            arrivals.sent.add(number)

    def receive() -> None:
        quiet = 0
        while quiet < 5:        # the last ones are on their way
            try:
                received.add(int.from_bytes(receiver.recv(100), "big"))
            except TimeoutError:
                quiet += stopping.is_set()
                continue
            arrivals.append(time.monotonic())

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    try:
        yield arrivals
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        arrivals.lost = arrivals.sent - received
        sender.close()
        receiver.close()


def flows_again(arrivals: list[float], seconds: float = 60.0) -> None:
    """Wait until datagrams that were sent after now arrive."""
    seen = len(arrivals)
    wait_until(lambda: len(arrivals) > seen + 20, "datagrams arrive", seconds)


@contextmanager
def new_site(image: Path | None, letter: str, text: str, *, up: bool = True) -> Iterator[Site]:
    """A site with this topology file, in which NAME stands for the network's name, which begins with ``letter``, and
    LINK_CORE for that core.

    It is taken down at the end, whatever happened. Without containers it needs no image.
    """
    top = Path(tempfile.mkdtemp(prefix="polyrouter-site-"))
    top.chmod(0o755)
    (top / "state/images").mkdir(parents=True)
    if image is not None:
        (top / "state/images/default").symlink_to(image)
    site = Site(top, f"{letter}{os.getpid()}")
    site.write(text)
    try:
        if up:
            site.up()
        yield site
    finally:
        if (top / "state/networks" / site.name).exists():
            site.run("down")
        shutil.rmtree(top)
