"""What ``up`` has to do: the difference between what is, what was wanted and what is wanted now. Pure functions."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .link_spec import CircuitSpec, TerminationSpec, VnicSpec
from .runtime.limits import format_size
from .spec import GroupSpec, HostSpec, LimitSpec, NetworkSpec, NodeSpec, PortSpec, RouterSpec, SegmentSpec
from .tables.rates import format_rate

__all__ = ["BY_COMMAND", "BY_FILE", "Change", "Seen", "Source", "plan", "router_differences"]


@dataclass(frozen=True)
class Change:
    """One thing that is to be done, and why."""

    action: str         # create, remove, update, replace, repair
    kind: str           # fabric, node, segment, host, router, switch, vnic, tunnel
    name: str
    why: str

    def as_dict(self) -> dict[str, str]:
        """The change by field, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.name}: {self.why}"


@dataclass
class Seen:
    """What is there now."""

    fabric: bool = False
    links: dict[str, str | None] = field(default_factory=dict)      # name -> bridge, of the fabric's interfaces
    hosts: set[str] = field(default_factory=set)                    # that are whole
    agents: set[str] = field(default_factory=set)                   # nodes whose agent answers
    troubles: dict[str, str] = field(default_factory=dict)          # router -> what its agent says is wrong with it
    boards_down: set[str] = field(default_factory=set)              # nodes whose board does not run
    unfinished: bool = False                                        # the last up broke off
    namespaces: set[str] = field(default_factory=set)               # of VNICs


@dataclass(frozen=True)
class Source:
    """Where what is wanted was said, for people."""

    new: str = "it is new in the file"
    gone: str = "it is not in the file any more"


#: Whether it was said by a topology file, or by a command.
BY_FILE, BY_COMMAND = Source(), Source("it was asked for", "it is not wanted any more")


def plan(old: NetworkSpec | None, new: NetworkSpec, seen: Seen, source: Source = BY_FILE) -> list[Change]:
    """Changes that make ``new`` of what there is, in the order in which they are shown."""
    before = old or NetworkSpec(name=new.name, namespace=new.namespace)
    changes = []
    if not seen.fabric:
        changes.append(Change("repair" if old else "create", "fabric", new.namespace,
                              "its namespace is gone" if old else "the network is new"))
    changes += _nodes(before, new, seen)
    changes += _segments(before, new, seen)
    changes += _hosts(before, new, seen, source)
    for name, node in before.nodes.items():
        if name not in new.nodes:
            gone = NodeSpec.model_validate({**node.model_dump(), "routers": {}, "vnics": {}, "circuits": {}})
            why = f"its node {name} is not in the file any more"
            changes += _routers(node, gone, seen, Source(gone=why)) + link_changes(node, gone, seen, Source(gone=why))
    for name, node in new.nodes.items():
        changes += _routers(before.nodes.get(name), node, seen, source)
        changes += link_changes(before.nodes.get(name), node, seen, source)
    return changes


def _gone(kind: str, before: Iterable[str], after: Iterable[str], source: Source = BY_FILE) -> list[Change]:
    kept = set(after)
    return [Change("remove", kind, name, source.gone) for name in before if name not in kept]


def _nodes(before: NetworkSpec, new: NetworkSpec, seen: Seen) -> list[Change]:
    changes = _gone("node", before.nodes, new.nodes)
    for name, node in new.nodes.items():
        old = before.nodes.get(name)
        if old is None:
            changes.append(Change("create", "node", name, "it is new in the file"))
            continue
        differences = [f"{key} was {old.core.get(key)}, is {value}" for key, value in node.core.items()
                       if old.core.get(key) != value]
        if old.macs != node.macs:
            differences.append(f"macs was {old.macs}, is {node.macs}")
        if old.host_link != node.host_link:
            differences.append(f"host-link was {old.host_link or 'none'}, is {node.host_link or 'none'}")
        if differences:
            changes.append(Change("replace", "node", name, "; ".join(differences)))
        elif old.mac_age != node.mac_age:
            changes.append(Change("update", "node", name, f"mac-age was {old.mac_age:g}s, is {node.mac_age:g}s"))
        elif seen.unfinished:
            changes.append(Change("repair", "node", name, "the last 'up' did not end"))
        elif name not in seen.agents:
            changes.append(Change("repair", "node", name, "its agent does not run"))
        elif name in seen.boards_down:
            changes.append(Change("repair", "node", name, "its board does not run"))
        else:
            lost = [tap for tap in node.interfaces if tap not in seen.links]
            if lost:
                changes.append(Change("repair", "node", name, f"it has lost {', '.join(lost)}"))
    return changes


