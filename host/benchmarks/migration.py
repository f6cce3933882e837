"""Moves of a router between two live boards: how long its control plane stands still, and what becomes of traffic.

Three nodes: the router goes to and fro between two, its neighbour on the third has OSPF and BGP with it, and tells it
of routes. Hosts on both sides send datagrams all the while. The figures are of this machine: three simulated boards,
their agents and the containers share its processors.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from ..agent.client import AgentClient
from ..migrate import migrate
from ..migration.move import MoveResult
from ..network import Network
from ..stream import Stream, StreamResult

__all__ = ["ROUTES", "run_migration_bench"]

#: Routes that the moved router has in its kernel.
ROUTES = (10, 10_000, 100_000)
#: Moves with each number of routes.
_MOVES, _QUICK_MOVES = 50, 6
#: Milliseconds that the control plane may stand still with the fewest routes, half of the times.
_BAR_MS = 400.0
#: Datagrams a second that are tried, each way, the first without loss is taken.
_RATES = (4000, 2000, 1000, 500, 250)
_TRIAL_SECONDS = 3.0
_NAME = "bench-migration"
_TOPOLOGY = """\
name: {name}
topology:
  defaults:
    limits: {{memory: 1G, cpus: 2, pids: 200}}
  nodes:
    west: {{kind: board, ports: 4, core: {{fib_words: 524288}}}}
    east: {{kind: board, ports: 4, core: {{fib_words: 524288}}}}
    core: {{kind: board, ports: 4, core: {{fib_words: 524288}}}}
  links:
    - endpoints: ["west:p0", "east:p0", "core:p0"]
    - endpoints: ["west:p1", "east:p1"]
  networks:
    red:
      routers:
        west:
          fib_words: 262144
          interfaces: {{eth0: {{address: 10.0.0.1/24}}, eth1: {{address: 192.168.1.1/24}}}}
          ospf: {{passive: [eth1], hello: 1, dead: 20}}
          bgp: {{asn: 65001, neighbors: [{{address: 10.0.0.2, asn: 65002}}], networks: [192.168.1.0/24]}}
        core:
          interfaces: {{eth0: {{address: 10.0.0.2/24}}, eth1: {{address: 192.168.2.1/24}}}}
          ospf: {{passive: [eth1], hello: 1, dead: 20}}
          bgp: {{asn: 65002, neighbors: [{{address: 10.0.0.1, asn: 65001}}], networks: [192.168.2.0/24]}}
          frr: |
            router bgp 65002
             address-family ipv4 unicast
              redistribute kernel
             exit-address-family
            exit
      hosts:
        a: {{attach: "west:p1", address: 192.168.1.10/24}}
        b: {{attach: "core:p1", address: 192.168.2.10/24}}
"""


def run_migration_bench(*, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Rows of ``name``, ``value``, ``unit``, ``bar``, ``ok``.

    Parameters
    ----------
    quick : bool
        Fewer moves, and not the most routes.
    progress : callable, optional
        Is told what is being done.
    """
    tell = progress or (lambda _: None)
    rows: list[dict[str, Any]] = []
    with _network(tell) as network:
        rate, steady = 0.0, 0
        for routes in ROUTES[:2] if quick else ROUTES:
            _have_routes(network, routes, steady, tell)
            steady = routes
            if not rate:
                rate = _rate(network, tell)
                rows.append(_row("frames_per_second", 2 * rate, "frames/s"))
            before = _sessions(network)
            streams = _streams(network, rate)
            try:
                results = [_move(network, index, routes, tell) for index in range(_QUICK_MOVES if quick else _MOVES)]
            finally:
                ended = [stream.end() for stream in streams]
            rows += _figures(results, ended, _resets(before, _sessions(network)), "" if routes == ROUTES[0] else
                             f"_{routes}_routes")
    return rows


def _row(name: str, value: float, unit: str, *, most: float | None = None) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "unit": unit, "bar": most, "ok": most is None or value <= most}


