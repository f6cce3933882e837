"""What commands have made or changed, link objects and where routers are: kept beside the topology file, and laid over
it. Pure functions.

An object is kept as it would be written in the file. ``up`` reads the file anew, and what the file names is then as the
file says; what only commands have made stays until a command deletes it, or ``down``.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

from .topology import Topology

__all__ = ["KINDS", "MOVES", "LinkObjectError", "Objects", "create", "delete", "keep", "move", "overlay",
           "said_of_objects", "update"]

#: Kind of object, as commands call it, to its section of a topology file.
KINDS = {"vnic": "vnics", "portgroup": "port-groups", "switch": "switches", "wire": "wires", "tunnel": "tunnels"}

#: Section of routers that were moved: by full name, the node that the file says (``from``) and where it is (``to``).
MOVES = "moves"

#: By section and name: what a topology file would have there.
Objects = dict[str, dict[str, dict[str, Any]]]


class LinkObjectError(ValueError):
    """A command asks for something that can't be; the message says what and what to do."""


def overlay(data: dict[str, Any], objects: Objects) -> dict[str, Any]:
    """The contents of a topology file with objects put in, in place of those of the same name."""
    if not any(objects.values()):
        return data
    result = copy.deepcopy(data)
    topology = result.get("topology")
    if not isinstance(topology, dict):
        return result
    for section, entries in objects.items():
        if section == MOVES:
            _move(topology, entries)
            continue
        for name, entry in entries.items():
            if "." in name:
                interface = _interface(topology, name)
                if interface is not None:
                    interface["vnic"] = copy.deepcopy(entry)
                continue
            if not isinstance(topology.get(section), dict):
                topology[section] = {}
            topology[section][name] = copy.deepcopy(entry)
    return result


def keep(objects: Objects, file: Topology) -> Objects:
    """What stays of the objects when a file is read anew: what it does not name."""
    named = {"vnics": set(file.all_vnics()), "port-groups": set(file.port_groups), "switches": set(file.switches),
             "wires": set(file.wires), "tunnels": set(file.tunnels)}
    homes = {full: node for full, _, node, _ in file.routers()}
    named[MOVES] = {full for full, move in objects.get(MOVES, {}).items()
                    if homes.get(full) != move["from"] or move["to"] not in file.nodes}
    return {section: left for section, entries in objects.items()
            if (left := {name: entry for name, entry in entries.items()
                         if name not in named[section] and "." not in name})}


def move(objects: Objects, router: str, home: str, node: str) -> Objects:
    """The objects with a router on another node.

    Parameters
    ----------
    objects : Objects
        What there is.
    router : str
        Its full name.
    home, node : str
        Where the file has it, and where it is to be.
    """
    others = {name: entry for name, entry in objects.get(MOVES, {}).items() if name != router}
    return {**objects, MOVES: others if node == home else {**others, router: {"from": home, "to": node}}}


def _move(topology: dict[str, Any], moves: Mapping[str, Mapping[str, str]]) -> None:
    """Have routers on other nodes than the file says. Networks may share what they are made of, by YAML's anchors."""
    networks = topology.get("networks")
    if not isinstance(networks, dict):
        return
    for network, entry in list(networks.items()):
        routers = entry.get("routers") if isinstance(entry, dict) else None
        if not isinstance(routers, dict):
            continue
        moved = {name: moves[f"{network}-{name}"]["to"] for name in routers if f"{network}-{name}" in moves}
        if moved:
            networks[network] = own = copy.copy(entry)
            own["routers"] = copy.copy(routers)
            for name, node in moved.items():
                own["routers"][name] = {**routers[name], "node": node} if isinstance(routers[name], dict) else {
                    "node": node}


def create(objects: Objects, kind: str, name: str, entry: Mapping[str, Any], now: Topology) -> Objects:
    """The objects with one more.

    Raises
    ------
    LinkObjectError
        If there is one of that name.
    """
    if name in _names(now, kind):
        raise LinkObjectError(f"there is a {kind} {name} already: change it by '{kind} set', or take another name")
    return _with(objects, kind, name, {key: value for key, value in entry.items() if value is not None})


