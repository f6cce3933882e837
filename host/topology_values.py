"""Values of a topology file as people write them: rates, times, EtherTypes, protocols."""

import re
from decimal import Decimal
from typing import Any

__all__ = ["ETHERTYPES", "PROTOCOLS", "parse_ethertype", "parse_protocol", "parse_rate", "parse_seconds"]

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:bit/s|bps)?", re.IGNORECASE)
_RATE_UNITS = {"": Decimal(1), "k": Decimal(10**3), "m": Decimal(10**6), "g": Decimal(10**9)}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)")
_TIME_UNITS = {"": Decimal(1), "ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}

#: IEEE registration authority.
ETHERTYPES = {"ipv4": 0x0800, "arp": 0x0806, "ipv6": 0x86DD, "lldp": 0x88CC, "mpls": 0x8847}
#: IANA protocol numbers.
PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmp6": 58, "ospf": 89, "pim": 103,
             "vrrp": 112, "sctp": 132}


def parse_rate(value: Any) -> Any:
    """Bits a second of e.g. ``10000000``, ``"10M"`` or ``"1.5Gbit/s"``; units are powers of 1000.

    Raises
    ------
    ValueError
        If the text is no rate.
    """
    if not isinstance(value, str):
        return value
    return int(_scaled(value, _RATE, _RATE_UNITS,
                       "rate; expected bits a second with an optional unit k, M or G, e.g. 10M"))


def parse_seconds(value: Any) -> Any:
    """Seconds of e.g. ``300``, ``"300s"`` or ``"5m"``.

    Raises
    ------
    ValueError
        If the text is no time.
    """
    if not isinstance(value, str):
        return value
    return float(_scaled(value, _TIME, _TIME_UNITS,
                         "time; expected a number with an optional unit ms, s, m or h, e.g. 300s"))


def _scaled(value: str, pattern: re.Pattern[str], units: dict[str, Decimal], what: str) -> Decimal:
    """A number times its unit."""
    match = pattern.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a {what}")
    return Decimal(match[1]) * units[match[2].lower()]


def parse_ethertype(value: Any) -> Any:
    """Number of an EtherType.

    Raises
    ------
    ValueError
        If it is a name that is not known.
    """
    return _named(value, ETHERTYPES, "EtherType")


def parse_protocol(value: Any) -> Any:
    """Number of an IP protocol.

    Raises
    ------
    ValueError
        If it is a name that is not known.
    """
    return _named(value, PROTOCOLS, "protocol")


def _named(value: Any, names: dict[str, int], what: str) -> Any:
    if not isinstance(value, str):
        return value
    known = names.get(value.lower())
    if known is None:
        try:
            return int(value, 0)
        except ValueError:
            raise ValueError(f"{value!r} is no {what}; expected a number or one of {', '.join(names)}") from None
    return known
