"""The main job, shown: a network comes up, its hosts reach each other by hardware alone, and it goes down again."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_interface, ip_network
from itertools import permutations
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from .agent.client import AgentClient, AgentError
from .agent.pidfile import running_pid
from .allocate import fabric_namespace
from .doctor import check_all
from .errors import NetworkError
from .fabric import list_namespaces
from .flow import Flow, run_flows
from .machine import require_root
from .network import Network
from .paths import network_dir, run_dir, state_dir
from .runtime.image import Images
from .runtime.runc import RuncRuntime
from .spec import HostSpec, NetworkSpec
from .topology_file import load

__all__ = ["EXAMPLE", "run_demo"]

#: The example of a source tree.
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "two-sites.yaml"

_CONVERGENCE = 90.0         # seconds
_PINGS = 3
_FLOW_SECONDS, _FLOW_RATE, _FLOW_BYTES = 5.0, 100, 512
#: Punts that frames of a flow between hosts would make, if the hardware did not forward them.
_FLOW_PUNTS = frozenset({"punt_options", "punt_ttl", "punt_no_route", "punt_unresolved", "punt_mtu"})

Counters = dict[tuple[str, str, str], int]      # router, port, reason


@dataclass
class _Report:
    """What was expected, and what came out."""

    console: Console
    results: list[dict[str, Any]] = field(default_factory=list)

    def expect(self, what: str, ok: bool, found: str) -> None:
        self.results.append({"what": what, "ok": ok, "found": found})
        mark = "[green]ok  [/green]" if ok else "[red]FAIL[/red]"
        self.console.print(f"{mark} {what}: {found}", highlight=False)

    @property
    def good(self) -> bool:
        return all(result["ok"] for result in self.results)


class _Progress:
    """Steps with the time at which they began, so that nobody wonders whether anything happens."""

    def __init__(self, console: Console) -> None:
        self._console, self._start, self._last = console, time.monotonic(), ""
        self._status = console.status("") if console.is_terminal else None
        self._line_at = 0.0

    def __call__(self, what: str) -> None:
        """A small step: shown on a terminal, and as a line now and then elsewhere."""
        if self._status is not None:
            self._status.update(what)
        elif what != self._last and time.monotonic() - self._line_at > 2:
            self._line(f"  {what}")
        self._last = what

    def step(self, what: str) -> None:
        """A step of the demo."""
        self._line(what)

    def _line(self, what: str) -> None:
        self._line_at = time.monotonic()
        self._console.print(f"[dim]{self._line_at - self._start:6.1f} s[/dim]  {what}", highlight=False)

    @contextmanager
    def shown(self) -> Iterator[None]:
        with self._status or contextlib.nullcontext():
            yield

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start


def run_demo(file: Path | None = None, *, keep: bool = False, as_json: bool = False) -> bool:
    """Run the demo; returns whether everything was as expected.

    Parameters
    ----------
    file : Path, optional
        Topology file; every two hosts of a network must be able to reach each other.
    keep : bool
        Leave the network up.
    as_json : bool
        Print the results as JSON on standard output; all else goes to standard error.

    Raises
    ------
    NetworkError
        If it can't be run here; the message says what to do.
    """
    path = file or EXAMPLE
    console = Console(stderr=as_json, soft_wrap=True)
    progress, report = _Progress(console), _Report(console)
    require_root()
    topology = load(path)
    network = Network(topology.name, progress)
    outcome: dict[str, Any] = {}
    with progress.shown():
        _prepare(progress)
        try:
            progress.step(f"bringing {topology.name} up: {len(topology.topology.nodes)} boards, "
                          f"{len(list(topology.topology.routers()))} virtual routers")
            network.up(path)
            spec = network.spec()
            outcome = _examine(network, spec, progress, report)
            _show(console, outcome)
        finally:
            pids = _processes(network) if network.exists else []
            if not keep and network.exists:
                progress.step("taking it down")
                network.down()
        if not keep:
            left = _left_behind(network, pids)
            report.expect("nothing is left behind", not left, ", ".join(left) or
                          f"namespaces, mounts, control groups and files are gone, and all {len(pids)} processes")
    seconds = progress.seconds
    verdict = "all as expected" if report.good else "[red]not all as expected[/red]"
    console.print(f"\n{verdict}, in {seconds:.0f} s", highlight=False)
    if as_json:
        json.dump({"good": report.good, "seconds": round(seconds, 1), "results": report.results, **outcome}, sys.stdout,
                  indent=2)
        print()
    return report.good


def _prepare(progress: _Progress) -> None:
    progress.step("checking this machine")
    lacking = [check for check in check_all() if check.needed and not check.ok and not check.what.startswith("image")]
    if lacking:
        raise NetworkError("\n".join(f"missing: {check.what} ({check.found}): {check.advice}" for check in lacking))
    images = Images(state_dir())
    if not images.exists():
        progress.step("building the container image, once: Debian with FRR 10")
        images.build(progress=progress)


def _examine(network: Network, spec: NetworkSpec, progress: _Progress, report: _Report) -> dict[str, Any]:
    pairs = [(first, second) for first, second in permutations(spec.hosts.values(), 2)
             if first.network == second.network]
    networks = sorted({host.network for host in spec.hosts.values()})
    with contextlib.ExitStack() as stack:
        agents = {node: stack.enter_context(AgentClient(network.name, node)) for node in spec.nodes}
        progress.step("waiting for the routes to converge and to be in the hardware FIBs")
        seconds = _converge(agents, spec, progress)
        report.expect("routes of all routers are in their hardware FIBs", seconds is not None,
                      f"after {seconds:.1f} s" if seconds is not None else f"not within {_CONVERGENCE:.0f} s")

        progress.step(f"pinging between the hosts of all {len(networks)} networks")
        pings = _parallel(pairs, _ping)
        lost = [f"{first.name} -> {second.name}" for (first, second), ok in pings if not ok]
        report.expect(f"pings between {len(pairs)} pairs of hosts", not lost,
                      f"lost: {', '.join(lost)}" if lost else f"{_PINGS} of {_PINGS} answered in each")

        progress.step("tracing the routes")
        traces = _parallel(pairs, _trace)
        bad = [f"{first.name} -> {second.name}: {' '.join(hops) or 'nothing'}"
               for (first, second), hops in traces if not hops or hops[-1] != str(_ip(second)) or "*" in hops]
        report.expect(f"traceroute between {len(pairs)} pairs of hosts", not bad,
                      "; ".join(bad[:4]) if bad else " ".join(traces[0][1]) if traces else "no hosts")

        progress.step(f"sending a UDP flow in each network for {_FLOW_SECONDS:.0f} s")
        before = _counters(agents)
        flows = [_flow(pairs, name) for name in networks]
        run_flows(flows, seconds=_FLOW_SECONDS, rate=_FLOW_RATE, length=_FLOW_BYTES)
        after = _counters(agents)
        sent, received = sum(flow.sent for flow in flows), sum(flow.received for flow in flows)
        delays = [delay for flow in flows for delay in flow.delays_ms] or [0.0]
        report.expect("UDP flows arrive", 0 < sent == received,
                      f"{received} of {sent} datagrams of {_FLOW_BYTES} bytes, {received / _FLOW_SECONDS:.0f} a second "
                      f"over all networks, one way in {median(delays):.2f} ms (median), {max(delays):.2f} ms at most")
        strangers = sum(flow.strangers for flow in flows)
        report.expect("no network sees another's datagrams", strangers == 0, f"{strangers} strangers")
        forwarded = {router: _sum(before, after, router, {"forwarded"}) for router in _routers(spec)}
        missing = [router for router, count in forwarded.items() if count < _expected(spec, flows, router)]
        report.expect("the hardware forwarded them", not missing,
                      f"too few by {', '.join(missing)}" if missing else
                      f"{sum(forwarded.values())} frames by {len(forwarded)} routers")
        punted = {router: _sum(before, after, router, _FLOW_PUNTS) for router in forwarded}
        report.expect("punt counters stand still while they flow", not any(punted.values()),
                      ", ".join(f"{router}: {count}" for router, count in punted.items() if count) or
                      f"no {', '.join(sorted(reason.removeprefix('punt_') for reason in _FLOW_PUNTS))} in any router")
        rows = [row for agent in agents.values() for row in agent.get("/routers")]
        return {"convergence_seconds": seconds, "flows": [flow.as_dict() for flow in flows],
                "routers": _table(rows, after)}


def _processes(network: Network) -> list[int]:
    """Agents, boards and the first processes of containers."""
    found = [pid for path in (run_dir() / network.name).glob("*/agent.pid") if (pid := running_pid(path))]
    for path in (run_dir() / network.name).glob("*/board.pid"):
        found.append(json.loads(path.read_text())["pid"])
    runtime = RuncRuntime(state_dir(), run_dir())
    return found + [status.pid for status in runtime.list(network.name) if status.pid]


def _left_behind(network: Network, pids: list[int]) -> list[str]:
    """What is still there of a network that was taken down."""
    fabric = fabric_namespace(network.name)
    found = [f"namespace {name}" for name in list_namespaces() if name == fabric or name.startswith(f"{fabric}.")]
    found += [f"process {pid}" for pid in pids if _alive(pid)]
    directories = [path for path in (network_dir(network.name), run_dir() / network.name) if path.exists()]
    found += [f"files in {path}" for path in directories]
    places = tuple(f"{path}/" for path in (network_dir(network.name), run_dir() / network.name))
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found += [f"mount {point}" for point in mounts if point.startswith(places)]
    return found + [f"control group {path}" for path in Path("/sys/fs/cgroup").rglob(f"*{network.name}*")]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _ip(host: HostSpec) -> IPv4Address:
    assert host.address is not None     # in the demo all hosts have one
    return IPv4Interface(host.address).ip


def _routers(spec: NetworkSpec) -> list[str]:
    return [name for node in spec.nodes.values() for name in node.routers]


def _converge(agents: dict[str, AgentClient], spec: NetworkSpec, progress: _Progress) -> float | None:
    """Wait until each router forwards, in hardware, to each host of its network that is not on its own subnets."""
    start = time.monotonic()
    waiting = {name: node.node for node in spec.nodes.values() for name in node.routers}
    total = len(waiting)
    while waiting:
        for name, node in list(waiting.items()):
            with contextlib.suppress(AgentError):
                if _reaches(agents[node].get(f"/fib/{name}"), spec, name, node):
                    del waiting[name]
        if time.monotonic() - start > _CONVERGENCE:
            return None
        progress(f"{total - len(waiting)} of {total} routers have their routes in hardware")
        if waiting:
            time.sleep(0.2)
    return time.monotonic() - start


def _reaches(fib: list[dict[str, Any]], spec: NetworkSpec, name: str, node: str) -> bool:
    router = spec.nodes[node].routers[name]
    connected = [ip_interface(address).network for port in router.ports for address in port.addresses]
    routes = {network: row["kind"] for row in fib
              if isinstance(network := ip_network(row["prefix"]), IPv4Network)}
    for host in spec.hosts.values():
        address = _ip(host)
        if host.network != router.network or any(address in network for network in connected):
            continue
        covering = [network for network in routes if address in network]
        if not covering or routes[max(covering, key=lambda network: network.prefixlen)] != "forward":
            return False
    return True


Pair = tuple[HostSpec, HostSpec]


def _parallel(pairs: list[Pair], function: Callable[[HostSpec, HostSpec], Any]) -> list[tuple[Pair, Any]]:
    with ThreadPoolExecutor(8) as pool:
        return list(zip(pairs, pool.map(lambda pair: function(*pair), pairs), strict=True))


def _in_host(host: HostSpec, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["ip", "netns", "exec", host.namespace, *command], capture_output=True, text=True, timeout=60)


def _flow(pairs: list[Pair], network: str) -> Flow:
    """A flow through a network, from the first of its hosts to the last, by name."""
    hosts = sorted((source for source, _ in pairs if source.network == network), key=lambda host: host.name)
    return Flow(hosts[0], hosts[-1])


def _ping(first: HostSpec, second: HostSpec) -> bool:
    target = str(_ip(second))
    # The first packets make the routers look for their neighbours.
    _in_host(first, "ping", "-n", "-q", "-c", "1", "-w", "5", target)
    done = _in_host(first, "ping", "-n", "-q", "-c", str(_PINGS), "-i", "0.05", "-W", "3", target)
    return f" {_PINGS} received" in done.stdout


def _trace(first: HostSpec, second: HostSpec) -> list[str]:
    done = _in_host(first, "traceroute", "-n", "-q", "1", "-w", "3", "-m", "8", str(_ip(second)))
    return [line.split()[1] for line in done.stdout.splitlines()[1:] if len(line.split()) > 1]


def _counters(agents: dict[str, AgentClient]) -> Counters:
    return {(row["router"], row["port"], row["reason"]): row["frames"]
            for agent in agents.values() for row in agent.get("/counters")}


def _sum(before: Counters, after: Counters, router: str, reasons: set[str] | frozenset[str]) -> int:
    return sum(value - before.get(key, 0) for key, value in after.items() if key[0] == router and key[2] in reasons)


def _expected(spec: NetworkSpec, flows: list[Flow], router: str) -> int:
    """Datagrams that a router must have forwarded: those from hosts on its segments."""
    networks = {name: router_spec.network for node in spec.nodes.values() for name, router_spec in node.routers.items()}
    return sum(flow.sent for flow in flows if flow.network == networks[router]
               and any(port_mac in flow.source.neighbours.values() for port_mac in _macs(spec, router)))


def _macs(spec: NetworkSpec, router: str) -> list[str]:
    return [port.mac for node in spec.nodes.values() if router in node.routers for port in node.routers[router].ports]


def _table(rows: list[dict[str, Any]], counters: Counters) -> list[dict[str, Any]]:
    result = []
    for row in sorted(rows, key=lambda row: row["name"]):
        reasons: dict[str, int] = {}
        for (router, _, reason), value in counters.items():
            if router == row["name"] and value:
                reasons[reason] = reasons.get(reason, 0) + value
        result.append({"router": row["name"], "rib": row["rib"], "fib": row["fib"],
                       "forwarded": reasons.get("forwarded", 0), "injected": reasons.get("injected", 0),
                       "punted": {name.removeprefix("punt_"): value for name, value in sorted(reasons.items())
                                  if name.startswith("punt_")},
                       "dropped": {name.removeprefix("drop_"): value for name, value in sorted(reasons.items())
                                   if name.startswith("drop_")}})
    return result


def _show(console: Console, outcome: dict[str, Any]) -> None:
    table = Table(title="\nVirtual routers: routes, and frames by what became of them", title_justify="left", box=None,
                  pad_edge=False, header_style="bold")
    for name in ("router", "routes in RIB", "in FIB", "forwarded", "injected", "punted", "dropped"):
        table.add_column(name, justify="right" if name not in ("router", "punted", "dropped") else "left")
    for row in outcome["routers"]:
        table.add_row(row["router"], *(str(row[name]) for name in ("rib", "fib", "forwarded", "injected")),
                      _reasons(row["punted"]), _reasons(row["dropped"]))
    wide = Console(file=console.file, width=max(console.width, 150)) if not console.is_terminal else console
    wide.print(table)
    console.print()


def _reasons(counts: dict[str, int]) -> str:
    if not counts:
        return "0"
    return f"{sum(counts.values())}: " + ", ".join(f"{name} {value}" for name, value in counts.items())