def _figures(results: list[MoveResult], streams: list[StreamResult], resets: int, suffix: str
             ) -> Iterator[dict[str, Any]]:
    freezes = sorted(result.freeze_ms for result in results)
    yield _row(f"moves{suffix}", len(results), "moves")
    yield _row(f"freeze_ms_min{suffix}", freezes[0], "ms")
    yield _row(f"freeze_ms_median{suffix}", median(freezes), "ms", most=None if suffix else _BAR_MS)
    yield _row(f"freeze_ms_p99{suffix}", freezes[min(len(freezes) - 1, round(0.99 * len(freezes)))], "ms")
    for name in results[0].steps_ms:
        yield _row(f"step_ms_median{suffix}: {name}", median(result.steps_ms[name] for result in results), "ms")
    yield _row(f"total_ms_median{suffix}", median(result.total_ms for result in results), "ms")
    yield _row(f"image_bytes_median{suffix}", median(result.image_bytes for result in results), "bytes")
    yield _row(f"frames{suffix}", sum(stream.sent for stream in streams), "frames")
    yield _row(f"lost_frames{suffix}", sum(stream.lost for stream in streams), "frames", most=0)
    yield _row(f"duplicated_frames{suffix}", sum(stream.twice for stream in streams), "frames", most=0)
    yield _row(f"overtaken_frames{suffix}", sum(stream.overtaken for stream in streams), "frames")
    yield _row(f"sessions_reset{suffix}", resets, "sessions", most=0)


# The network


@contextmanager
def _network(tell: Callable[[str], None]) -> Iterator[Network]:
    network = Network(_NAME, tell)
    if network.exists:
        network.down()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "network.yaml")
        file.write_text(_TOPOLOGY.format(name=_NAME))
        try:
            network.up(file)
            _wait(lambda: _inside(network, "red-core", "ip", "-o", "route", "show", "192.168.1.0/24"), "routes")
            yield network
        finally:
            if network.exists:
                network.down()


def _wait(condition: Callable[[], Any], what: str, seconds: float = 300.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
    return found


def _inside(network: Network, router: str, *command: str, text: str | None = None) -> str:
    node = network.node_of(router)
    with AgentClient(network.name, node) as agent:
        argv = agent.get(f"/exec/{router}", argument=list(command))
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


def _have_routes(network: Network, count: int, before: int, tell: Callable[[str], None]) -> None:
    """Have the router that moves know so many routes, from its neighbour."""
    tell(f"{count} routes")
    lines = [f"route add blackhole {20 + (index >> 16)}.{index >> 8 & 255}.{index & 255}.0/24"
             for index in range(before, count)]
    _inside(network, "red-core", "ip", "-batch", "-", text="\n".join(lines) + "\n")

    def known() -> bool:
        with AgentClient(network.name, network.node_of("red-west")) as agent:
            row = next(row for row in agent.get("/routers") if row["name"] == "red-west")
        return (row["rib"] or 0) >= count and not row["problems"]

    _wait(known, f"red-west has {count} routes", 900.0)


def _streams(network: Network, rate: float) -> list[Stream]:
    hosts = network.spec().hosts
    first, second = hosts["red-a"], hosts["red-b"]
    return [Stream(first, second, rate), Stream(second, first, rate)]


def _rate(network: Network, tell: Callable[[str], None]) -> float:
    """What the boards carry each way here, of the rates that are tried."""
    for rate in _RATES:
        tell(f"trying {rate} datagrams a second each way")
        streams = _streams(network, rate)
        time.sleep(_TRIAL_SECONDS)
        ended = [stream.end() for stream in streams]
        if all(not stream.lost and stream.sent > 0.95 * rate * _TRIAL_SECONDS for stream in ended):
            return float(rate)
    return float(_RATES[-1])


def _sessions(network: Network) -> tuple[Any, ...]:
    """How often the neighbour made its BGP session, and how often its OSPF neighbour changed state."""
    bgp, = json.loads(_inside(network, "red-core", "vtysh", "-c", "show bgp neighbor json")).values()
    text = _inside(network, "red-core", "vtysh", "-c", "show ip ospf neighbor detail json")
    rows = json.loads(text)
    changes = [row[0].get("stateChangeCounter") for row in rows.get("neighbors", rows).values()
               if isinstance(row, list)]
    return bgp["connectionsEstablished"], changes


def _resets(before: tuple[Any, ...], after: tuple[Any, ...]) -> int:
    return sum(one != other for one, other in zip(before, after, strict=True))


def _move(network: Network, index: int, routes: int, tell: Callable[[str], None]) -> MoveResult:
    to = "east" if network.node_of("red-west") == "west" else "west"
    tell(f"move {index + 1} with {routes} routes")
    result = migrate(network, "red-west", to)
    assert result is not None
    return result
