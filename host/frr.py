"""FRR configuration of a virtual router, from its entry in the topology file."""

import re
from ipaddress import IPv4Address, IPv4Interface

from .tables.groups import COVERS
from .topology import Bgp, Ospf, Router

__all__ = ["GRACE_SECONDS", "daemons", "render"]

#: Seconds that neighbours wait for a router whose routing stack is started anew (RFC 3623, 5187, 4724).
GRACE_SECONDS = 120

#: First words of commands, by version of IP; OSPFv2 and OSPFv3 (RFC 5340).
_FAMILY = {4: "ip", 6: "ipv6"}
#: Multicast routing, and which groups hosts want.
_PIM = {4: ("ip pim", "ip igmp"), 6: ("ipv6 pim", "ipv6 mld")}
_OSPF = {4: "ip ospf", 6: "ipv6 ospf6"}

#: First words of configuration that a daemon owns.
_DAEMONS = {
    "ospfd": r"^\s*(router ospf|ip ospf)\b",
    "ospf6d": r"^\s*(router ospf6|ipv6 ospf6)\b",
    "bgpd": r"^\s*router bgp\b",
    "isisd": r"^\s*(router isis|ip router isis)\b",
    "ripd": r"^\s*(router rip|ip rip)\b",
    "pimd": r"^\s*(router pim|ip pim|ip igmp)\b",
    "pim6d": r"^\s*(router pim6|ipv6 pim|ipv6 mld)\b",
    "bfdd": r"^\s*bfd\b|\bbfd\s*$",
}


def render(hostname: str, router: Router) -> str:
    """The whole configuration, in ``vtysh``'s language."""
    blocks = [["frr version 10.0", "frr defaults traditional", f"hostname {hostname}",
               "service integrated-vtysh-config"]]
    # A bridge has no addresses, and no protocol that needs one.
    addresses = [address for interface in router.interfaces.values() for address in interface.addresses]
    router_id = next((address.ip for address in addresses if isinstance(address, IPv4Interface)), IPv4Address(0))
    versions = sorted({address.version for address in addresses})
    for name, interface in router.interfaces.items():
        lines = [f"interface {name}"]
        lines += [f" {_FAMILY[address.version]} address {address}" for address in interface.addresses]
        if router.ospf is not None:
            for version in versions:
                lines += _ospf_interface(router.ospf, _OSPF[version], name, list(router.interfaces))
        if router.pim is not None:
            for version in sorted({address.version for address in interface.addresses}):
                lines += [f" {command}" for command in _PIM[version]]
                lines.append(f" {_FAMILY[version]} pim hello {router.pim.hello}")
        blocks.append([*lines, "exit"])
    if router.static:
        blocks.append([f"{_FAMILY[route.prefix.version]} route {route.prefix} "
                       f"{route.via if route.via != 'blackhole' else 'Null0'}" for route in router.static])
    if router.ospf is not None:
        chosen = router.ospf.router_id or router_id
        for version in versions:
            daemon = _OSPF[version].split()[1]
            # Neighbours are told by an opaque LSA; OSPFv3 has one of its own.
            restart = [" capability opaque"] if version == 4 else []
            restart += [f" graceful-restart grace-period {GRACE_SECONDS}", " graceful-restart helper enable"]
            blocks.append([f"router {daemon}", f" {daemon} router-id {chosen}",
                           *(restart if router.ospf.graceful_restart else []), "exit"])
    for rp in [] if router.pim is None else router.pim.rp:
        # Of IPv6, pim6d takes this for all that is not source-specific.
        blocks.append([f"router pim{'6' if rp.version == 6 else ''}", f" rp {rp} {COVERS[rp.version == 6]}", "exit"])
    if router.bgp is not None:
        blocks.append(_bgp(router.bgp, router_id))
    text = "\n!\n".join("\n".join(block) for block in blocks) + "\n!\n"
    return text + (router.frr.rstrip("\n") + "\n" if router.frr.strip() else "")


def daemons(config: str) -> list[str]:
    """Daemons that a configuration needs."""
    extra = [name for name, pattern in _DAEMONS.items() if re.search(pattern, config, re.MULTILINE)]
    return ["zebra", "staticd", *extra]


def _ospf_interface(ospf: Ospf, prefix: str, name: str, all_names: list[str]) -> list[str]:
    active = ospf.interfaces or [other for other in all_names if other not in ospf.passive]
    if name in ospf.passive:
        return [f" {prefix} area {ospf.area}", f" {prefix} passive"]
    if name not in active:
        return []
    return [f" {prefix} area {ospf.area}", f" {prefix} network {ospf.network}",
            f" {prefix} hello-interval {ospf.hello}", f" {prefix} dead-interval {ospf.dead}"]


def _bgp(bgp: Bgp, router_id: IPv4Address) -> list[str]:
    # RFC 8212's default (no route passes an external session without a policy) would need a policy in each file.
    lines = [f"router bgp {bgp.asn}", f" bgp router-id {bgp.router_id or router_id}", " no bgp ebgp-requires-policy",
             f" timers bgp {bgp.keepalive} {bgp.hold}"]
    for neighbor in bgp.neighbors:
        lines += [f" neighbor {neighbor.address} remote-as {neighbor.asn}",
                  f" neighbor {neighbor.address} timers connect 2"]
    if bgp.graceful_restart:
        lines += [" bgp graceful-restart", " bgp graceful-restart preserve-fw-state",
                  f" bgp graceful-restart restart-time {GRACE_SECONDS}"]
    lines += [" address-family ipv4 unicast", *(f"  network {prefix}" for prefix in bgp.networks),
              " exit-address-family", "exit"]
    return lines
