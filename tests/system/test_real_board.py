"""A node whose board is not polyrouter's own process: reached by its host link, found again, let go of.

Here too it is simulated, but with its whole top level, and by somebody else; the host's frames come in band.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from polyrouter.boards.top import HostLinkKind
from polyrouter.hdl.layouts import Table
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.hostport import HostPort
from polyrouter.host.board.opening import open_transport
from polyrouter.host.fabric import Fabric, list_namespaces, namespace_path, remove_namespace
from polyrouter.host.netns import in_namespace
from polyrouter.sim.live.board import LiveBoard

from .board_tops import KEY, LINK_PORT, executable_of, top_of
from .site import Site, new_site, wait_until

pytestmark = [pytest.mark.root, pytest.mark.image, pytest.mark.timeout(1800)]

KIND = HostLinkKind.AUTHENTICATED
#: For envelopes around punted frames of full length.
MTU = 1600
TOPOLOGY = """\
name: NAME
topology:
  defaults:
    limits: {memory: 128M, cpus: 1, pids: 200}
  nodes:
    edge:
      host-link: "auth:cable0?key=KEYFILE"
      ports: 2
      core: CORE
  networks:
    red:
      routers:
        edge:
          fib_words: 64
          adjacencies: 16
          interfaces:
            eth0: {address: 10.0.0.1/24, open: true}
            eth1: {address: 10.0.1.1/24, open: true}
"""


class Place:
    """A board with a cable to this machine at port 0, by which the host's frames come too, and one to a far host."""

    def __init__(self, near: Fabric, site: Site) -> None:
        self.near, self.site = near, site
        self.far = f"{near.namespace}f"
        self.key = site.top / "key"
        self.key.touch(mode=0o600)
        self.key.write_text(KEY.hex())
        self.link = f"auth:cable{LINK_PORT}?key={self.key}"
        core = {name: value for name, value in top_of(KIND).config.as_dict().items()
                if name not in ("ports", "vmac_slots", "ingress_bytes")}
        site.write(TOPOLOGY.replace("KEYFILE", str(self.key)).replace("CORE", json.dumps(core)))
        names = [f"cable{port}" for port in range(2)]
        for name in names:
            near.ensure_tap(name, MTU)
        self._taps = [near.open_tap(name) for name in names]
        subprocess.run(["ip", "netns", "add", self.far], check=True)
        self._ip(near.namespace, "link", "set", "cable1", "netns", self.far)
        for namespace, name, subnet, other in ((near.namespace, "cable0", 0, 1), (self.far, "cable1", 1, 0)):
            self._ip(namespace, "link", "set", name, "up")
            self._ip(namespace, "address", "add", f"10.0.{subnet}.10/24", "dev", name)
            self._ip(namespace, "route", "add", f"10.0.{other}.0/24", "via", f"10.0.{subnet}.1")
        self.board: LiveBoard | None = None

    @staticmethod
    def _ip(namespace: str, *words: str) -> None:
        subprocess.run(["ip", "-n", namespace, *words], check=True)

    def power(self, on: bool) -> None:
        if self.board is not None:
            self.board.stop()
            self.board = None
        if on:
            self.board = LiveBoard(executable_of(KIND), self._taps, None, self.site.top / "board.log",
                                   self.site.top / "board.pid")
            self.board.start()

    def run(self, *arguments: str, code: int = 0) -> str:
        """The command line, where the cable is."""
        command = [sys.executable, "-c", "from polyrouter.host.cli import app; app()", *arguments]
        done = in_namespace(namespace_path(self.near.namespace), lambda: subprocess.run(
            command, env=self.site.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL))
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def programmed(self) -> int:
        """How often the board was found without tables, as far as the node's events tell."""
        return self.run("events", "--json").count("programmed the board from nothing")

    def forwards(self) -> bool:
        """An echo comes back from the far host."""
        return subprocess.run(["ip", "netns", "exec", self.near.namespace, "ping", "-n", "-c", "1", "-W", "2",
                               "10.0.1.10"], capture_output=True).returncode == 0

    def forwards_in_hardware(self) -> bool:
        """The same, without help of the container in either direction: it is gone with the agent."""
        before = self._forwarded()
        return self.forwards() and self._forwarded() == before + 2

    def _forwarded(self) -> int:
        rows = json.loads(self.run("show", "counters", "--router", "red-edge", "--json"))
        return sum(row["frames"] for row in rows if row["reason"] == "forwarded")

    def close(self) -> None:
        self.power(False)
        for tap in self._taps:
            os.close(tap)
        remove_namespace(self.far)


@pytest.fixture(scope="module")
def place(image) -> Iterator[Place]:
    with Fabric(f"t{os.getpid()}r") as near, new_site(image, "r", TOPOLOGY, up=False) as site:
        near.ensure_namespace()
        place = Place(near, site)
        try:
            place.power(True)
            yield place
        finally:
            try:
                if (site.top / "state/networks" / site.name).exists():
                    place.run("down", "--leave-boards")
            finally:
                place.close()
                remove_namespace(near.namespace)


def with_driver(place: Place, do: Callable[[Driver], object]) -> object:
    driver = Driver(HostPort(open_transport(place.link, str(namespace_path(place.near.namespace)))), timeout=2.0)
    try:
        return do(driver)
    finally:
        driver.close()


def test_up_programs_it_and_it_forwards(place):
    place.run("up", str(place.site.file))
    assert place.programmed() == 1
    wait_until(place.forwards_in_hardware, "the far host answers")
    # Nothing of the board is in the fabric, and there is nothing more to do.
    assert not any("edge-p" in line for line in subprocess.run(
        ["ip", "-n", f"pr-{place.site.name}", "-brief", "link"], capture_output=True, text=True).stdout.splitlines())
    assert json.loads(place.run("up", str(place.site.file), "--json"))["changes"] == []


def test_an_agent_that_is_killed_takes_it_over_as_it_is(place):
    os.kill(place.site.pid("edge", "agent"), 9)
    assert place.forwards()
    place.run("up", str(place.site.file))
    assert place.forwards()
    assert place.programmed() == 1


def test_a_board_that_was_without_power_is_programmed_again(place):
    place.power(False)
    wait_until(lambda: "its board does not run" in place.run("up", str(place.site.file), "--dry-run"),
               "it is known that the board does not answer")
    place.power(True)
    wait_until(place.forwards_in_hardware, "the far host answers again")
    assert place.programmed() == 2


def test_down_does_not_leave_it_forwarding(place):
    place.power(False)
    said = place.run("down", code=1)
    assert "the board of edge at auth:cable0" in " ".join(said.split()) and "--leave-boards" in said
    place.power(True)
    place.run("down")
    assert not place.forwards()
    routers = range(top_of(KIND).config.routers)
    assert with_driver(place, lambda driver: (
        driver.epoch, driver.read_rows((Table.CONTEXT, router, 0) for router in routers))) == (0, [0] * len(routers))
    assert not any(place.site.name in name for name in list_namespaces())