def _segments(before: NetworkSpec, new: NetworkSpec, seen: Seen) -> list[Change]:
    changes = _gone("segment", before.segments, new.segments)
    for name, segment in new.segments.items():
        old = before.segments.get(name)
        if old is None:
            changes.append(Change("create", "segment", name, f"it is new in the file: {', '.join(segment.taps)}"))
        elif old.taps != segment.taps:
            changes.append(Change("update", "segment", name, _lists("port", old.taps, segment.taps)))
        else:
            changes += _repair_segment(segment, seen)
    return changes


def _repair_segment(segment: SegmentSpec, seen: Seen) -> list[Change]:
    if segment.bridge not in seen.links:
        return [Change("repair", "segment", segment.name, f"its bridge {segment.bridge} is gone")]
    loose = [tap for tap in segment.taps if seen.links.get(tap) != segment.bridge]
    if loose:
        return [Change("repair", "segment", segment.name, f"{', '.join(loose)} is not in its bridge")]
    return []


def _hosts(before: NetworkSpec, new: NetworkSpec, seen: Seen, source: Source) -> list[Change]:
    changes = _gone("host", before.hosts, new.hosts, source)
    for name, host in new.hosts.items():
        old = before.hosts.get(name)
        if old is None:
            changes.append(Change("create", "host", name, "it is new in the file"))
        elif old != host:
            changes.append(Change("update", "host", name, _fields(old, host)))
        elif seen.unfinished:
            changes.append(Change("repair", "host", name, "the last 'up' did not end"))
        elif name not in seen.hosts:
            changes.append(Change("repair", "host", name, "its namespace or interface is gone"))
    return changes


def _routers(old: NodeSpec | None, node: NodeSpec, seen: Seen, source: Source) -> list[Change]:
    before = {name: router for name, router in (old.routers if old else {}).items() if router.container}
    after = {name: router for name, router in node.routers.items() if router.container}
    changes = _gone("router", before, after, source)
    for name, router in after.items():
        if name not in before:
            changes.append(Change("create", "router", name, source.new))
        elif before[name] != router:
            changes.append(Change("update", "router", name, "; ".join(router_differences(before[name], router))))
        elif name in seen.troubles:
            changes.append(Change("repair", "router", name, seen.troubles[name]))
    return changes


def link_changes(old: NodeSpec | None, node: NodeSpec, seen: Seen, source: Source) -> list[Change]:
    """Changes of a node's virtual switches, tunnels and VNICs."""
    changes = []
    before, after = _link_parts(old), _link_parts(node)
    for kind in ("switch", "tunnel", "vnic"):
        changes += _gone(kind, before[kind], after[kind], source)
        for name, parts in after[kind].items():
            known = before[kind].get(name)
            if known is None:
                changes.append(Change("create", kind, name, source.new))
            elif known != parts:
                changes.append(Change("update", kind, name, "; ".join(_link_differences(known, parts))))
            elif kind != "tunnel" and name in seen.troubles:
                changes.append(Change("repair", kind, name, seen.troubles[name]))
            elif kind == "vnic" and not seen.unfinished and (
                    namespace := node.vnics[name].namespace) and namespace not in seen.namespaces:
                changes.append(Change("repair", kind, name, f"its namespace {namespace} is gone"))
    return changes


_Parts = dict[str, RouterSpec | VnicSpec | CircuitSpec | TerminationSpec]


def _link_parts(node: NodeSpec | None) -> dict[str, dict[str, _Parts]]:
    """What each virtual switch, tunnel and VNIC of a node consists of."""
    found: dict[str, dict[str, _Parts]] = {"switch": {}, "tunnel": {}, "vnic": {}}
    if node is None:
        return found
    for name, router in node.routers.items():
        if not router.container:
            found[node.kind_of(name)][name] = {"number": router}
    for name, vnic in node.vnics.items():
        found["vnic"].setdefault(name, {})["interface"] = vnic
    ends = {end.circuit: end for end in node.terminations}
    for circuit in node.circuits.values():
        kind = "tunnel" if circuit.kind == "tunnel" and circuit.name not in node.vnics else "vnic"
        if circuit.kind == "list":
            kind = "switch"
        parts = found[kind].setdefault(circuit.name, {}) if kind != "vnic" or circuit.name in node.vnics else {}
        # What comes behind it in its switch's list is the switch's business, and shows in its ports.
        parts["circuit"] = circuit.model_copy(update={"next": 0})
        if circuit.number in ends:
            parts["other end"] = ends[circuit.number]
    return found


