"""Many VNICs on one node at once, as many of them in hardware as there is room for, all of them in use."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from polyrouter.host.agent.client import AgentClient
from polyrouter.host.fabric import list_namespaces

from .listener import Listener, odd_frame
from .site import LINK_CORE, Site, new_site, wait_until

pytestmark = pytest.mark.root

#: Where the core has not enough room for all: a switch, its trunk, and fourteen VNICs are in hardware.
HARDWARE = 14
LARGE_CORE = "{routers: 320, circuits: 1024}"
TEXT = """\
name: NAME
topology:
  nodes: {left: {kind: board, ports: 1, core: CORE}}
  networks: {}
  switches: {stub: {node: left}}
  vnics: {many: {switch: stub, count: COUNT}}
"""


def vnics(site: Site) -> dict[str, dict]:
    with AgentClient(site.name, "left", timeout=120) as agent:
        return {row["name"]: row for row in agent.get("/vnics") if row["name"].startswith("many")}


def mtu(site: Site, name: str, *new: str) -> int:
    """MTU of a VNIC's interface, after it was set to another one, as its user may."""
    place = ["ip", "-n", site.namespace(name)]
    if new:
        subprocess.run([*place, "link", "set", "dev", name, "mtu", *new], check=True)
    done = subprocess.run([*place, "-j", "link", "show", "dev", name], capture_output=True, check=True)
    return json.loads(done.stdout)[0]["mtu"]


def each_reaches_its_neighbour(site: Site, rows: dict[str, dict]) -> None:
    """A ring of frames: whoever is not addressed hears nothing.

    A frame to an address that the switch has not learned yet goes to all its members, which at once are more copies
    than queues hold. So who gets no answer sends again, as protocols do.
    """
    names = sorted(rows, key=lambda name: int(name.removeprefix("many")))
    ears = {name: Listener(rows[name]["namespace"], rows[name]["interface"]) for name in names}
    try:
        frames = {name: odd_frame(rows[target]["mac"], rows[name]["mac"], name.encode().ljust(16, b"."))
                  for name, target in zip(names, [*names[1:], names[0]], strict=True)}
        expected = {target: frames[name] for name, target in zip(names, [*names[1:], names[0]], strict=True)}
        before = dict(zip([*names[1:], names[0]], names, strict=True))

        def again() -> bool:
            silent = [name for name in names if not ears[name].heard()]
            for name in silent:
                ears[before[name]].send(frames[before[name]])
            threading.Event().wait(min(1.0, 0.02 * len(silent)))
            return not silent

        wait_until(again, "each has its neighbour's frame", 120)
        assert {name: set(ears[name].heard()) for name in names} == {name: {expected[name]} for name in names}
    finally:
        for ear in ears.values():
            ear.close()


@contextmanager
def timed(times: dict[str, float], what: str) -> Iterator[None]:
    """Seconds that something takes, to be shown only."""
    begin = time.monotonic()
    yield
    times[what] = time.monotonic() - begin


@pytest.mark.parametrize("count,core,hardware", [
    (24, LINK_CORE, HARDWARE),
    pytest.param(256, LINK_CORE, HARDWARE, marks=pytest.mark.slow),
    pytest.param(256, LARGE_CORE, 256, marks=pytest.mark.slow),
], ids=["24", "256", "256-in-hardware"])
def test_many_vnics_are_usable_at_once(count, core, hardware, monkeypatch):
    times: dict[str, float] = {}
    with new_site(None, "m", TEXT.replace("COUNT", str(count)).replace("CORE", core), up=False) as site:
        for name in ("POLYROUTER_STATE", "POLYROUTER_RUN"):
            monkeypatch.setenv(name, site.environment[name])
        with timed(times, "up"):
            site.up()
        with timed(times, "list"):
            rows = vnics(site)
        assert len(rows) == count and all(row["up"] for row in rows.values())
        assert sum(row["lane"] == "hw" for row in rows.values()) == hardware
        with timed(times, "frames"):
            each_reaches_its_neighbour(site, rows)
        with timed(times, "up again"):
            assert site.up() == []
        # A command looks only into the VNICs that it changes: into each of hundreds, it would take half a minute.
        last = f"many{count - 1}"
        assert rows[last]["lane"] == ("sw" if hardware < count else "hw") and mtu(site, last, "1400") == 1400
        with timed(times, "one more"):
            site.run("vnic", "create", "one-more", "--switch", "stub")
        with timed(times, "one less"):
            site.run("vnic", "delete", "one-more")
        assert mtu(site, last) == 1400
        with timed(times, "down"):
            site.run("down")
        assert not [name for name in list_namespaces() if site.name in name]
    print(f"{count} VNICs:", ", ".join(f"{what} {seconds:.1f} s" for what, seconds in times.items()))
