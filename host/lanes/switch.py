"""A virtual switch of the software lane: a Linux bridge that learns nothing, since it is told who is where."""

import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from .links import Link, link_at, link_named
from .naming import bridge_name

__all__ = ["SoftSwitch", "SwitchPort", "entries_of"]

#: The longest MTU; its ports have theirs.
_MTU = 65535
#: Bridges drop 01:80:c2:00:00:0X; bit X of the mask lets them through. 0, 1 and 2 can't be: LLDP (0E), 802.1X (03) can.
_GROUP_FORWARD_MASK = 0xFFF8
#: Seconds.
_CARRIER_TIMEOUT, _POLL = 3.0, 0.01
# Of a forwarding entry: static, in the bridge.
_STATIC, _LOCAL, _IN_BRIDGE = 0x40, 0x80, 0x04


@dataclass(frozen=True)
class SwitchPort:
    """A port.

    Attributes
    ----------
    index : int
        Interface index.
    addresses : frozenset of str
        What is behind it; empty for a trunk, behind which is everything else.
    all_frames : bool
        It gets all frames.
    """

    index: int
    addresses: frozenset[str]
    all_frames: bool


class SoftSwitch:
    """A virtual switch, or one of its VLANs: each VLAN has a bridge of its own, so nothing can get across, whether the
    kernel's bridges know VLANs or not.

    Parameters
    ----------
    owner : str
        Whose lane it is in.
    switch : str
        Name of the virtual switch.
    vlan : int
        Its VLAN.
    group : int
        Mark of the owner's interfaces.
    """

    def __init__(self, owner: str, switch: str, vlan: int, group: int) -> None:
        self.switch, self.vlan, self.group = switch, vlan, group
        self.bridge = bridge_name(owner, switch, vlan)

    def ensure(self, route: IPRoute, links: dict[str, Link]) -> bool:
        """Make the bridge, and put it among the interfaces if it is new; returns whether anything had to be done."""
        alias = f"virtual switch {self.switch}" + (f", VLAN {self.vlan}" if self.vlan else "")
        found = links.get(self.bridge)
        if found is not None and found.up and found.alias == alias:
            return False
        if found is None:
            route.link("add", ifname=self.bridge, kind="bridge", group=self.group, br_stp_state=0, br_forward_delay=0,
                       br_mcast_snooping=0, br_group_fwd_mask=_GROUP_FORWARD_MASK)
            found = links[self.bridge] = link_named(route, self.bridge)
        route.link("set", index=found.index, mtu=_MTU, ifalias=alias, state="up")
        return True

    def ensure_ports(self, route: IPRoute, ports: list[SwitchPort], links: dict[str, Link],
                     known: dict[int, set[str]]) -> bool:
        """Make these its ports.

        A frame goes to the port that has its destination address, or else to those that get all frames. If two ports
        must have the same frame, because one gets all frames or an address is behind both, the switch sends everything
        everywhere and leaves it to the guard to say who gets it (:mod:`.guard`).

        Parameters
        ----------
        route : IPRoute
            In the fabric.
        ports : list of SwitchPort
            All that it is to have.
        links : dict of str to Link
            The fabric's interfaces.
        known : dict of int to set of str
            What :func:`entries_of` gave before any of these ports was changed.

        Returns
        -------
        bool
            Whether anything had to be changed.
        """
        master = links[self.bridge].index
        current = {link.index: link for link in links.values()}
        behind = [address for port in ports for address in port.addresses]
        everywhere = len(set(behind)) < len(behind) or any(port.all_frames for port in ports if port.addresses)
        entries = set() if everywhere else {(port.index, address) for port in ports for address in port.addresses}
        have = {(port.index, address) for port in ports for address in known.get(port.index, ())}
        changed = False
        floods = {port.index: everywhere or port.all_frames for port in ports}
        for port in ports:
            link = current[port.index]
            if link.master != master:
                route.link("set", index=port.index, master=master)
            if link.master != master or link.learning or (floods[port.index] and not link.flood):
                # A port that need not flood any more keeps doing so until the entries are there.
                route.brport("set", index=port.index, learning=0, unicast_flood=int(link.flood or floods[port.index]))
                changed = True
            if not link.up:
                route.link("set", index=port.index, state="up")
                changed = True
        for index, address in sorted(have - entries):
            with contextlib.suppress(NetlinkError):     # went with its port's former switch
                route.fdb("del", ifindex=index, lladdr=address, flags=_IN_BRIDGE)
            changed = True
        for index, address in sorted(entries):
            if (index, address) not in have or current[index].master != master:
                route.fdb("replace", ifindex=index, lladdr=address, state=_STATIC, flags=_IN_BRIDGE)
                changed = True
        for port in ports:
            if not floods[port.index] and (current[port.index].flood or current[port.index].master != master):
                route.brport("set", index=port.index, learning=0, unicast_flood=0)
                changed = True
        if changed:
            self._wait_until_forwarding(route, [
                port.index for port in ports if port.addresses
                and not (current[port.index].forwarding and current[port.index].master == master)])
        return changed

    @staticmethod
    def _wait_until_forwarding(route: IPRoute, ports: list[int]) -> None:
        """Wait until the kernel has seen that ports have a carrier, for which it may take its time (linkwatch, 1 s).

        One whose user has switched it off meanwhile never has; so not for ever.
        """
        deadline = time.monotonic() + _CARRIER_TIMEOUT
        waiting = list(ports)
        while waiting and time.monotonic() < deadline:
            waiting = [index for index in waiting if (link := link_at(route, index)) and not link.forwarding]
            if waiting:
                time.sleep(_POLL)


def entries_of(route: IPRoute) -> dict[int, set[str]]:
    """Addresses that bridges have behind each port, by its index; not the ports' own."""
    found: dict[int, set[str]] = defaultdict(set)
    for row in route.fdb("dump"):
        if row.get("master") and not row["state"] & _LOCAL:
            found[row["ifindex"]].add(row.get("lladdr"))
    return found
