"""Filter rules of a topology file, worked out to the fields of the filter table. Pure functions."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType
from typing import Any

from polyrouter.hdl.layouts import FILTER_KEY
from pydantic import BaseModel

from .tables.policy import exact, prefix
from .tables.rates import format_rate
from .topology import Changes, FilterEntry, Match, Police, Send, interface_port
from .topology_values import ETHERTYPES

__all__ = ["RateSpec", "RuleSpec", "circuit_match", "rule_spec"]


class RateSpec(BaseModel):
    """A rate in bits a second, and a burst in bytes; None leaves it to the agent, 0 is the least one."""

    rate: int
    burst: int | None = None

    def __str__(self) -> str:
        return format_rate(self.rate) + ("" if not self.burst else f" burst {self.burst}")


class RuleSpec(BaseModel):
    """A filter rule."""

    text: str                               # all of it, for people
    match: list[tuple[str, int, int]]       # field of FILTER_KEY, its value, the bits that count
    action: str                             # permit, drop, punt, send
    ports: list[int] = []
    mirror: bool = False
    traffic_class: str | None = None
    police: RateSpec | None = None
    changes: dict[str, int] = {}            # fields of ACTION_ROW
    strip_vlan: bool = False


#: Keys of the file to fields, where nothing but the name differs.
_MATCH = {"pcp": "pcp", "ethertype": "ethertype", "protocol": "protocol", "tos": "tos", "src_port": "l4_source",
          "dst_port": "l4_destination"}
_SET = {"pcp": "pcp", "tos": "tos", "src_port": "l4_source", "dst_port": "l4_destination"}
_MACS = {"src_mac": "smac", "dst_mac": "dmac"}
_ADDRESSES = {"src": "ip_source", "dst": "ip_destination"}


def rule_spec(entry: FilterEntry, circuits: Mapping[str, tuple[int, int]] = MappingProxyType({})) -> RuleSpec:
    """A rule of a topology file, worked out.

    Parameters
    ----------
    entry : FilterEntry
        As written.
    circuits : mapping of str to (int, int)
        Link port and circuit of each interface that is a VNIC.
    """
    action = entry.action
    ports = [interface_port(name) for name in action.send] if isinstance(action, Send) else []
    return RuleSpec(
        text=_text(entry), match=_match(entry.match, circuits), action="send" if isinstance(action, Send) else action,
        ports=sorted(set(ports)), mirror=entry.mirror, traffic_class=entry.traffic_class,
        police=police_spec(entry.police), changes=_changes(entry.changes), strip_vlan=entry.changes.vlan == "untagged")


def police_spec(police: Police | None) -> RateSpec | None:
    """What a rule lets through."""
    return None if police is None else RateSpec(rate=police.rate, burst=police.burst)


def circuit_match(port: int, circuit: int) -> list[tuple[str, int, int]]:
    """What a frame is that came in by a circuit."""
    return [exact("port", port), exact("vid", circuit)]


def _match(match: Match, circuits: Mapping[str, tuple[int, int]]) -> list[tuple[str, int, int]]:
    fields: dict[str, tuple[str, int, int]] = {}

    def add(name: str, value: int) -> None:
        fields.setdefault(name, exact(name, value))

    if match.port is not None and match.port in circuits:
        port, circuit = circuits[match.port]
        add("port", port)
        add("vid", circuit)
    elif match.port is not None:
        add("port", interface_port(match.port))
    if match.vlan == "untagged":
        add("tagged", 0)
    elif isinstance(match.vlan, int):
        add("vid", match.vlan)
        if match.vlan:
            add("tagged", 1)
    if match.pcp is not None:
        add("tagged", 1)
    for key, name in _MACS.items():
        mac = getattr(match, key)
        if mac is not None:
            add(name, int(mac.replace(":", ""), 16))
    for key, name in _MATCH.items():
        value = getattr(match, key)
        if value is not None:
            add(name, value)
    for key, name in _ADDRESSES.items():
        network: IPv4Network | IPv6Network | None = getattr(match, key)
        if network is not None:
            bits = FILTER_KEY[name].width
            upper = int(network.network_address) >> network.max_prefixlen - bits
            fields[name] = prefix(name, upper, network.prefixlen)
            add("ethertype", ETHERTYPES["ipv4" if network.version == 4 else "ipv6"])
    return list(fields.values())


def _changes(changes: Changes) -> dict[str, int]:
    fields = {name: getattr(changes, key) for key, name in _SET.items()}
    if isinstance(changes.vlan, int):
        fields["vid"] = changes.vlan
    for key, name in _MACS.items():
        mac = getattr(changes, key)
        fields[name] = None if mac is None else int(mac.replace(":", ""), 16)
    for key, name in _ADDRESSES.items():
        address = getattr(changes, key)
        fields[name] = None if address is None else int(address)
    return {name: value for name, value in fields.items() if value is not None}


def _text(entry: FilterEntry) -> str:
    action = entry.action
    parts = [_words(entry.match) or "everything", ":",
             f"send {','.join(action.send)}" if isinstance(action, Send) else action]
    changes = _words(entry.changes)
    parts += [f"set {changes}"] if changes else []
    parts += [f"class {entry.traffic_class}"] if entry.traffic_class else []
    parts += [f"police {police_spec(entry.police)}"] if entry.police else []
    parts += ["mirror"] if entry.mirror else []
    return " ".join(parts).replace(" :", ":")


def _words(values: Match | Changes) -> str:
    given: dict[str, Any] = values.model_dump(by_alias=True, exclude_none=True)
    names = {"ethertype": lambda value: f"{value:#06x}"}
    return " ".join(f"{key} {names.get(key, str)(value)}" for key, value in given.items())
