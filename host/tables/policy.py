"""What a router is besides its routes: mode, filter rules, policers, shapers and quota; values to rows, all pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from polyrouter.hdl.layouts import (
    ACTION_ROW,
    FILTER_KEY,
    FILTER_ROW,
    POLICER_ROW,
    QUOTA_ROW,
    SHAPER_ROW,
    FilterAction,
    RouterMode,
    TrafficClass,
    pack,
)

__all__ = ["Bucket", "FilterRule", "Policy", "PolicyError", "Quota", "Shaper", "exact", "filter_rows",
           "policer_places", "prefix"]

#: Row of a router's own policer in its window.
ROUTER_POLICER = 0
#: What a rule may change, and the flag of ACTION_ROW that says so.
_CHANGES = {"dmac": "set_dmac", "smac": "set_smac", "vid": "set_vid", "pcp": "set_pcp", "ip_source": "set_ip_source",
            "ip_destination": "set_ip_destination", "tos": "set_tos", "l4_source": "set_l4_source",
            "l4_destination": "set_l4_destination"}


class PolicyError(ValueError):
    """Something that a router's windows or its tables have no room for; the message says what."""


@dataclass(frozen=True)
class Bucket:
    """A token bucket, in the registers' units (see :mod:`.rates`)."""

    rate: int
    burst: int

    def policer_row(self) -> int:
        """Row of the policer table."""
        return pack(POLICER_ROW, {"rate": self.rate, "burst": self.burst, "limit": 1})


@dataclass(frozen=True)
class Shaper:
    """What a router may send at a port, and its weight there.

    Attributes
    ----------
    bucket : Bucket or None
        Rate; None if it is not limited.
    quantum : int
        Bytes a round of deficit round robin; 0 is the least there is.
    """

    bucket: Bucket | None = None
    quantum: int = 0

    def row(self) -> int:
        """Row of the shaper table."""
        fields = {"quantum": self.quantum}
        if self.bucket is not None:
            fields |= {"rate": self.bucket.rate, "burst": self.bucket.burst, "limit": 1}
        return pack(SHAPER_ROW, fields)


@dataclass(frozen=True)
class Quota:
    """Cells of the frame buffer that nobody else can have, and the most that the router may have."""

    reserved: int = 0
    limit: int | None = None

    def row(self) -> int:
        """Row of the quota table."""
        return pack(QUOTA_ROW, {"reserved": self.reserved, "limited": int(self.limit is not None),
                                "limit": self.limit or 0})


@dataclass(frozen=True)
class FilterRule:
    """A rule of the filter table.

    Attributes
    ----------
    match : tuple of (str, int, int)
        Fields of ``FILTER_KEY``, each with its value and the bits of it that count.
    action : FilterAction
        What is done with a frame.
    ports : tuple of int
        SEND: where to.
    mirror : bool
        A copy to the host.
    traffic_class : TrafficClass or None
        Class of its copies; None leaves it.
    police : Bucket or None
        The rule's own policer.
    changes : tuple of (str, int)
        Fields of ``ACTION_ROW`` that the frame gets.
    strip_vlan : bool
        The tag is taken off.
    """

    match: tuple[tuple[str, int, int], ...] = ()
    action: FilterAction = FilterAction.PERMIT
    ports: tuple[int, ...] = ()
    mirror: bool = False
    traffic_class: TrafficClass | None = None
    police: Bucket | None = None
    changes: tuple[tuple[str, int], ...] = ()
    strip_vlan: bool = False

    def filter_row(self) -> int:
        """Row of the filter table."""
        value = pack(FILTER_KEY, {name: bits & mask for name, bits, mask in self.match})
        mask = pack(FILTER_KEY, {name: mask for name, _, mask in self.match})
        return pack(FILTER_ROW, {"value": value, "mask": mask, "valid": 1})

    def action_row(self, policer: int | None) -> int:
        """Row of the action table.

        Parameters
        ----------
        policer : int or None
            Row of the rule's policer in the router's window, if it has one.
        """
        fields = {"action": int(self.action), "ports": sum(1 << port for port in set(self.ports)),
                  "mirror": int(self.mirror), "strip_vlan": int(self.strip_vlan)}
        if self.traffic_class is not None:
            fields |= {"set_class": 1, "traffic_class": int(self.traffic_class)}
        if policer is not None:
            fields |= {"police": 1, "policer": policer}
        for name, value in self.changes:
            fields |= {name: value, _CHANGES[name]: 1}
        return pack(ACTION_ROW, fields)


