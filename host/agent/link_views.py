"""What a node's data plane has of circuits, tunnels and VNICs, as people and programs are shown it."""

from ipaddress import IPv4Address
from typing import Any

from polyrouter.hdl.layouts import (
    LINK_ROW,
    REASONS,
    TERMINATION_KEY,
    TUNNEL,
    LinkKind,
    Reason,
    Table,
    TunnelKind,
    unpack,
)

from ..relay import Relay
from ..spec import NodeSpec
from .node_links import NodeLinks
from .tunnels import TunnelPackets
from .views import TableViews

__all__ = ["LinkViews"]

_DROPS = [reason for reason in Reason if reason.name.startswith("DROP_")]


class LinkViews(TableViews):
    """Views of links; who inherits has these attributes.

    Attributes
    ----------
    links : NodeLinks
        Tables and taps.
    relay : Relay
        Serves VNICs and containers.
    tunnel_packets : TunnelPackets
        Packets of tunnels that were handed up.
    """

    links: NodeLinks
    relay: Relay
    tunnel_packets: TunnelPackets
    _wanted: NodeSpec | None = None     # whose links are to be there

    def circuits(self) -> list[dict[str, Any]]:
        """Circuits, read from the board. ``members`` of a list are in the order in which they get their frames."""
        rows = self._link_rows()
        names = {circuit.number: circuit.name for circuit in self._wanted.circuits.values()} if self._wanted else {}
        found = []
        for number, fields in rows.items():
            kind = LinkKind(fields["kind"])
            members, member = [], fields["next"]
            while kind is LinkKind.LIST and member and member not in members:
                members.append(member)
                member = rows.get(member, {}).get("next", 0)
            found.append({"circuit": number, "name": names.get(number), "owner": self._owner(fields["router"]),
                          "kind": kind.name.lower(), "peer": fields["peer"] if kind is LinkKind.DIRECT else None,
                          "members": members if kind is LinkKind.LIST else None})
        return found

    def tunnels(self) -> list[dict[str, Any]]:
        """Tunnels, read from the board, each with the circuit that its other end's frames come in on, if they may."""
        ends = self._ends_by_remote()
        names = {circuit.number: circuit.name for circuit in self._wanted.circuits.values()} if self._wanted else {}
        found = []
        for number, fields in self._link_rows().items():
            if fields["kind"] == LinkKind.TUNNEL:
                tunnel = unpack(TUNNEL, fields["tunnel"])
                key = fields["underlay"], tunnel["kind"], tunnel["key"], tunnel["destination"]
                found.append({
                    "circuit": number, "name": names.get(number), "owner": self._owner(fields["router"]),
                    "kind": TunnelKind(tunnel["kind"]).name.lower(), "key": tunnel["key"],
                    "local": str(IPv4Address(tunnel["source"])), "remote": str(IPv4Address(tunnel["destination"])),
                    "underlay": self._owner(fields["underlay"]), "tos": tunnel["tos"],
                    "ttl": tunnel["ttl"] - 1,       # on the wire
                    "circuit_in": ends.get(key)})
        return found

    def terminations(self) -> list[dict[str, Any]]:
        """Ends of tunnels, by what their packets must be like."""
        return [{"underlay": self._owner(router), "kind": TunnelKind(kind).name.lower(), "key": key,
                 "remote": str(IPv4Address(remote)), "circuit": circuit}
                for (router, kind, key, remote), circuit in sorted(self._ends_by_remote().items())]

    def tunnel_problems(self) -> list[dict[str, Any]]:
        """Packets of tunnels that the hardware could not send on their way."""
        return [row | {"router": self._owner(int(str(row["router"])))} for row in self.tunnel_packets.describe()]

    def link_drops(self) -> list[dict[str, Any]]:
        """Frames that were dropped at the link port, by the number that they were of and by reason."""
        port = self.config.link_port
        if port is None:
            return []
        keys = [(number, name, reason) for number, name in self._names().items() for reason in _DROPS]
        counts = self.driver.read_rows((Table.COUNTER, number, port * REASONS + reason) for number, _, reason in keys)
        return [{"owner": name, "reason": reason.name.lower(), "frames": frames}
                for (_, name, reason), frames in zip(keys, counts, strict=True) if frames]

    def vnics(self) -> list[dict[str, Any]]:
        """VNICs of the node: what they are to be, and what the relay has carried of those in hardware."""
        if self._wanted is None:
            return []
        served, found = self.links.served, []
        counters = {router: count for (router, _), count in self.relay.counters().items()}
        for name, vnic in sorted(self._wanted.vnics.items()):
            row: dict[str, Any] = vnic.model_dump(include={
                "name", "lane", "switch", "router", "interface", "namespace", "mac", "mtu", "addresses", "number",
                "circuit", "vlan", "max_bw", "min_bw", "priority"})
            if vnic.lane == "hw":
                row["up"] = name in served if not vnic.router else vnic.router in self._tables
            if name in served and vnic.number in counters:
                row |= {"sent": counters[vnic.number].sent, "received": counters[vnic.number].delivered,
                        "lost": counters[vnic.number].overflow + counters[vnic.number].undelivered}
            found.append(row)
        return found

    def _link_rows(self) -> dict[int, dict[str, int]]:
        numbers = sorted(self.links.rows)
        rows = self.driver.read_rows((Table.LINK, 0, number) for number in numbers)
        return {number: unpack(LINK_ROW, bits) for number, bits in zip(numbers, rows, strict=True) if bits}

    def _ends_by_remote(self) -> dict[tuple[int, int, int, int], int]:
        found = {}
        for key, circuit in self.links.ends.items():
            fields = unpack(TERMINATION_KEY, key)
            found[fields["router"], fields["kind"], fields["key"], fields["remote"]] = circuit
        return found

    def _owner(self, number: int) -> str:
        return self.router_name(number) or str(number)
