"""Interfaces of VNICs in the hardware lane: veth pairs whose outer ends the relay serves.

As in the software lane, what is there is read from the kernel each time.
"""

from collections.abc import Sequence

from pyroute2 import IPRoute

from ..fabric import list_namespaces, offloads_off
from ..link_spec import VnicSpec
from .errors import LaneError
from .links import Link, find_link, in_namespace_of, links_of
from .namespaces import memos_of, release_namespace
from .naming import Memo, group_of, inner_name
from .ports import ensure_pair, remove_pairs, settle_inner

__all__ = ["HardwareInterfaces"]


class HardwareInterfaces:
    """The interfaces of one owner's VNICs, in a fabric that may have several owners.

    Parameters
    ----------
    fabric : str
        Namespace of the network's cables; it must be there.
    owner : str
        Name that no other owner in this fabric has.
    """

    def __init__(self, fabric: str, owner: str) -> None:
        self.fabric = fabric
        self._group = group_of(f"{owner}, hardware lane")

    def ensure(self, spec: VnicSpec) -> bool:
        """Make a VNIC's pair, or what is missing of it; returns whether anything had to be changed.

        There may be many others, which are not looked at.

        One whose namespace is the fabric, as that of a trunk, has both ends there.

        Raises
        ------
        LaneError
            If an interface of somebody else is in the way, or its namespace can't have an address.
        """
        return in_namespace_of(self.fabric, lambda route: self._ensure(route, spec))

    def keep_only(self, wanted: Sequence[VnicSpec]) -> list[str]:
        """Remove all other interfaces, with the namespaces that were made for them; returns what, for people."""
        if self.fabric not in list_namespaces():
            return []
        return in_namespace_of(self.fabric, lambda route: self._keep_only(route, {spec.outer for spec in wanted}))

    def _ensure(self, route: IPRoute, spec: VnicSpec) -> bool:
        # The outer end, and the inner one while it is still here.
        names = spec.outer, spec.interface, inner_name(spec.outer)
        links = {name: link for name in names if (link := find_link(route, name)) is not None}
        if spec.namespace == self.fabric:
            return self._ensure_trunk(route, spec, links)
        pair = ensure_pair(route, self.fabric, spec, spec.namespace, self._group, links)
        outer = find_link(route, spec.outer)
        memo = Memo.parse(outer.alias) if outer else None
        if memo is None:
            raise LaneError(f"VNIC {spec.name}: its interface went with its namespace meanwhile; do it again")
        inner = settle_inner(spec, pair, memo, spec.namespace)
        if left := [name for name in memo.made if name != spec.namespace]:
            memos = memos_of(links_of(route))
            for name in left:
                release_namespace(route, name, pair.outer, memos)
        now = Memo(spec.namespace, spec.mac, [name for name in memo.made if name == spec.namespace])
        if now != memo:
            route.link("set", index=pair.outer, ifalias=str(now))
        return self._settle_end(route, spec.outer, spec.mtu) or pair.changed or inner.changed

    def _ensure_trunk(self, route: IPRoute, spec: VnicSpec, links: dict[str, Link]) -> bool:
        outer, inner = links.get(spec.outer), links.get(spec.interface)
        whole = outer is not None and inner is not None and outer.peer == inner.index
        if not whole:
            for link in (outer, inner):
                if link is not None and link.group != self._group:
                    raise LaneError(f"VNIC {spec.name}: {self.fabric} has an interface {link.name} already that is "
                                    "none of its pair; remove it")
            if outer is not None:
                route.link("del", index=outer.index)
            route.link("add", ifname=spec.outer, kind="veth", mtu=spec.mtu, group=self._group,
                       peer={"ifname": spec.interface, "address": spec.mac, "mtu": spec.mtu})
            for name in (spec.outer, spec.interface):
                offloads_off(name)
        settled = [self._settle_end(route, name, spec.mtu) for name in (spec.outer, spec.interface)]
        return any(settled) or not whole

    @staticmethod
    def _settle_end(route: IPRoute, name: str, mtu: int) -> bool:
        link = find_link(route, name)
        assert link is not None
        if link.up and link.mtu == mtu:
            return False
        route.link("set", index=link.index, mtu=mtu, state="up")
        return True

    def _keep_only(self, route: IPRoute, keep: set[str]) -> list[str]:
        return remove_pairs(route, self.fabric, self._group, keep)