def _link_differences(old: _Parts, new: _Parts) -> list[str]:
    """What differs between two of a kind, for people."""
    differences: list[str] = []
    for what in sorted(old.keys() | new.keys()):
        was, now = old.get(what), new.get(what)
        if isinstance(was, RouterSpec) and isinstance(now, RouterSpec):
            differences += router_differences(was, now) if was != now else []
        elif was is None or now is None:
            differences.append(f"{what} is {'new' if was is None else 'gone'}")
        else:
            differences += [f"{name} was {_value(name, getattr(was, name))}, is {_value(name, getattr(now, name))}"
                            for name in type(now).model_fields if getattr(was, name) != getattr(now, name)]
    return list(dict.fromkeys(differences)) or ["it differs"]


def _value(name: str, value: Any) -> Any:
    return format_rate(value) if name.endswith("_bw") and value is not None else value


def router_differences(old: RouterSpec, new: RouterSpec) -> list[str]:
    """What differs between two specifications of a router, for people."""
    differences = []
    for field_name in ("number", "image", "fib_words", "adjacencies", "filter_rules", "policers", "mac_rows", "mode",
                       "multicast", "mirror", "rate", "punt_rate", "reserved_cells", "limit_cells", "tunnels", "learn",
                       "list_circuit"):
        was, now = getattr(old, field_name), getattr(new, field_name)
        if was != now:
            differences.append(f"{field_name} was {was}, is {now}")
    if old.rules != new.rules:
        differences.append(_lists("rule", [f"'{rule.text}'" for rule in old.rules],
                                  [f"'{rule.text}'" for rule in new.rules]))
    if old.groups != new.groups:
        differences.append(_groups(old.groups, new.groups))
    if old.limits != new.limits:
        differences.append(_limits(old.limits, new.limits))
    ports_before, ports_after = {port.name: port for port in old.ports}, {port.name: port for port in new.ports}
    for name in sorted(ports_before.keys() | ports_after.keys()):
        if name not in ports_before:
            differences.append(f"{name} is new")
        elif name not in ports_after:
            differences.append(f"{name} is gone")
        elif ports_before[name] != ports_after[name]:
            differences.append(f"{name}: {_port(ports_before[name], ports_after[name])}")
    if old.frr != new.frr:
        differences.append("its routing configuration differs")
    if old.daemons != new.daemons:
        differences.append(_lists("daemon", old.daemons, new.daemons))
    return differences or ["it differs"]


def _groups(old: list[GroupSpec], new: list[GroupSpec]) -> str:
    before, after = {str(route): route for route in old}, {str(route): route for route in new}
    if list(before) != list(after):
        return _lists("multicast route", list(before), list(after))
    return ", ".join(f"multicast route {name} differs" for name in after if before[name] != after[name])


def _limits(old: LimitSpec, new: LimitSpec) -> str:
    parts = []
    if old.memory != new.memory:
        parts.append(f"memory was {format_size(old.memory)}, is {format_size(new.memory)}")
    parts += [f"{name} was {getattr(old, name)}, is {getattr(new, name)}" for name in ("cpus", "pids")
              if getattr(old, name) != getattr(new, name)]
    return ", ".join(parts)


def _port(old: PortSpec, new: PortSpec) -> str:
    parts = []
    if old.addresses != new.addresses:
        parts.append(_lists("address", old.addresses, new.addresses))
    if old.peers != new.peers:
        parts.append(_lists("peer", old.peers, new.peers))
    for name in ("mtu", "guard", "segment_guard", "mac", "vlan", "circuit", "rate", "weight"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            parts.append(f"{name} was {was}, is {now}")
    return ", ".join(parts) or "it differs"


def _lists(what: str, old: list[str], new: list[str]) -> str:
    added, gone = [item for item in new if item not in old], [item for item in old if item not in new]
    parts = [f"{what} {item} added" for item in added] + [f"{what} {item} removed" for item in gone]
    return ", ".join(parts) or f"order of each {what}"


def _fields(old: HostSpec, new: HostSpec) -> str:
    parts = []
    names: list[str] = list(type(new).model_fields)
    for name in names:
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            parts.append("neighbours differ" if isinstance(now, dict) else f"{name} was {was}, is {now}")
    return ", ".join(parts)


