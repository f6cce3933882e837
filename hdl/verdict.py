"""Decides what becomes of a frame."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .headers import VXLAN_PORT, Protocol
from .layouts import (
    ADJACENCY_MULTICAST,
    ADJACENCY_ROW,
    AdjacencyKind,
    FilterAction,
    Reason,
    RouterMode,
    TrafficClass,
)
from .ports import existing, includes, only
from .records import META, VERDICT, FibOutcome
from .slice import RegisterSlice

__all__ = ["Decide"]

_PORTS = VERDICT["copies"].width

_TESTS = data.StructLayout({
    "egress_ok": 1,         # injected: egress port is one of the router's
    "on_port": 1,           # the router is there, and ingress port is one of its
    "stranger": 1,          # guarded port, and the source is not a peer of this router
    "goes_on": 1,           # group: for this router alone, not for all that ask
    "routed": 1,
    "bridged": 1,
    "not_ip": 1,
    "ttl_ends": 1,
    "fault": 1,             # of the walk or the adjacency's row
    "misfit": 1,            # an adjacency of a kind that a unicast packet can't have
    "no_route": 1,
    "adj_port_ok": 1,
    "rpf_ok": 1,
    "adj_host": 1,
    "to_link": 1,           # IPv6: the destination is link-local, and so this router's own
    "from_link": 1,         # IPv6: the source is link-local, such a packet is never forwarded (RFC 4291, 2.5.6)
    "too_long": 1,
    "learn": 1,
    "mac_known": 1,         # bridged: the destination is behind a port of the router
    "mac_back": 1,          # and that is the ingress port
    # sets of ports
    "egress": _PORTS,
    "rule_ports": _PORTS,
    "others": _PORTS,       # all of the router's, but the ingress port
    "unicast": _PORTS,
    "multicast": _PORTS,
    "mac": _PORTS,
    # link port
    "alone": 1,             # group frame: its router alone asks for it
    "at_link": 1,           # group frame at the link port
    "tunnel_ends": 1,       # its packet, if it is for this router
    # policers
    "router_policer_ok": 1,
    "rule_policer_ok": 1,
    "router_policer": VERDICT["router_policer"].width,
    "rule_policer": VERDICT["rule_policer"].width,
    "checksum": 17,
})

_CHOICE = data.StructLayout({
    name: VERDICT[name].shape for name in ("copies", "reason", "host", "host_reason", "host_class")})

#: fe80::/10, RFC 4291, section 2.4.
_LINK_LOCAL = 0xFE80 >> 6
#: Of a MAC address: IEEE 802.3, clause 3.2.3.
_GROUP_BIT = 40


class Decide(wiring.Component):
    """Turns a frame's record, with all that was looked up, into a verdict.

    The first condition that holds, in the order of ``docs/dataplane.md``, is the frame's one reason. What depends on
    the frame's length, on policers and on buffers is decided later. Takes a record every other cycle; latency 2 cycles.

    The new checksum follows RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). For m = TTL, protocol and m' the same with
    the TTL one lower, ~m + m' is 0xFEFF whatever they are.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of META
    o : stream of VERDICT
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(META)), "o": Out(stream.Signature(VERDICT))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.tested = tested = RegisterSlice(
            data.StructLayout({"meta": META, "tests": _TESTS}), self.config.slices)
        # Look-ups are further apart than two cycles; how full the stores behind are need not be known ahead of here.
        m.submodules.decided = decided = RegisterSlice(VERDICT, self.config.slices, cuts_ready=True)
        connect(m, decided.o, flipped(self.o))

        m.d.comb += [
            tested.i.valid.eq(self.i.valid),
            self.i.ready.eq(tested.i.ready),
            tested.i.payload.meta.eq(self.i.payload),
            decided.i.valid.eq(tested.o.valid),
            tested.o.ready.eq(decided.i.ready),
        ]
        self._test(m, self.i.payload, tested.i.payload.tests)
        self._decide(m, tested.o.payload.meta, tested.o.payload.tests, decided.i.payload)
        return m

    def _test(self, m: Module, meta, tests) -> None:
        """First cycle: what each condition needs, by itself."""
        config = self.config
        multicast = data.View(ADJACENCY_MULTICAST, Cat(meta[f"adj_{name}"] for name, _ in ADJACENCY_ROW))
        assert ADJACENCY_ROW.size == ADJACENCY_MULTICAST.size
        is_stranger = meta.guarded & (~meta.peer | (meta.peer_router != meta.router))
        on_port = meta.enable & includes(config, meta.ports, meta.port)
        mine = existing(config, meta.ports)
        ingress = only(config, meta.port)
        at_link = meta.port == config.link_port if config.circuits else Const(0)
        vid = meta.tci[:12]
        # Copies may go back to the link port: the link engine keeps them off the circuit that they came by.
        others = mine & Mux(at_link, mine, ~ingress)
        policer_end = meta.policer_base + meta.rule_policer
        if config.circuits:
            # The end of a tunnel; whether there is one is found out behind the link port.
            m.d.comb += tests.tunnel_ends.eq(
                meta.tunnels & includes(config, meta.ports, Const(config.link_port, len(meta.port)))
                & meta.ipv4 & ~meta.options & meta.checksum_ok
                & ((meta.protocol == Protocol.GRE) | (meta.l4_ports & (meta.protocol == Protocol.UDP)
                                                      & (meta.l4_destination == VXLAN_PORT))))
        m.d.comb += [
            tests.checksum.eq(~meta.checksum + 0xFEFF),
            tests.egress_ok.eq(includes(config, meta.ports, meta.egress)),
            tests.on_port.eq(on_port),
            tests.stranger.eq(is_stranger),
            tests.routed.eq(meta.mode == RouterMode.ROUTED),
            tests.bridged.eq(meta.mode == RouterMode.BRIDGED),
            tests.goes_on.eq(on_port & ~is_stranger & (
                (meta.mode != RouterMode.ROUTED) | (meta.takes_multicast & meta.multicast))),
            tests.not_ip.eq(~(meta.ipv4 | meta.ipv6)),
            tests.ttl_ends.eq(meta.ttl <= 1),
            tests.no_route.eq(meta.fib == FibOutcome.MISS),
            tests.fault.eq((meta.fib == FibOutcome.FAULT) | meta.adj_fault),
            tests.misfit.eq((meta.fib != FibOutcome.MISS) & (
                (meta.adj_kind == AdjacencyKind.INVALID) | (meta.adj_kind == AdjacencyKind.ECMP)
                | (meta.adj_kind == AdjacencyKind.MULTICAST))),
            tests.adj_port_ok.eq(includes(config, meta.ports, meta.adj_port)),
            tests.rpf_ok.eq((multicast.port == meta.port) & (~at_link | (multicast.vid == vid))),
            tests.adj_host.eq(multicast.host),
            tests.to_link.eq(meta.ipv6 & (meta.ip_destination[-10:] == _LINK_LOCAL)),
            tests.from_link.eq(meta.ipv6 & (meta.ip_source[-10:] == _LINK_LOCAL)),
            tests.too_long.eq(meta.total_length > meta.adj_mtu),
            tests.learn.eq((meta.mode == RouterMode.BRIDGED) & meta.learn & ~meta.smac[_GROUP_BIT]
                           & (meta.action != FilterAction.DROP)),
            tests.mac_known.eq(~meta.group & meta.mac_hit & includes(config, meta.ports, meta.mac_port)),
            tests.mac_back.eq((meta.mac_port == meta.port) & (~at_link | (meta.mac_vid == vid))),
            tests.egress.eq(only(config, meta.egress)),
            tests.rule_ports.eq(meta.rule_ports & mine),
            tests.others.eq(others),
            tests.unicast.eq(only(config, meta.adj_port)),
            tests.multicast.eq(multicast.ports & others),
            tests.mac.eq(only(config, meta.mac_port)),
            tests.at_link.eq(at_link),
            tests.alone.eq(on_port & ~is_stranger & (meta.mode == RouterMode.ROUTED) & meta.asks),
            tests.router_policer.eq(meta.policer_base),
            tests.router_policer_ok.eq((meta.policer_size != 0) & (meta.policer_base < config.policers)),
            tests.rule_policer.eq(policer_end),
            tests.rule_policer_ok.eq(meta.police & (meta.rule_policer < meta.policer_size)
                                     & (policer_end < config.policers)),
        ]

    def _decide(self, m: Module, meta, tests, verdict) -> None:
        """Second cycle: the first condition that holds."""
        config = self.config
        kind = meta.adj_kind
        link = Const(1 << (config.link_port or 0), _PORTS)
        choice = Signal(_CHOICE)        # what becomes of the frame, a mirror apart
        mirror = Signal()
        mirrored = Signal()
        m.d.comb += [
            mirrored.eq(mirror & ~choice.host),
            *(verdict[name].eq(choice[name]) for name in ("copies", "reason")),
            verdict.host.eq(choice.host | mirrored),
            verdict.host_reason.eq(Mux(choice.host, choice.host_reason, Reason.PUNT_MIRROR)),
            verdict.count_drop.eq(mirrored & (choice.copies == 0)),
            verdict.host_class.eq(choice.host_class),
            verdict.router.eq(meta.router),
            verdict.port.eq(meta.port),
            verdict.peer.eq(meta.peer),
            verdict.peer_router.eq(meta.peer_router),
            verdict.segment.eq(meta.segment),
            verdict.segment_router.eq(meta.segment_router),
            verdict.tagged.eq(meta.tagged),
            verdict.tci.eq(meta.tci),
            verdict.dmac.eq(meta.adj_mac),
            verdict.ipv4.eq(meta.ipv4 & meta.good_header),
            verdict.ipv6.eq(meta.ipv6),
            verdict.ttl.eq(meta.ttl - 1),
            verdict.checksum.eq(~(tests.checksum[:16] + tests.checksum[16])),
            verdict.l4_ports.eq(meta.l4_ports),
            verdict.udp.eq(meta.protocol == Protocol.UDP),
            verdict.total_length.eq(meta.total_length),
            verdict.smac.eq(meta.smac),
            verdict.mac_base.eq(meta.mac_base),
            verdict.mac_size.eq(meta.mac_size),
            verdict.entropy.eq(meta.flow_hash),
            verdict.rule.eq(meta.rule),
            verdict.router_policer.eq(tests.router_policer),
            verdict.rule_policer.eq(tests.rule_policer),
        ]

        def drop(reason: Reason):
            return [choice.reason.eq(reason)]

        def punt(reason: Reason, traffic_class: TrafficClass = TrafficClass.NORMAL):
            return [choice.host.eq(1), choice.host_reason.eq(reason), choice.host_class.eq(traffic_class)]

        def punt_control(reason: Reason):
            return punt(reason, TrafficClass.CONTROL)

        def send(reason: Reason, ports):
            return [choice.copies.eq(ports), choice.reason.eq(Mux(ports.any(), reason, Reason.DROP_NO_PORT))]

        def forward(ports):
            # Without any port, a copy to the host is that of the unchanged frame.
            return [*send(Reason.FORWARDED, ports), verdict.own_source.eq(ports.any() & ~meta.rule_smac),
                    verdict.set_ttl.eq(ports.any()), verdict.keep_tag.eq(meta.rule_tag)]

        with m.If(meta.injected & ~(meta.enable & tests.egress_ok)):
            m.d.comb += drop(Reason.DROP_INJECT)
        with m.Elif(meta.injected):
            m.d.comb += [
                *send(Reason.INJECTED, tests.egress),
                verdict.traffic_class.eq(TrafficClass.CONTROL),
                verdict.keep_tag.eq(meta.tagged),
                mirror.eq(meta.mirror),
            ]
        with m.Elif(meta.group & ~tests.goes_on & tests.at_link):
            with m.If(tests.alone):
                m.d.comb += punt_control(Reason.PUNT_GROUP)
            with m.Elif(tests.on_port & tests.stranger):
                m.d.comb += drop(Reason.DROP_SOURCE)
            with m.Else():
                m.d.comb += [*drop(Reason.DROP_NO_ROUTER), verdict.router.eq(config.no_router)]
        with m.Elif(meta.group & ~tests.goes_on):
            m.d.comb += [verdict.group.eq(1), verdict.router.eq(config.no_router)]
        with m.Elif(~meta.group & ~(meta.own | meta.segment)):
            m.d.comb += [*drop(Reason.DROP_NO_ROUTER), verdict.router.eq(config.no_router)]
        with m.Elif(~tests.on_port):
            m.d.comb += drop(Reason.DROP_DISABLED)
        with m.Elif(tests.routed & ~meta.group & ~meta.own):
            m.d.comb += [*drop(Reason.DROP_NO_ROUTER), verdict.router.eq(config.no_router)]
        with m.Elif(tests.stranger):
            m.d.comb += drop(Reason.DROP_SOURCE)
        with m.Else():
            m.d.comb += [
                mirror.eq((meta.mirror | meta.rule_mirror) & (choice.reason != Reason.DROP_MALFORMED)),
                verdict.rule_hit.eq(meta.rule_hit),
                verdict.rule_changes.eq(meta.rule_changes & (choice.copies != 0)),
                verdict.traffic_class.eq(meta.set_class & meta.traffic_class),
                verdict.learn.eq(tests.learn),
                verdict.police_router.eq(tests.router_policer_ok),
                verdict.police_rule.eq(tests.rule_policer_ok),
            ]
            with m.If(meta.action == FilterAction.DROP):
                m.d.comb += drop(Reason.DROP_FILTER)
            with m.Elif(meta.action == FilterAction.PUNT):
                m.d.comb += punt(Reason.PUNT_FILTER)
            with m.Elif(meta.action == FilterAction.SEND):
                m.d.comb += [*send(Reason.SWITCHED, tests.rule_ports), verdict.keep_tag.eq(1)]
            with m.Elif(tests.routed):
                m.d.comb += verdict.least_length.eq(meta.least_length)
                with m.If(tests.not_ip):
                    m.d.comb += punt(Reason.PUNT_NOT_IP)
                with m.Elif(~meta.good_header):
                    m.d.comb += drop(Reason.DROP_MALFORMED)
                with m.Elif(~meta.group & tests.tunnel_ends & (kind == AdjacencyKind.LOCAL)):
                    m.d.comb += [*send(Reason.FORWARDED, link), verdict.untag.eq(1)]
                with m.Elif(~meta.group & (tests.to_link | (kind == AdjacencyKind.LOCAL))):
                    m.d.comb += punt_control(Reason.PUNT_LOCAL)
                with m.Elif(meta.options):
                    m.d.comb += punt(Reason.PUNT_OPTIONS)
                with m.Elif(tests.ttl_ends):
                    m.d.comb += punt(Reason.PUNT_TTL)
                with m.Elif(~meta.checksum_ok):
                    m.d.comb += drop(Reason.DROP_CHECKSUM)
                with m.Elif(tests.fault):
                    m.d.comb += drop(Reason.DROP_FAULT)
                with m.Elif(meta.group):
                    with m.If(tests.from_link):
                        m.d.comb += drop(Reason.DROP_FAULT)
                    with m.Elif(tests.no_route | (kind == AdjacencyKind.LOCAL) | (kind == AdjacencyKind.UNREACHABLE)):
                        m.d.comb += punt_control(Reason.PUNT_GROUP)
                    with m.Elif(kind == AdjacencyKind.BLACKHOLE):
                        m.d.comb += drop(Reason.DROP_BLACKHOLE)
                    with m.Elif(kind != AdjacencyKind.MULTICAST):
                        m.d.comb += drop(Reason.DROP_FAULT)
                    with m.Elif(~tests.rpf_ok):
                        m.d.comb += drop(Reason.DROP_RPF)
                    with m.Elif(tests.too_long):
                        m.d.comb += punt(Reason.PUNT_MTU)
                    with m.Else():
                        m.d.comb += forward(tests.multicast)
                        with m.If(tests.adj_host):
                            m.d.comb += punt(Reason.PUNT_GROUP)
                with m.Elif(tests.misfit):
                    m.d.comb += drop(Reason.DROP_FAULT)
                with m.Elif(tests.from_link | tests.no_route | (kind == AdjacencyKind.UNREACHABLE)):
                    m.d.comb += punt(Reason.PUNT_NO_ROUTE)
                with m.Elif(kind == AdjacencyKind.BLACKHOLE):
                    m.d.comb += drop(Reason.DROP_BLACKHOLE)
                with m.Elif(kind == AdjacencyKind.UNRESOLVED):
                    m.d.comb += punt(Reason.PUNT_UNRESOLVED)
                with m.Elif(~tests.adj_port_ok):
                    m.d.comb += drop(Reason.DROP_FAULT)
                with m.Elif(tests.too_long):
                    m.d.comb += punt(Reason.PUNT_MTU)
                with m.Else():
                    m.d.comb += [*forward(tests.unicast), verdict.set_dmac.eq(1), verdict.vid.eq(meta.adj_vid)]
            with m.Elif(~tests.bridged):
                m.d.comb += drop(Reason.DROP_FILTER)
            with m.Elif(meta.own):
                m.d.comb += punt_control(Reason.PUNT_LOCAL)
            with m.Elif(meta.reserved_group):
                m.d.comb += punt_control(Reason.PUNT_GROUP)
            with m.Elif(tests.mac_known & tests.mac_back):
                m.d.comb += drop(Reason.DROP_NO_PORT)
            with m.Else():
                m.d.comb += [
                    verdict.keep_tag.eq(meta.rule_tag),
                    *send(Reason.BRIDGED, Mux(tests.mac_known, tests.mac, tests.others)),
                ]
                with m.If(tests.mac_known):
                    m.d.comb += verdict.vid.eq(meta.mac_vid)
                with m.If(meta.group & meta.asks):
                    m.d.comb += punt(Reason.PUNT_GROUP)
