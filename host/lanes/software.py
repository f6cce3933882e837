"""The software lane: VNICs as veth pairs into Linux bridges, when the hardware has no room or they ask for it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.nftables.main import NFTables

from ..fabric import list_namespaces
from ..link_spec import VnicSpec
from . import limits
from .check import check
from .errors import LaneError
from .features import FEATURES, missing_features, needed_features
from .guard import Guard, GuardedPort
from .links import Link, in_namespace_of, link_named, links_of
from .namespaces import memos_of, release_namespace
from .naming import Memo, group_of, ifb_name, table_name
from .nft import open_nft
from .ports import Inner, Pair, ensure_pair, known_pair, remove_pairs, settle_inner
from .switch import SoftSwitch, SwitchPort, entries_of
from .trunk import Trunk, shares_of

__all__ = ["SoftwareLane", "VnicCounters"]

T = TypeVar("T")


@dataclass(frozen=True)
class VnicCounters:
    """What a VNIC got and sent.

    Attributes
    ----------
    rx_frames, rx_bytes : int
        What it got.
    tx_frames, tx_bytes : int
        What it sent, before anything of it was dropped.
    rx_limited, tx_limited : int
        Frames that its limit dropped, since it has one.
    forged : int
        Frames that it sent from an address that is not its own, and that were dropped.
    """

    rx_frames: int
    rx_bytes: int
    tx_frames: int
    tx_bytes: int
    rx_limited: int
    tx_limited: int
    forged: int

    def as_dict(self) -> dict[str, int]:
        """By field, for JSON."""
        return asdict(self)


class SoftwareLane:
    """The VNICs and switches of one owner, a node for instance, in a fabric that may have several.

    Nothing is kept in the process: what is there is read from the kernel each time, so one that died leaves nothing
    that the next one would not find.

    Parameters
    ----------
    fabric : str
        Namespace of the network's cables; it must be there.
    owner : str
        Name that no other owner in this fabric has.
    """

    def __init__(self, fabric: str, owner: str) -> None:
        self.fabric, self.owner = fabric, owner
        self.group = group_of(owner)
        self.guard = Guard(table_name(owner))
        self._there: set[str] = set()

    def apply(self, wanted: Sequence[VnicSpec], trunks: Sequence[Trunk] = (),
              containers: Mapping[str, str] | None = None, *, settled: Collection[str] = ()) -> list[str]:
        """Make these VNICs, and no others, from whatever is there.

        What differs is changed in place, under traffic: a VNIC's interface goes only with the VNIC, or to another
        namespace. To be called again, too, when a user with ``mac_changes`` has given an interface another address.

        Parameters
        ----------
        wanted : sequence of VnicSpec
            The VNICs; each of ``lane`` sw.
        trunks : sequence of Trunk
            Where their switches meet the hardware.
        containers : mapping of str to str, optional
            Paths of the network namespaces of virtual routers' containers, for VNICs with a ``router``.
        settled : collection of str
            Names of VNICs whose specification is that of the last time, when all went well. Their namespaces, which
            take most of the time, are not looked into, but for those with ``mac_changes``.

        Returns
        -------
        list of str
            What was changed, for people; empty if all was as wanted.

        Raises
        ------
        LaneError
            If it can't be: the kernel lacks something, or something is wrong with what is wanted, and nothing was
            changed; or an interface is in the way, and what follows it in ``wanted`` was not done.
        """
        wanted, trunks, containers = list(wanted), list(trunks), containers or {}
        check(wanted, trunks, containers)
        for spec in wanted:
            if spec.namespace == self.fabric:
                raise LaneError(f"VNIC {spec.name}: {self.fabric} is the namespace of the network's cables; "
                                "name another one")
        self._require_features(wanted)
        namespaces = {spec.outer: spec.namespace or containers[spec.router] for spec in wanted}
        return self._in_fabric(lambda route, socket: self._apply(route, socket, wanted, trunks, namespaces,
                                                                settled))

    def remove_all(self) -> list[str]:
        """Remove everything that was ever made for this owner; returns what, for people."""
        if self.fabric not in list_namespaces():
            return []
        return self._in_fabric(self._remove_all)

    def counters(self, vnics: Sequence[VnicSpec]) -> dict[str, VnicCounters]:
        """Counters of these VNICs by name; those that are not there are left out."""
        return self._in_fabric(lambda route, socket: self._counters(route, socket, vnics))

    def _in_fabric(self, function: Callable[[IPRoute, NFTables], T]) -> T:
        def work(route: IPRoute) -> T:
            with open_nft() as socket:
                return function(route, socket)

        return in_namespace_of(self.fabric, work)

    def _counters(self, route: IPRoute, socket: NFTables, vnics: Sequence[VnicSpec]) -> dict[str, VnicCounters]:
        links, forged = links_of(route), self.guard.forged(socket)
        dropped = {index: row.get("stats2").get_attr("TCA_STATS_QUEUE")["drops"]
                   for (index, kind), row in limits.qdiscs_of(route).items() if kind == "tbf"}
        found = {}
        for spec in vnics:
            outer, ifb = links.get(spec.outer), links.get(ifb_name(spec.outer))
            if outer is not None and outer.group == self.group:
                # What the outer end sends is what the VNIC gets.
                found[spec.name] = VnicCounters(
                    outer.counters["tx_packets"], outer.counters["tx_bytes"], outer.counters["rx_packets"],
                    outer.counters["rx_bytes"], dropped.get(outer.index, 0),
                    dropped.get(ifb.index, 0) if ifb else 0, forged.get(outer.index, 0))
        return found

    def _remove_all(self, route: IPRoute, socket: NFTables) -> list[str]:
        changes = self._remove(route, set()) + self._sweep(route, set(), set())
        return [*changes, "removed the guard"] if self.guard.remove(socket) else changes

    # Parts of ``apply``

    def _apply(self, route: IPRoute, socket: NFTables, wanted: list[VnicSpec], trunks: list[Trunk],
               namespaces: dict[str, str], settled: Collection[str]) -> list[str]:
        links = links_of(route)
        self._check_trunks(links, trunks)
        known = {spec.outer: pair for spec in wanted if spec.name in settled and not spec.policy.mac_changes
                 and (pair := known_pair(spec, namespaces[spec.outer], self.group, links))}
        # First the new, then the old: what was made for one that leaves may have to stay for one that comes.
        pairs = {spec.outer: known.get(spec.outer)
                 or ensure_pair(route, self.fabric, spec, namespaces[spec.outer], self.group, links) for spec in wanted}
        changes = self._remove(route, set(pairs))
        return changes + self._settle(route, socket, wanted, trunks, pairs, namespaces, known.keys())

    def _require_features(self, wanted: list[VnicSpec]) -> None:
        needed = needed_features(wanted)
        if set(needed) <= self._there:
            return
        missing = missing_features()
        lacking = [f"{feature} for {purpose} ({missing[feature]}): {FEATURES[feature]}"
                   for feature, purpose in needed.items() if feature in missing]
        if lacking:
            raise LaneError("these VNICs can't be in the software lane; this kernel lacks " + "; ".join(lacking))
        self._there = set(FEATURES) - set(missing)

    def _check_trunks(self, links: dict[str, Link], trunks: list[Trunk]) -> None:
        ours = {link.index for link in links.values() if link.group == self.group}
        for trunk in trunks:
            link = links.get(trunk.interface)
            if link is None:
                raise LaneError(f"switch {trunk.switch}: its trunk {trunk.interface} is not in {self.fabric}; "
                                "make its hardware VNIC first")
            if link.master is not None and link.master not in ours:
                raise LaneError(f"switch {trunk.switch}: its trunk {trunk.interface} is in another bridge; "
                                "take it out first")

    def _remove(self, route: IPRoute, keep: set[str]) -> list[str]:
        """Remove VNICs that are not to be kept, and namespaces that were made for them and are nobody else's."""
        return remove_pairs(route, self.fabric, self.group, keep)

    def _settle(self, route: IPRoute, socket: NFTables, wanted: list[VnicSpec], trunks: list[Trunk],
                pairs: dict[str, Pair], namespaces: dict[str, str], known: Collection[str]) -> list[str]:
        changed: dict[str, None] = {}
        addresses, memos = {}, memos_of(links_of(route))
        for spec in wanted:
            pair = pairs[spec.outer]
            if pair.outer not in memos:
                raise LaneError(f"VNIC {spec.name}: its interface went with its namespace meanwhile; do it again")
            inner = (Inner(spec.mac, changed=False) if spec.outer in known
                     else settle_inner(spec, pair, memos[pair.outer], namespaces[spec.outer]))
            if pair.changed or inner.changed:
                changed[f"settled {spec.name}"] = None
            addresses[spec.outer] = frozenset({spec.mac, inner.mac if spec.policy.mac_changes else spec.mac,
                                               *spec.policy.macs})
            self._remember(route, pair.outer, spec, namespaces[spec.outer], memos)
        shares = self._shares(socket, wanted, trunks, pairs)
        if self.guard.sync(socket, [
                GuardedPort(pairs[spec.outer].outer, addresses[spec.outer], spec.policy.forged_transmits,
                            spec.policy.promiscuous,
                            shares[pairs[spec.outer].outer].handle if pairs[spec.outer].outer in shares else 0)
                for spec in wanted]):
            changed["changed the guard"] = None
        links, qdiscs = links_of(route), limits.qdiscs_of(route)
        for spec in wanted:
            if self._limit(route, spec, links, qdiscs):
                changed[f"settled {spec.name}"] = None
        kept = self._connect(route, wanted, trunks, addresses, shares, changed)
        return list(changed) + self._sweep(route, kept, {ifb_name(spec.outer) for spec in wanted if spec.max_bw})

    @staticmethod
    def _remember(route: IPRoute, index: int, spec: VnicSpec, namespace: str, memos: dict[int, Memo]) -> None:
        """Write down what the VNIC has now, and let go of what was made for it where it was before."""
        memo = memos[index]
        for name in memo.made:
            if name != namespace:
                release_namespace(route, name, index, memos)
        now = Memo(namespace, spec.mac, [name for name in memo.made if name == namespace])
        if now != memo:
            route.link("set", index=index, ifalias=str(now))
            memos[index] = now

    def _shares(self, socket: NFTables, wanted: list[VnicSpec], trunks: list[Trunk], pairs: dict[str, Pair]
                ) -> dict[int, limits.Share]:
        known = {index: handle & 0xFFFF for index, handle in self.guard.classes(socket).items()}
        found: dict[int, limits.Share] = {}
        for trunk in trunks:
            members = {pairs[spec.outer].outer: spec for spec in wanted
                       if (spec.switch, spec.vlan) == (trunk.switch, trunk.vlan)}
            found |= shares_of(members, known)
        return found

    @staticmethod
    def _limit(route: IPRoute, spec: VnicSpec, links: dict[str, Link], qdiscs: dict[tuple[int, str], Any]) -> bool:
        """Limits of a VNIC in both directions, and the MTU of its outer end."""
        outer, name = links[spec.outer], ifb_name(spec.outer)
        changed = outer.mtu != spec.mtu
        if changed:
            route.link("set", index=outer.index, mtu=spec.mtu)
        bucket = limits.bucket_for(spec.max_bw, spec.mtu) if spec.max_bw else None
        changed |= limits.ensure_bucket(route, outer.index, bucket, qdiscs)
        if bucket is None:
            return limits.remove_redirect(route, outer.index, qdiscs) or changed
        ifb = links.get(name)
        if ifb is None:
            route.link("add", ifname=name, kind="ifb", group=outer.group)
            ifb = link_named(route, name)
        changed |= limits.ensure_bucket(route, ifb.index, bucket, qdiscs)
        if not ifb.up:
            route.link("set", index=ifb.index, ifalias=f"what {spec.name} sends", state="up")
        return limits.ensure_redirect(route, outer.index, ifb.index, qdiscs) or changed

    def _connect(self, route: IPRoute, wanted: list[VnicSpec], trunks: list[Trunk],
                 addresses: dict[str, frozenset[str]], shares: dict[int, limits.Share], changed: dict[str, None]
                 ) -> set[str]:
        """Make the switches with their ports; returns the names of bridges and trunks that are in use."""
        members = defaultdict(list)
        for spec in wanted:
            members[spec.switch, spec.vlan].append(spec)
        by_switch = {(trunk.switch, trunk.vlan): trunk for trunk in trunks}
        kept = set()
        # Once for all of them: a port is one switch's only.
        links, qdiscs, entries = links_of(route), limits.qdiscs_of(route), entries_of(route)
        for (name, vlan), specs in members.items():
            switch, trunk = SoftSwitch(self.owner, name, vlan, self.group), by_switch.get((name, vlan))
            made = switch.ensure(route, links)
            ports = [SwitchPort(links[spec.outer].index, addresses[spec.outer], spec.policy.promiscuous)
                     for spec in specs]
            if trunk is not None:
                link = links[trunk.interface]
                ports.append(SwitchPort(link.index, frozenset(), True))
                if limits.ensure_shares(route, link.index, trunk.rate, link.mtu,
                                        [shares[port.index] for port in ports if port.index in shares], qdiscs):
                    changed[f"changed trunk {trunk.interface}"] = None
                kept.add(trunk.interface)
            kept.add(switch.bridge)
            if switch.ensure_ports(route, ports, links, entries) or made:
                changed[f"changed switch {name}" + (f", VLAN {vlan}" if vlan else "")] = None
        return kept

    def _sweep(self, route: IPRoute, kept: set[str], ifbs: set[str]) -> list[str]:
        """Let go of trunks, and remove bridges and what held frames back, that are not in use."""
        links, used = links_of(route), {"bridge": kept, "ifb": ifbs}
        ours = {link.index for link in links.values() if link.group == self.group and link.kind == "bridge"}
        changes, qdiscs = [], limits.qdiscs_of(route)
        for link in links.values():
            if link.master in ours and link.group != self.group and link.name not in kept:
                if (link.index, "htb") in qdiscs:
                    limits.clear_root(route, link.index)
                route.link("set", index=link.index, master=0)
                changes.append(f"let go of trunk {link.name}")
            elif link.group == self.group and link.kind in used and link.name not in used[link.kind]:
                route.link("del", index=link.index)
                changes.append(f"removed {link.name}")
        return changes
