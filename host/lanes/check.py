"""What can be wrong with VNICs of the software lane, found before anything is changed."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import ip_interface

from ..link_spec import VnicSpec
from .errors import LaneError
from .trunk import Trunk

__all__ = ["LARGEST_MTU", "LARGEST_RATE", "LEAST_RATE", "check"]

#: Bits a second that a limit may be.
LEAST_RATE, LARGEST_RATE = 64_000, 1_000_000_000
#: RFC 791, 3.1, RFC 8200, 5, and what jumbo frames are.
_LEAST_MTU, _LEAST_MTU_IPV6, LARGEST_MTU = 68, 1280, 9000
_LONGEST_NAME, _VLANS = 15, 4095
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def check(wanted: list[VnicSpec], trunks: list[Trunk], containers: Mapping[str, str]) -> None:
    """See whether these VNICs can be made.

    Raises
    ------
    LaneError
        If not.
    """
    for spec in wanted:
        _check_vnic(spec, containers)
    _unique(((spec.name, spec.name) for spec in wanted), "VNICs have the name")
    _unique(((spec.outer, spec.name) for spec in wanted), "have the outer interface")
    _unique((((spec.namespace or containers[spec.router], spec.interface), spec.name) for spec in wanted),
            "have the namespace and interface")
    _unique((((spec.switch, spec.vlan, spec.mac), spec.name) for spec in wanted),
            "have the switch, VLAN and MAC address")
    _unique(((trunk.interface, trunk.switch) for trunk in trunks), "have the trunk")
    _unique((((trunk.switch, trunk.vlan), trunk.interface) for trunk in trunks), "are trunks of the switch and VLAN")
    for trunk in trunks:
        _check_trunk(trunk, wanted)


def _check_vnic(spec: VnicSpec, containers: Mapping[str, str]) -> None:
    def require(good: bool, found: str, advice: str) -> None:
        if not good:
            raise LaneError(f"VNIC {spec.name}: {found}; {advice}")

    require(spec.lane == "sw", f"lane is {spec.lane}", "the software lane takes those with lane 'sw' only")
    require(bool(spec.switch), "it is the end of a virtual wire",
            "virtual wires are in the hardware lane: use lane 'hw'")
    for what, name in (("interface", spec.interface), ("outer interface", spec.outer)):
        require(0 < len(name) <= _LONGEST_NAME and name not in (".", "..") and not re.search(r"[\s/:]", name),
                f"{name!r} can't be the name of its {what}",
                f"use 1 to {_LONGEST_NAME} characters without space, slash and colon")
    require(bool(spec.namespace) or spec.router in containers, f"router {spec.router!r} has no container that runs",
            "start it, or name a namespace")
    for mac in (spec.mac, *spec.policy.macs):
        require(bool(_MAC.fullmatch(mac)) and not int(mac[:2], 16) & 1 and mac != "00:00:00:00:00:00",
                f"{mac!r} is no MAC address of an interface",
                "use six bytes like 02:00:5e:10:00:01, in small letters, the first one even")
    least = _LEAST_MTU
    for address in spec.addresses:
        try:
            if ip_interface(address).version == 6:
                least = _LEAST_MTU_IPV6
        except ValueError as error:
            raise LaneError(f"VNIC {spec.name}: {error}; use an address with its prefix length, like 10.0.0.1/24"
                            ) from None
    require(least <= spec.mtu <= LARGEST_MTU, f"its MTU is {spec.mtu}", f"use {least} to {LARGEST_MTU}")
    require(0 <= spec.vlan < _VLANS, f"its VLAN is {spec.vlan}", f"use 1 to {_VLANS - 1}, or 0 for none")
    for what, rate in (("max_bw", spec.max_bw), ("min_bw", spec.min_bw)):
        require(rate is None or LEAST_RATE <= rate <= LARGEST_RATE, f"{what} is {rate} bit/s",
                f"use {LEAST_RATE} to {LARGEST_RATE}")
    require(spec.min_bw is None or spec.max_bw is None or spec.min_bw <= spec.max_bw,
            f"min_bw is {spec.min_bw} bit/s, above its max_bw of {spec.max_bw}", "lower the one or raise the other")
    require(spec.priority in ("low", "medium", "high"), f"its priority is {spec.priority!r}",
            "use low, medium or high")


def _check_trunk(trunk: Trunk, wanted: list[VnicSpec]) -> None:
    if not LEAST_RATE <= trunk.rate <= LARGEST_RATE:
        raise LaneError(f"trunk {trunk.interface}: its rate is {trunk.rate} bit/s; use {LEAST_RATE} to {LARGEST_RATE}")
    promised = sum(spec.min_bw or 0 for spec in wanted if (spec.switch, spec.vlan) == (trunk.switch, trunk.vlan))
    if promised > trunk.rate:
        raise LaneError(f"switch {trunk.switch}: the min_bw of its VNICs make {promised} bit/s, but its trunk "
                        f"{trunk.interface} carries {trunk.rate} bit/s; lower them")


def _unique(rows: Iterable[tuple[object, str]], what: str) -> None:
    pairs = list(rows)
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            names = ", ".join(name for other, name in pairs if other == key)
            shown = ", ".join(str(part) for part in key) if isinstance(key, tuple) else key
            raise LaneError(f"{names}: {count} {what} {shown}; each needs its own")
