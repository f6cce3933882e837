"""What the models can't say of a router's mode, filter, rates and buffer."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Network

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import FILTER_KEY, SHAPER_ROW
from polyrouter.hdl.queues import least_quantum

from .link_rows import Rows
from .tables.rates import RateError, Rates
from .tables.shares import frame_cells
from .tables.windows import LEAST_MAC_ROWS, most_filter_rules
from .topology import Changes, FilterEntry, Router, Send, interface_port, rates_of
from .topology_document import Location
from .topology_links import Vnic
from .topology_multicast import check_multicast
from .topology_values import ETHERTYPES, PROTOCOLS

__all__ = ["Found", "check_node", "check_router"]

#: Where, what was found, what was expected.
Found = tuple[Location, str, str]

_TABLES = ("fib_words", "adjacencies", "filter_rules", "policers", "mac_rows")
_WITH_PORTS = ("tcp", "udp", "sctp", "icmp", "icmp6")
_IPV6_BITS = FILTER_KEY["ip_source"].width
_QUANTUM_BITS = SHAPER_ROW["quantum"].width


def check_node(config: CoreConfig, routers: Sequence[tuple[Location, Router]], links: Sequence[Rows] = ()
               ) -> list[Found]:
    """What routers together ask of a node. Locations are relative to it, or those that were given.

    Parameters
    ----------
    config : CoreConfig
        Of the node.
    routers : sequence of (Location, Router)
        All of the node.
    links : sequence of Rows
        Rows that its virtual switches and VNICs take.
    """
    found: list[Found] = []
    for what in _TABLES:
        total = getattr(config, what)
        wanted = sum(router.share(config)[what] for _, router in routers) + sum(getattr(rows, what) for rows in links)
        if wanted > total:
            who = "routers" if not links else "routers, virtual switches and VNICs"
            found.append(((), f"{wanted} {what} asked for by the node's {who}",
                          f"at most {total}, or core.{what} to be larger"))
    reserved = sum(router.quota(config)[0] for _, router in routers)
    most = config.cells - frame_cells(config)
    if reserved > most:
        found.append(((), f"{reserved * config.cell_bytes} bytes of the frame buffer reserved by the node's routers",
                      f"at most {most * config.cell_bytes}, or core.buffer_bytes to be larger"))
    owners: dict[tuple[int, int], Location] = {}
    for where, router in routers:
        if not router.owns_segments:
            continue
        for eth, interface in router.physical.items():
            place = interface_port(eth), interface.vlan or 0
            if place in owners:
                vlan = f"VLAN {place[1]}" if place[1] else "untagged frames"
                other = ".".join(map(str, owners[place][2:]))
                found.append(((*where, "interfaces", eth), f"{vlan} of port p{place[0]}, which {other} bridges or "
                              "switches already", "a port and VLAN that no other such router of the node has"))
            owners.setdefault(place, where)
    return found


def check_router(router: Router, config: CoreConfig, limits: Sequence[int | None] = ()) -> list[Found]:
    """What is wrong with one router on a node; locations are relative to it.

    Parameters
    ----------
    router : Router
        As written.
    config : CoreConfig
        Of its node.
    limits : sequence of int or None
        ``max-bw`` of each of its VNICs.
    """
    return [*_mode(router, config), *_multicast(router, config), *_filters(router, config, limits),
            *_rates(router, config), *_buffer(router, config)]


def _mode(router: Router, config: CoreConfig) -> list[Found]:
    found: list[Found] = []
    for eth, interface in router.interfaces.items():
        if isinstance(interface.vnic, Vnic):
            continue        # that is written, and looked at, elsewhere
        if not router.owns_segments and interface.address is None:
            found.append((("interfaces", eth), "no key 'address'", "it to be there"))
        elif router.owns_segments and interface.address is not None:
            found.append((("interfaces", eth, "address"), f"an address of a {router.mode} router", "no address"))
    for key in ("ospf", "bgp", "static", "multicast", "pim"):
        value = getattr(router, key)
        if router.owns_segments and value is not None and (value or key == "multicast"):    # true is an empty list
            found.append(((key,), f"{key} in a {router.mode} router", "mode: routed"))
    rows = router.share(config)["mac_rows"]
    if router.mode == "bridged" and (rows < LEAST_MAC_ROWS or rows & rows - 1):
        found.append((("mac_rows",) if router.mac_rows else (), f"{rows} mac_rows",
                      f"a power of two, at least {LEAST_MAC_ROWS}" + (
                          "" if router.mac_rows else ", or core.mac_rows of the node to be larger")))
    if router.mode != "bridged" and router.mac_rows is not None:
        found.append((("mac_rows",), f"mac_rows in a {router.mode} router", "mode: bridged"))
    return found


def _multicast(router: Router, config: CoreConfig) -> Iterable[Found]:
    if router.owns_segments or not router.forwards_groups:
        return []
    share = router.share(config)
    interfaces = {name: interface.addresses for name, interface in router.interfaces.items()}
    return check_multicast(router.multicast or [], router.pim, interfaces, share["fib_words"], share["adjacencies"])


def _filters(router: Router, config: CoreConfig, limits: Sequence[int | None]) -> list[Found]:
    found: list[Found] = []
    room = router.share(config)
    most = most_filter_rules(config)
    limited = sum(limit is not None for limit in limits)     # each of these takes a rule that polices
    rules = f"{len(router.filters)} rules" + (f" and {limited} VNICs with max-bw" if limited else "")
    allowed = (f"at most {most}, which line rate on {config.ports} ports allows with core.filter_banks "
               f"{config.filter_banks}, or that to be more")
    if room["filter_rules"] > most:
        found.append((("filter_rules",), f"{room['filter_rules']} filter_rules", allowed))
    elif len(router.filters) + limited > most:
        found.append((("filters",), f"{rules}", allowed))
    elif len(router.filters) + limited > room["filter_rules"]:
        found.append((("filters",), f"{rules}",
                      f"at most {room['filter_rules']}, or filter_rules of the router to be larger"))
    policed = sum(entry.police is not None for entry in router.filters) + limited
    wanted = policed + 1 if policed or router.rate is not None else 0
    if wanted > room["policers"]:
        each = "each rule that polices" if not limited else "each rule that polices and each VNIC with max-bw"
        found.append((("filters",) if policed > limited else ("interfaces",) if policed else ("rate",),
                      f"{wanted} policers (the router's own, and one for {each})",
                      f"at most {room['policers']}, or policers of the router to be larger"))
    for index, entry in enumerate(router.filters):
        found += [(("filters", index, *where), what, expected) for where, what, expected in _rule(entry, router)]
    return found


def _rule(entry: FilterEntry, router: Router) -> list[Found]:
    found: list[Found] = []
    match, changes = entry.match, entry.changes
    interfaces = f"one of the router's interfaces {', '.join(router.interfaces)}"
    if match.port in router.virtual and match.vlan is not None:
        found.append((("match", "vlan"), f"a vlan of {match.port}, which is a VNIC", "no vlan"))
    if match.port is not None and match.port not in router.interfaces:
        found.append((("match", "port"), repr(match.port), interfaces))
    if isinstance(entry.action, Send):
        found += [(("action", "send", index), repr(name), interfaces) for index, name in enumerate(entry.action.send)
                  if name not in router.interfaces]
        found += [(("action", "send", index), repr(name), "an interface on a physical port")
                  for index, name in enumerate(entry.action.send) if name in router.virtual]
    versions = set()
    for key in ("src", "dst"):
        network = getattr(match, key)
        if network is not None:
            versions.add(network.version)
            if isinstance(network, IPv6Network) and network.prefixlen > _IPV6_BITS:
                found.append((("match", key), str(network), f"at most /{_IPV6_BITS} of IPv6"))
    if len(versions) > 1:
        found.append((("match", "dst"), str(match.dst), f"a prefix of IPv{4 if match.src.version == 4 else 6}, as src"
                      if match.src is not None else "one family"))
    elif versions and match.ethertype not in (None, ETHERTYPES[f"ipv{next(iter(versions))}"]):
        found.append((("match", "ethertype"), f"{match.ethertype:#06x}",
                      f"ipv{next(iter(versions))}, which src and dst are of"))
    if match.vlan == "untagged" and match.pcp is not None:
        found.append((("match", "pcp"), str(match.pcp), "no pcp, since untagged frames have none"))
    known = {PROTOCOLS[name] for name in _WITH_PORTS if name != "sctp"}
    if (match.src_port is not None or match.dst_port is not None) and match.protocol not in known:
        key = "src-port" if match.src_port is not None else "dst-port"
        found.append((("match", key), f"{key} without a protocol that has it",
                      "protocol to be tcp, udp, icmp or icmp6"))
    if entry.action in ("drop", "punt"):
        if changes != Changes.model_validate({}):
            found.append((("set",), f"changes in a rule with action {entry.action}", "action: permit or send"))
        if entry.traffic_class is not None:
            found.append((("class",), f"a class in a rule with action {entry.action}", "action: permit or send"))
    if entry.action == "drop" and entry.police is not None:
        found.append((("police",), "a rate in a rule with action drop", "action: permit, punt or send"))
    if changes.vlan == "untagged" and changes.pcp is not None:
        found.append((("set", "pcp"), str(changes.pcp), "no pcp, since untagged frames have none"))
    return found


def _rates(router: Router, config: CoreConfig) -> list[Found]:
    found: list[Found] = []
    rates = rates_of(config)

    def attempt(where: Location, shaper: bool, rate: int | None, burst: int | None) -> None:
        if rate is None:
            if burst is not None:
                found.append((where[:-1], "a burst without a rate", f"a key '{where[-1]}'"))
            return
        try:
            (Rates.shaper if shaper else Rates.policer)(rates, rate, burst)
        except RateError as error:
            found.append((where, error.found, error.expected))

    if router.rate is not None:
        attempt(("rate", "in"), False, router.rate.inbound, router.rate.burst)
    attempt(("punt-rate",), True, router.punt_bits(config), None)
    for index, entry in enumerate(router.filters):
        if entry.police is not None:
            attempt(("filters", index, "police"), False, entry.police.rate, entry.police.burst)
    most = ((1 << _QUANTUM_BITS) - 1) // least_quantum(config)
    for eth, interface in router.interfaces.items():
        attempt(("interfaces", eth, "rate", "out"), True, interface.rate.out, interface.rate.burst)
        if interface.rate.weight > most:
            found.append((("interfaces", eth, "rate", "weight"), str(interface.rate.weight), f"at most {most}"))
    return found


def _buffer(router: Router, config: CoreConfig) -> list[Found]:
    found: list[Found] = []
    reserved, limit = router.quota(config)
    least = max(reserved, frame_cells(config))
    if limit is not None and not least <= limit <= config.cells:
        found.append((("buffer", "limit"), f"{router.buffer.limit} bytes",
                      f"{least * config.cell_bytes} to {config.cells * config.cell_bytes} bytes, what is reserved and "
                      "the longest frame at least"))
    return found
