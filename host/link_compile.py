"""Link virtualization of a topology, worked out to rows: circuits, switches, VNICs, tunnels. Pure functions.

How a VNIC, a virtual switch and a tunnel look in the data plane is in ``docs/dataplane.md``, "The link port".
"""

from typing import Any

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import FILTER_KEY, SHAPER_ROW
from polyrouter.hdl.queues import least_quantum

from .allocate import Allocation, SwitchPlace, VnicPlace, fabric_namespace, host_namespace, interface_name
from .filters import RateSpec, RuleSpec, circuit_match
from .link_demand import trunk_name
from .link_rows import Rows
from .link_spec import CircuitSpec, PortPolicySpec, TerminationSpec, TunnelSpec, VnicSpec
from .links import Links, LinkSwitch, LinkTunnel, LinkVnic
from .spec import LimitSpec, NodeSpec, PortSpec, RouterSpec
from .tables.rates import LEAST_BURST
from .tables.shares import reserved_cells

__all__ = ["LinkCompiler", "trunk_vnic"]

#: Weights of the priorities, and bits a second of ``min-bw`` for which there is one at least.
_WEIGHTS = {"low": 1, "medium": 2, "high": 4}
_WEIGHT_BITS = 25_000_000
#: The group bit of a MAC address (IEEE 802, 8.2.2), in its first byte.
_GROUP = 1 << 40
_DMAC_BITS = (1 << FILTER_KEY["dmac"].width) - 1


def trunk_vnic(switch: LinkSwitch) -> LinkVnic:
    """The VNIC that joins a switch with its part in software: it has all frames, and sends from any address."""
    return LinkVnic(trunk_name(switch.name), switch.node, switch.where, switch=switch.name, lane="hw", policy=(
        PortPolicySpec(forged_transmits=True, mac_changes=True, promiscuous=True)))