def exact(name: str, value: int) -> tuple[str, int, int]:
    """A field of a match that must have just this value."""
    return name, value, (1 << FILTER_KEY[name].width) - 1


def prefix(name: str, value: int, length: int) -> tuple[str, int, int]:
    """A field of a match of which only so many upper bits count."""
    width = FILTER_KEY[name].width
    return name, value, (1 << width) - (1 << width - length)


@dataclass(frozen=True)
class Policy:
    """All of it for one router.

    Attributes
    ----------
    mode : RouterMode
        What it does with a frame.
    multicast, mirror : bool
        IP multicast is looked up in the FIB; a copy of every frame goes to the host.
    learn : bool
        Bridged: addresses are learned.
    tunnels : bool
        Packets of tunnels to the router itself are for the tunnels that end here.
    rules : tuple of FilterRule
        The first one that matches decides.
    policer : Bucket or None
        What may come in for it in all.
    shapers : mapping of int to Shaper
        By port; has each of its ports and the host port.
    quota : Quota
        Its share of the frame buffer.
    vids : mapping of int to int
        VLAN id of its frames, at the link port their circuit, by port; 0, untagged, for ports that are not there.
    """

    mode: RouterMode = RouterMode.ROUTED
    multicast: bool = False
    mirror: bool = False
    learn: bool = True
    tunnels: bool = False
    rules: tuple[FilterRule, ...] = ()
    policer: Bucket | None = None
    shapers: Mapping[int, Shaper] = field(default_factory=dict)
    quota: Quota = Quota()
    vids: Mapping[int, int] = field(default_factory=dict)

    def check(self, filter_size: int, policer_size: int) -> None:
        """Whether windows of these sizes have room for it.

        Raises
        ------
        PolicyError
            If they have not.
        """
        if len(self.rules) > filter_size:
            raise PolicyError(f"{len(self.rules)} filter rules, and the router's window has {filter_size}: use fewer, "
                              "or give the router more filter_rules")
        policed = sum(rule.police is not None for rule in self.rules)
        wanted = policed + 1 if policed or self.policer is not None else 0
        if wanted > policer_size:
            raise PolicyError(f"{wanted} policers (the router's own, and one for each rule that polices), and the "
                              f"router's window has {policer_size}: police less, or give the router more policers")


def policer_places(rules: tuple[FilterRule, ...], before: Mapping[int, FilterRule], size: int) -> list[int | None]:
    """Row of each rule's policer; a rule that is there already keeps the one that it has.

    Parameters
    ----------
    rules : tuple of FilterRule
        What is to be.
    before : mapping of int to FilterRule
        Rules that had each row.
    size : int
        Rows of the window; rows that no rule had are taken first.
    """
    left = dict(before)
    places: list[int | None] = []
    for rule in rules:
        row = next((row for row, other in left.items() if other == rule), None) if rule.police else None
        if row is not None:
            del left[row]
        places.append(row)
    used = {row for row in places if row is not None} | {ROUTER_POLICER}
    free = iter(sorted(set(range(size)) - used, key=lambda row: (row in before, row)))
    return [place if place is not None or rule.police is None else next(free)
            for rule, place in zip(rules, places, strict=True)]


def filter_rows(rules: tuple[FilterRule, ...], places: list[int | None]) -> list[tuple[int, int]]:
    """Rows of filter and action table, one pair for each rule."""
    return [(rule.filter_row(), rule.action_row(place)) for rule, place in zip(rules, places, strict=True)]
