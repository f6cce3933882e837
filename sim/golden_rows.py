"""Rows of the tables as the golden model reads them; the names are those of the layouts."""

from collections.abc import Callable
from typing import NamedTuple

from amaranth.lib import data
from polyrouter.hdl.layouts import (
    ACTION_ROW,
    ADJACENCY_ECMP,
    ADJACENCY_MULTICAST,
    ADJACENCY_ROW,
    CONTEXT_ROW,
    FILTER_ROW,
    LINK_ROW,
    MAC_ROW,
    POLICER_ROW,
    PORT_ROW,
    TERMINATION_ROW,
    TUNNEL,
    VMAC_ROW,
    RouterMode,
)

__all__ = ["Action", "Adjacency", "Context", "Ecmp", "Link", "MacEntry", "Multicast", "Policer", "Port", "Rule",
           "Termination", "Tunnel", "VmacSlot", "decoder"]


def decoder(layout: data.StructLayout, names: tuple[str, ...]) -> Callable[[int], list[int]]:
    """A function that gives these fields of a row."""
    fields = [(layout[name].offset, (1 << layout[name].width) - 1) for name in names]

    def decode(bits: int) -> list[int]:
        return [bits >> offset & mask for offset, mask in fields]

    return decode


class Context(NamedTuple):
    """A router's context registers."""

    enable: int
    mode: int
    ports: int
    group: int
    guard: int
    fib_base: int
    fib_size: int
    ipv4_root: int
    adj_base: int
    adj_size: int
    ipv6_root: int
    multicast: int
    mirror: int
    learn: int
    filter_base: int
    filter_size: int
    policer_base: int
    policer_size: int
    mac_base: int
    mac_size: int
    ecmp_seed: int
    tunnels: int

    @property
    def on(self) -> bool:
        """Whether it is enabled, with a mode that is known."""
        return bool(self.enable) and self.mode in frozenset(RouterMode)

    @property
    def routed(self) -> bool:
        """Whether it is on and routes."""
        return self.on and self.mode == RouterMode.ROUTED

    def on_port(self, port: int) -> bool:
        """Whether it is on, and on this port."""
        return self.on and bool(self.ports >> port & 1)

    def guards(self, port: int) -> bool:
        """Whether it takes frames from its peers only, on this port."""
        return bool(self.guard >> port & 1)


class Adjacency(NamedTuple):
    """A next hop, or what to do instead."""

    kind: int
    port: int
    mac: int
    mtu: int
    vid: int


class Ecmp(NamedTuple):
    """An adjacency that stands for several."""

    first: int
    count: int           # type: ignore[assignment]


class Multicast(NamedTuple):
    """An adjacency of a group."""

    kind: int
    port: int
    ports: int
    host: int
    mtu: int
    vid: int


class Port(NamedTuple):
    """What a router is on a port."""

    mac: int
    vid: int


class VmacSlot(NamedTuple):
    """A slot of the VMAC-VE table."""

    mac: int
    port: int
    vid: int
    role: int
    valid: int
    router: int
    guard: int


class Rule(NamedTuple):
    """What a filter rule matches."""

    value: int
    mask: int
    valid: int

    def matches(self, key: int) -> bool:
        """Whether a key does."""
        return bool(self.valid) and not (self.value ^ key) & self.mask


class Action(NamedTuple):
    """What a filter rule does. Without arguments: nothing."""

    action: int = 0
    ports: int = 0
    mirror: int = 0
    set_class: int = 0
    traffic_class: int = 0
    police: int = 0
    policer: int = 0
    set_dmac: int = 0
    set_smac: int = 0
    strip_vlan: int = 0
    set_vid: int = 0
    set_pcp: int = 0
    set_ip_source: int = 0
    set_ip_destination: int = 0
    set_tos: int = 0
    set_l4_source: int = 0
    set_l4_destination: int = 0
    dmac: int = 0
    smac: int = 0
    vid: int = 0
    pcp: int = 0
    ip_source: int = 0
    ip_destination: int = 0
    tos: int = 0
    l4_source: int = 0
    l4_destination: int = 0


class Policer(NamedTuple):
    """A token bucket that drops."""

    rate: int
    burst: int
    limit: int


class MacEntry(NamedTuple):
    """An address that a bridge knows."""

    mac: int
    port: int
    static: int
    age: int
    vid: int


class Tunnel(NamedTuple):
    """Where a tunnel begins and ends, and what its packets say."""

    kind: int
    key: int
    source: int
    destination: int
    tos: int
    ttl: int


class Link(NamedTuple):
    """A circuit."""

    router: int
    kind: int
    next: int
    peer: int
    underlay: int
    tunnel: int

    @property
    def headers(self) -> Tunnel:
        """Fields of ``tunnel``."""
        return Tunnel(*_tunnel(self.tunnel))


class Termination(NamedTuple):
    """A tunnel that ends here."""

    router: int
    kind: int
    key: int
    remote: int
    circuit: int
    valid: int


_tunnel = decoder(TUNNEL, Tunnel._fields)
#: Layout of each.
LAYOUTS: dict[type, data.StructLayout] = {
    Context: CONTEXT_ROW, Adjacency: ADJACENCY_ROW, Ecmp: ADJACENCY_ECMP, Multicast: ADJACENCY_MULTICAST,
    Port: PORT_ROW, VmacSlot: VMAC_ROW, Rule: FILTER_ROW, Action: ACTION_ROW, Policer: POLICER_ROW, MacEntry: MAC_ROW,
    Link: LINK_ROW, Termination: TERMINATION_ROW,
}