class LinkCompiler:
    """Works out the links of a node.

    Parameters
    ----------
    topology : str
        Name of the network.
    links : Links
        All of its links.
    allocation : Allocation
        What they were given.
    config : CoreConfig
        Of the node's core.
    spec : NodeSpec
        The node's specification.
    """

    def __init__(self, topology: str, links: Links, allocation: Allocation, config: CoreConfig, spec: NodeSpec) -> None:
        self.topology, self.links, self.allocation = topology, links, allocation
        self.config, self.spec = config, spec
        self.node = spec.node
        self._circuits = allocation.circuits.get(self.node, {})
        vnics = [vnic for vnic in links.vnics.values() if vnic.node == self.node]
        trunks = [trunk_vnic(links.switches[name]) for name, place in allocation.switches.items()
                  if place.node == self.node and trunk_name(name) in allocation.vnics]
        self._vnics = [*vnics, *trunks]

    @property
    def port(self) -> int:
        """The link port."""
        assert self.config.link_port is not None
        return self.config.link_port

    def hardware(self, vnic: LinkVnic) -> bool:
        """Whether a VNIC is in the hardware lane."""
        return self.allocation.vnics[vnic.name].lane == "hw"

    def add(self) -> None:
        """Put what there is of links into the node's specification, apart from ports of virtual routers."""
        for name, place in self.allocation.switches.items():
            if place.node == self.node:
                self.spec.routers[name] = self._switch(self.links.switches[name], place)
        for vnic in self._vnics:
            if self.hardware(vnic):
                if not vnic.router:
                    self.spec.routers[vnic.name] = self._number(vnic, self.allocation.vnics[vnic.name])
                self._attach(vnic)
            self.spec.vnics[vnic.name] = self._interface(vnic)
        for tunnel in self.links.tunnels.values():
            if tunnel.node == self.node:
                self._tunnel(tunnel)

    def router_ports(self, router: str) -> list[PortSpec]:
        """Ports of a virtual router at the link port."""
        mine = self.links.of_router(router)
        weight = self._clamp(sum(self._weight(vnic) for vnic in mine))
        # All of a router's interfaces there share one shaper.
        rate = _rate(mine[0].max_bw) if len(mine) == 1 else None
        return [PortSpec(port=self.port, circuit=self._circuit("vnic", vnic), name=vnic.interface,
                         outer=self._outer(vnic), mac=self.allocation.vnics[vnic.name].mac,
                         addresses=list(vnic.addresses), mtu=self.links.mtu(vnic), guard=False, peers=[], rate=rate,
                         weight=weight) for vnic in mine]

    def router_rules(self, router: str) -> list[RuleSpec]:
        """Rules of a virtual router that limit what comes in by its VNICs. They come after its own."""
        return [_limit(vnic, self.port, self._circuit("vnic", vnic)) for vnic in self.links.of_router(router)
                if vnic.max_bw is not None]

    def router_circuits(self, router: str) -> dict[str, tuple[int, int]]:
        """Link port and circuit of each interface of a virtual router that is a VNIC."""
        return {vnic.interface: (self.port, self._circuit("vnic", vnic)) for vnic in self.links.of_router(router)}

    def is_underlay(self, router: str) -> bool:
        """Whether a virtual router routes the packets of tunnels."""
        return any(tunnel.underlay == router for tunnel in self.links.tunnels.values())

    # Numbers

    def _switch(self, switch: LinkSwitch, place: SwitchPlace) -> RouterSpec:
        members = [vnic for vnic in self._members(switch.name) if self.hardware(vnic)]
        tunnels = [tunnel for tunnel in self.links.tunnels.values() if tunnel.switch == switch.name]
        common: dict[str, Any] = {"outer": "", "mac": place.mac, "addresses": [], "guard": False}
        ports = [PortSpec(**common, port=port, vlan=vlan, name=f"p{port}" + (f".{vlan}" if vlan else ""), mtu=1500,
                          peers=[], weight=self._clamp(sum(_guaranteed(vnic) for vnic in members)))
                 for port, vlan in switch.uplinks]
        for vnic in members:
            guard = not vnic.policy.forged_transmits
            mac = self.allocation.vnics[vnic.name].mac
            ports.append(PortSpec(
                **common, port=self.port, circuit=self._circuit("member", vnic), name=vnic.name,
                mtu=self.links.mtu(vnic), segment_guard=guard,
                peers=sorted({mac, *vnic.policy.macs}) if guard else []))
        ports += [PortSpec(**common, port=self.port, circuit=self._circuits[f"tunnel {tunnel.name}"], name=tunnel.name,
                           mtu=tunnel.mtu, peers=[]) for tunnel in tunnels]
        # What of a router with several VNICs is not shaped at its own end is policed where it comes in.
        rules = [_limit(vnic, self.port, self._circuit("member", vnic)) for vnic in members
                 if vnic.max_bw is not None and vnic.router and len(self.links.of_router(vnic.router)) > 1]
        listed = self._circuits[f"list {switch.name}"]
        chain = sorted([*(self._circuit("member", vnic) for vnic in members),
                        *(self._circuits[f"tunnel {tunnel.name}"] for tunnel in tunnels)])
        self._row(CircuitSpec(number=listed, name=switch.name, router=place.number, kind="list",
                              next=chain[0] if chain else 0))
        follows = dict(zip(chain, [*chain[1:], 0], strict=False))
        for vnic in members:
            own = self._circuit("member", vnic)
            self._row(CircuitSpec(number=own, name=f"{switch.name}: {vnic.name}", router=place.number, kind="direct",
                                  peer=self._circuit("vnic", vnic), next=follows[own]))
        for tunnel in tunnels:
            own = self._circuits[f"tunnel {tunnel.name}"]
            self._row(CircuitSpec(number=own, name=tunnel.name, router=place.number, kind="tunnel", next=follows[own],
                                  tunnel=self._tunnel_spec(tunnel)))
        return self._tables_only(switch.name, place.number, place, ports, rules=rules, list_circuit=listed)

    def _number(self, vnic: LinkVnic, place: VnicPlace) -> RouterSpec:
        assert place.number is not None
        port = PortSpec(port=self.port, circuit=self._circuit("vnic", vnic), name=vnic.name, outer=self._outer(vnic),
                        mac=place.mac, addresses=[], mtu=self.links.mtu(vnic), guard=False, peers=[],
                        rate=_rate(vnic.max_bw), weight=self._weight(vnic))
        return self._tables_only(vnic.name, place.number, place, [port], rules=_handed_up(vnic, place.mac),
                                 mirror=vnic.policy.mirror, punt_rate=_rate(vnic.max_bw), learn=False)

    def _tables_only(self, name: str, number: int, place: SwitchPlace | VnicPlace, ports: list[PortSpec],
                     **rest: Any) -> RouterSpec:
        rows = {what: getattr(place, what) for what in Rows.__annotations__}
        return RouterSpec(name=name, network="", number=number, image="", limits=LimitSpec(memory=0, cpus=0, pids=0),
                          ports=ports, frr="", daemons=[], mode="bridged", container=False,
                          reserved_cells=reserved_cells(self.config), **rows, **rest)

    # Circuits

    def _attach(self, vnic: LinkVnic) -> None:
        """The row of a VNIC's own circuit."""
        own = self._circuit("vnic", vnic)
        owner = self._owner(vnic)
        if vnic.switch:
            self._row(CircuitSpec(number=own, name=vnic.name, router=owner, kind="direct",
                                  peer=self._circuit("member", vnic)))
        for ends in self.links.wires.values():
            if vnic.name in ends:
                other = self.links.vnics[ends[1 - ends.index(vnic.name)]]
                self._row(CircuitSpec(number=own, name=vnic.name, router=owner, kind="direct",
                                      peer=self._circuit("vnic", other)))
        for tunnel in self.links.tunnels.values():
            if tunnel.vnic == vnic.name:
                self._row(CircuitSpec(number=own, name=vnic.name, router=owner, kind="tunnel",
                                      tunnel=self._tunnel_spec(tunnel)))

    def _tunnel(self, tunnel: LinkTunnel) -> None:
        own = (self._circuits[f"tunnel {tunnel.name}"] if tunnel.switch
               else self._circuit("vnic", self.links.vnics[tunnel.vnic]))
        self.spec.terminations.append(TerminationSpec(
            router=self.allocation.routers[tunnel.underlay].number, kind=tunnel.kind, key=tunnel.key,
            remote=str(tunnel.remote), circuit=own))

    def _tunnel_spec(self, tunnel: LinkTunnel) -> TunnelSpec:
        return TunnelSpec(kind=tunnel.kind, key=tunnel.key, tos=tunnel.tos, ttl=tunnel.ttl, source=str(tunnel.local),
                          destination=str(tunnel.remote),
                          underlay=self.allocation.routers[tunnel.underlay].number)

    def _row(self, circuit: CircuitSpec) -> None:
        self.spec.circuits[str(circuit.number)] = circuit

    def _circuit(self, what: str, vnic: LinkVnic) -> int:
        return self._circuits[f"{what} {vnic.name}"]

    def _owner(self, vnic: LinkVnic) -> int:
        number = (self.allocation.routers[vnic.router].number if vnic.router
                  else self.allocation.vnics[vnic.name].number)
        assert number is not None
        return number

    # Interfaces

    def _interface(self, vnic: LinkVnic) -> VnicSpec:
        hardware = self.hardware(vnic)
        interface, namespace = self._place(vnic)
        return VnicSpec(
            name=vnic.name, lane="hw" if hardware else "sw", switch=vnic.switch, interface=interface,
            namespace=namespace,
            outer=self._outer(vnic), mac=self.allocation.vnics[vnic.name].mac, mtu=self.links.mtu(vnic),
            addresses=list(vnic.addresses), router=vnic.router, number=self._owner(vnic) if hardware else None,
            circuit=self._circuit("vnic", vnic) if hardware else 0, max_bw=vnic.max_bw, min_bw=vnic.min_bw,
            priority=vnic.priority, policy=vnic.policy)

    def _place(self, vnic: LinkVnic) -> tuple[str, str]:
        """Name and namespace of a VNIC's interface."""
        if vnic.router:
            return vnic.interface, ""
        if vnic.host:
            return "eth0", host_namespace(self.topology, vnic.host)
        if vnic.name not in self.links.vnics:       # a trunk: a port of the bridge in software
            return interface_name(f"t.{vnic.name}"), fabric_namespace(self.topology)
        return interface_name(vnic.name), host_namespace(self.topology, vnic.name)

    def _outer(self, vnic: LinkVnic) -> str:
        if self.hardware(vnic):
            return interface_name(f"{self.node}-c{self._circuit('vnic', vnic)}")
        return interface_name(f"v.{vnic.name}")

    # Shares

    def _members(self, switch: str) -> list[LinkVnic]:
        return [vnic for vnic in self._vnics if vnic.switch == switch]

    def _weight(self, vnic: LinkVnic) -> int:
        return self._clamp(max(_WEIGHTS[vnic.priority], _guaranteed(vnic)))

    def _clamp(self, weight: int) -> int:
        return max(1, min(weight, ((1 << SHAPER_ROW["quantum"].width) - 1) // least_quantum(self.config)))


def _guaranteed(vnic: LinkVnic) -> int:
    return -(-(vnic.min_bw or 0) // _WEIGHT_BITS)


def _rate(bits: int | None) -> RateSpec | None:
    # The least bucket: the limit holds from the first frame on.
    return None if bits is None else RateSpec(rate=bits, burst=LEAST_BURST)


def _limit(vnic: LinkVnic, port: int, circuit: int) -> RuleSpec:
    assert vnic.max_bw is not None
    police = RateSpec(rate=vnic.max_bw)
    return RuleSpec(text=f"from {vnic.name}: permit police {police}", match=circuit_match(port, circuit),
                    action="permit", police=police)


def _handed_up(vnic: LinkVnic, mac: str) -> list[RuleSpec]:
    """What of a VNIC's frames its user gets. It has no other port, so that a flood would go back to where it came from:
    what is not for the user is dropped."""
    if vnic.policy.promiscuous or vnic.policy.mac_changes:
        return [RuleSpec(text="everything: punt", match=[], action="punt")]
    own = int(mac.replace(":", ""), 16)
    return [RuleSpec(text=f"dst-mac {mac}: punt", match=[("dmac", own, _DMAC_BITS)], action="punt"),
            RuleSpec(text="dst-mac of a group: punt", match=[("dmac", _GROUP, _GROUP)], action="punt"),
            RuleSpec(text="everything: drop", match=[], action="drop")]