def update(objects: Objects, data: Mapping[str, Any], kind: str, name: str, changes: Mapping[str, Any], now: Topology
           ) -> Objects:
    """The objects with one changed; a property that is None goes back to its default.

    Parameters
    ----------
    objects : Objects
        What there is.
    data : mapping
        The topology file's contents; one of its objects is taken from there.
    kind, name : str
        Which one.
    changes : mapping
        Properties and their new values.
    now : Topology
        What there is, all together.

    Raises
    ------
    LinkObjectError
        If there is none of that name, or nothing is to be changed.
    """
    _known(now, kind, name)
    if not changes:
        raise LinkObjectError(f"nothing is said to change of {kind} {name}: give at least one option")
    written = objects.get(KINDS[kind], {}).get(name)
    if written is None:
        written = _written(overlay(dict(data), objects), kind, name)
    entry = {key: value for key, value in {**written, **changes}.items() if value is not None}
    return _with(objects, kind, name, entry)


def delete(objects: Objects, data: Mapping[str, Any], kind: str, name: str, now: Topology) -> Objects:
    """The objects without one.

    Raises
    ------
    LinkObjectError
        If there is none of that name, or it is the file's.
    """
    _known(now, kind, name)
    if _written(data, kind, name):
        raise LinkObjectError(f"{kind} {name} is in the topology file: take it out there, and run 'polyrouter up'")
    made = objects.get(KINDS[kind], {})
    if name not in made:
        raise LinkObjectError(f"{kind} {name} is one of several that were made as one: delete them all, by the name "
                              "without its number")
    return {**objects, KINDS[kind]: {other: entry for other, entry in made.items() if other != name}}


def said_of_objects(problem: str) -> str:
    """A problem of a merged file, for somebody who has given a command."""
    sections = "|".join(KINDS.values())
    match = re.match(rf"topology\.({sections})\.([^.:\[ ]+)(?: \(made by command\))?\.?(.*)$", problem)
    if match is None:
        return problem
    kind = next(kind for kind, section in KINDS.items() if section == match[1])
    rest = match[3].replace(" (made by command)", "")
    return f"{kind} {match[2]}{'' if rest.startswith(':') else ': '}{rest}"


def _with(objects: Objects, kind: str, name: str, entry: dict[str, Any]) -> Objects:
    return {**objects, KINDS[kind]: {**objects.get(KINDS[kind], {}), name: entry}}


def _names(now: Topology, kind: str) -> list[str]:
    found = {"vnic": [*now.all_vnics(), *(name for name, vnic in now.vnics.items() if vnic.count is not None)],
             "portgroup": [*now.port_groups], "switch": [*now.switches], "wire": [*now.wires],
             "tunnel": [*now.tunnels]}[kind]
    inside = [f"{full}.{name}" for full, _, _, router in now.routers() for name in router.virtual
              if kind == "vnic" and name not in found]
    return [*found, *inside]


def _known(now: Topology, kind: str, name: str) -> None:
    names = _names(now, kind)
    if name not in names:
        known = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        raise LinkObjectError(f"there is no {kind} {name}; there are: {known or 'none'}")


def _written(data: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """What a topology file says of an object; nothing if it does not name it."""
    topology = data.get("topology") or {}
    if kind == "vnic" and "." in name:
        interface = _interface(topology, name)
        return dict((interface or {}).get("vnic") or {})
    entries = topology.get(KINDS[kind]) or {}
    key = name
    if kind == "vnic" and name not in entries:
        # One of several with a number is written by the name without it.
        key = next((entry for entry, value in entries.items() if name.startswith(entry)
                    and name.removeprefix(entry).isdigit() and (value or {}).get("count")), name)
    return {what: value for what, value in (entries.get(key) or {}).items() if what != "count" or key == name}


def _interface(topology: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """A virtual router's interface by the name of its VNIC."""
    router_name, _, interface = name.rpartition(".")
    for network, its in (topology.get("networks") or {}).items():
        for router, entry in (its.get("routers") or {}).items():
            if f"{network}-{router}" == router_name:
                return (entry.get("interfaces") or {}).get(interface)
    return None
