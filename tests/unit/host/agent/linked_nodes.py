"""Nodes with link virtualization on golden models, whose ports 0 are on one wire."""

import queue
from collections.abc import Callable
from pathlib import Path

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason
from polyrouter.hdl.policers import policer_cycles
from polyrouter.hdl.shapers import shaper_cycles
from polyrouter.host.agent import dataplane
from polyrouter.host.agent.dataplane import DataPlane
from polyrouter.host.agent.events import EventLog
from polyrouter.host.allocate import Allocation, allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.ports import logical
from polyrouter.host.spec import NetworkSpec, NodeSpec, RouterSpec
from polyrouter.host.store import AgentStore
from polyrouter.host.topology_file import parse
from polyrouter.sim.golden import GoldenModel, Output

from ..board.link import Link

__all__ = ["Node", "Site"]

#: Router number, logical port, reason and frame.
Punt = tuple[int, int, Reason, bytes]


class _Cable(Link):
    """A link that also hands over what leaves by ports with a wire."""

    def __init__(self, model: GoldenModel, outputs: Callable[[list[Output]], None]) -> None:
        super().__init__(model)
        self._outputs = outputs

    def send(self, frame: bytes) -> int:
        self.requests.append(frame)
        self._outputs(self.model.host_receive(frame))
        return len(frame)


class Node:
    """A node's data plane on a golden model; what is punted is kept."""

    def __init__(self, site: "Site", name: str) -> None:
        self.site, self.name = site, name
        self.store = AgentStore(site.directory / f"{name}.db")
        self.events = EventLog(site.directory / f"{name}.jsonl")
        self.punts: queue.Queue[Punt] = queue.Queue()
        self.reset()

    def reset(self) -> None:
        """A board that has nothing."""
        core = CoreConfig(**self.spec.core)     # type: ignore[arg-type]
        self.model = GoldenModel(core, policer_cycles=policer_cycles(core), shaper_cycles=shaper_cycles(core))
        self.link = _Cable(self.model, self.leave)

    def replace_board(self) -> None:
        """A board that has nothing, at the same host port."""
        link = self.link
        self.reset()
        link.model, self.link = self.model, link

    def begin(self) -> None:
        """An agent's start."""
        self.site.link = self.link
        self.plane = DataPlane(self.spec, self.model.config, self.store, self.events)
        self.plane.hostport.set_punt_handler(lambda *punt: self.punts.put(punt))
        self.plane.start(list(self.spec.routers.values()))

    def restart(self, *, board: bool = False) -> None:
        """The end of the agent, and perhaps of the board, and new ones."""
        self.plane.close()
        if board:
            self.reset()
        else:
            self.link = _Cable(self.model, self.leave)
        self.begin()

    @property
    def spec(self) -> NodeSpec:
        return self.site.spec.nodes[self.name]

    def settle(self) -> None:
        """As an agent does it."""
        spec = self.spec
        known = dict(self.plane._specs)
        gone = [router for name, router in known.items() if name not in spec.routers]
        self.plane.release_links(spec, gone)
        for router in gone:
            self.plane.remove_router(router)
        for router in spec.routers.values():
            self.plane.set_router(router)
        self.plane.set_links(spec)

    def router(self, name: str) -> RouterSpec:
        return self.spec.routers[name]

    def send(self, vnic: str, frame: bytes) -> None:
        """What a VNIC's user sends."""
        of = self.spec.vnics[vnic]
        self.plane.hostport.inject(of.number, logical(self.model.config.link_port, of.circuit), frame)

    def got(self) -> dict[str, list[bytes]]:
        """Frames of each VNIC since the last time."""
        # An answer comes after everything that was handed up before.
        self.plane.driver.fence()
        names = {(of.number, logical(self.model.config.link_port, of.circuit)): name
                 for name, of in self.spec.vnics.items() if of.lane == "hw"}
        found: dict[str, list[bytes]] = {}
        while not self.punts.empty():
            number, port, _, frame = self.punts.get()
            found.setdefault(names.get((number, port), f"router {number} port {port}"), []).append(frame)
        return found

    def leave(self, outputs: list[Output]) -> None:
        for output in outputs:
            if output.port == self.model.config.host_port:
                self.link.deliver(output.frame)
            elif output.port == 0:
                self.site.carry(self, output.frame)

    def counter(self, router: str, reason: Reason, port: int | None = None) -> int:
        return sum(count for (number, place, why), count in self.model.counters.items()
                   if number == self.router(router).number and why == reason and port in (None, place))


class Site:
    """Nodes of a topology file."""

    def __init__(self, directory: Path, monkeypatch, text: str) -> None:
        self.directory = directory
        self.link: Link
        monkeypatch.setattr(dataplane, "open_transport", lambda *_: self.link)
        self.allocation: Allocation | None = None
        self.spec: NetworkSpec
        self.use(text)
        self.nodes = {name: Node(self, name) for name in self.spec.nodes}
        for node in self.nodes.values():
            node.begin()

    def use(self, text: str) -> None:
        file = parse(text)
        self.allocation = allocate(file, self.allocation)
        self.spec = network_spec(file, self.allocation)

    def carry(self, sender: Node, frame: bytes) -> None:
        for node in self.nodes.values():
            if node is not sender:
                node.leave(node.model.receive(0, frame))

    def close(self) -> None:
        for node in self.nodes.values():
            node.plane.close()
            node.store.close()
