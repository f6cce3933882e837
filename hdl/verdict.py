"""Decides what becomes of a frame."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .layouts import AdjacencyKind, Reason
from .ports import includes
from .records import META, VERDICT, FibOutcome
from .slice import RegisterSlice

__all__ = ["Decide"]

_TESTS = data.StructLayout({
    "egress_ok": 1,         # injected: egress port is one of the router's
    "on_port": 1,           # ingress port is one of the router's
    "stranger": 1,          # guarded port, and the source is not a peer of this router
    "ttl_ends": 1,
    "hit": 1,               # ``kind`` is valid
    "fault": 1,
    "no_route": 1,
    "adj_port_ok": 1,
    "to_link": 1,           # IPv6: the destination is link-local, and so this router's own
    "from_link": 1,         # IPv6: the source is link-local, such a packet is never forwarded (RFC 4291, 2.5.6)
    "too_long": 1,
})

#: fe80::/10, RFC 4291, section 2.4.
_LINK_LOCAL = 0xFE80 >> 6


class Decide(wiring.Component):
    """Turns a frame's record, with all that was looked up, into a verdict.

    The first condition that holds, in the order of ``docs/dataplane.md``, is the frame's one reason. Takes a record
    each cycle; latency 2 cycles.

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
        config = self.config
        m.submodules.tested = tested = RegisterSlice(
            data.StructLayout({"meta": META, "tests": _TESTS, "checksum": 17}))
        m.submodules.decided = decided = RegisterSlice(VERDICT)
        connect(m, decided.o, flipped(self.o))

        # First cycle: what each condition needs, by itself.
        meta = self.i.payload
        tests = tested.i.payload.tests
        m.d.comb += [
            tested.i.valid.eq(self.i.valid),
            self.i.ready.eq(tested.i.ready),
            tested.i.payload.meta.eq(meta),
            tested.i.payload.checksum.eq(~meta.checksum + 0xFEFF),
            tests.egress_ok.eq(includes(config, meta.ports, meta.egress)),
            tests.on_port.eq(includes(config, meta.ports, meta.port)),
            tests.stranger.eq(meta.guarded & (~meta.peer | (meta.peer_router != meta.router))),
            tests.ttl_ends.eq(meta.ttl <= 1),
            tests.hit.eq((meta.fib == FibOutcome.HIT) & ~meta.adj_fault),
            tests.no_route.eq(meta.fib == FibOutcome.MISS),
            tests.fault.eq(~tests.no_route & (~tests.hit | (meta.adj_kind == AdjacencyKind.INVALID)
                                              | (meta.adj_kind > max(AdjacencyKind)))),
            tests.adj_port_ok.eq(includes(config, meta.ports, meta.adj_port)),
            tests.to_link.eq(meta.ipv6 & (meta.ip_destination[-10:] == _LINK_LOCAL)),
            tests.from_link.eq(meta.ipv6 & (meta.ip_source[-10:] == _LINK_LOCAL)),
            tests.too_long.eq(meta.total_length > meta.adj_mtu),
        ]

        # Second cycle: the first condition that holds.
        meta = tested.o.payload.meta
        tests = tested.o.payload.tests
        checksum = tested.o.payload.checksum
        verdict = decided.i.payload
        kind = meta.adj_kind
        m.d.comb += [
            decided.i.valid.eq(tested.o.valid),
            tested.o.ready.eq(decided.i.ready),
            verdict.router.eq(meta.router),
            verdict.port.eq(meta.port),
            verdict.egress.eq(config.host_port),
            verdict.peer.eq(meta.peer),
            verdict.peer_router.eq(meta.peer_router),
            verdict.dmac.eq(meta.adj_mac),
            verdict.smac.eq(meta.own_mac),
            verdict.ipv6.eq(meta.ipv6),
            verdict.ttl.eq(meta.ttl - 1),
            verdict.checksum.eq(~(checksum[:16] + checksum[16])),
        ]

        def punt(reason: Reason):
            return [verdict.reason.eq(reason), verdict.send.eq(1)]

        def drop(reason: Reason):
            return [verdict.reason.eq(reason)]

        with m.If(meta.injected & ~(meta.enable & tests.egress_ok)):
            m.d.comb += drop(Reason.DROP_INJECT)
        with m.Elif(meta.injected):
            m.d.comb += [verdict.reason.eq(Reason.INJECTED), verdict.send.eq(1), verdict.egress.eq(meta.egress)]
        with m.Elif(meta.group):
            m.d.comb += [*punt(Reason.PUNT_GROUP), verdict.group.eq(1), verdict.router.eq(config.no_router)]
        with m.Elif(~meta.own):
            m.d.comb += [*drop(Reason.DROP_NO_ROUTER), verdict.router.eq(config.no_router)]
        with m.Elif(~(meta.enable & tests.on_port)):
            m.d.comb += drop(Reason.DROP_DISABLED)
        with m.Elif(tests.stranger):
            m.d.comb += drop(Reason.DROP_SOURCE)
        with m.Elif(~(meta.ipv4 | meta.ipv6)):
            m.d.comb += punt(Reason.PUNT_NOT_IP)
        with m.Elif(meta.malformed):
            m.d.comb += drop(Reason.DROP_MALFORMED)
        with m.Elif(tests.to_link | (tests.hit & (kind == AdjacencyKind.LOCAL))):
            m.d.comb += punt(Reason.PUNT_LOCAL)
        with m.Elif(meta.options):
            m.d.comb += punt(Reason.PUNT_OPTIONS)
        with m.Elif(tests.ttl_ends):
            m.d.comb += punt(Reason.PUNT_TTL)
        with m.Elif(~meta.checksum_ok):
            m.d.comb += drop(Reason.DROP_CHECKSUM)
        with m.Elif(tests.fault):
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
            m.d.comb += [
                verdict.reason.eq(Reason.FORWARDED),
                verdict.send.eq(1),
                verdict.egress.eq(meta.adj_port),
                verdict.rewrite.eq(1),
            ]
        return m
