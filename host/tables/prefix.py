"""A prefix of either family."""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import NamedTuple

from .fib_tree import IPV4_BITS, IPV6_BITS

__all__ = ["Prefix", "address_bits", "format_address"]


_LINK_LOCAL_BITS = 10


def address_bits(ipv6: bool) -> int:
    """Bits of an address of a family."""
    return IPV6_BITS if ipv6 else IPV4_BITS


def format_address(address: int, ipv6: bool) -> str:
    """An address for people (IPv6: RFC 5952)."""
    return str(IPv6Address(address) if ipv6 else IPv4Address(address))


class Prefix(NamedTuple):
    """What a route is for. All of IPv4 sorts before all of IPv6."""

    ipv6: bool
    address: int
    length: int

    @classmethod
    def parse(cls, text: str) -> "Prefix":
        """From ``address/length``; without a length, a host."""
        network = ip_network(text)
        return cls(network.version == 6, int(network.network_address), network.prefixlen)

    @classmethod
    def host(cls, address: int, ipv6: bool) -> "Prefix":
        """One address."""
        return cls(ipv6, address, address_bits(ipv6))

    @property
    def bits(self) -> int:
        """Bits of an address of its family."""
        return address_bits(self.ipv6)

    @property
    def is_host(self) -> bool:
        """Whether it is one address."""
        return self.length == self.bits

    @property
    def is_link_local(self) -> bool:
        """Whether it is in fe80::/10 (RFC 4291, 2.5.6)."""
        return self.ipv6 and self.length >= _LINK_LOCAL_BITS and self.address >> IPV6_BITS - _LINK_LOCAL_BITS == 0x3FA

    @property
    def last(self) -> int:
        """The highest address in it."""
        return self.address | (1 << self.bits - self.length) - 1

    def cut(self, length: int) -> "Prefix":
        """The prefix of ``length`` bits that covers it."""
        return Prefix(self.ipv6, self.address >> self.bits - length << self.bits - length, length)

    def covers(self, other: "Prefix") -> bool:
        """Whether all of ``other`` is in it; a prefix covers itself."""
        return (self.ipv6 == other.ipv6 and self.length <= other.length
                and (self.address ^ other.address) >> self.bits - self.length == 0)

    def __str__(self) -> str:
        return f"{format_address(self.address, self.ipv6)}/{self.length}"
