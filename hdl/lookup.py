"""The look-ups that run side by side: FIB, filter, MAC table and flow hash."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from . import fib_ring, filter, mactable_search
from .config import CoreConfig
from .flowhash import FLOW
from .layouts import CONTEXT_ROW, ECMP_HASH_BITS, FILTER_KEY, RouterMode
from .ports import includes
from .records import META
from .slice import RegisterSlice

__all__ = ["Lookup"]

#: Records that wait for their outcomes: more than all engines together hold.
_RECORDS = 32
_SEED_BITS = CONTEXT_ROW["ecmp_seed"].width
_ARRIVAL = data.StructLayout({"meta": META, "seed": _SEED_BITS})
_VID_BITS = FILTER_KEY["vid"].width
_PCP = 13               # lowest bit in a TCI, IEEE 802.1Q, 9.6


class Lookup(wiring.Component):
    """Asks every engine about every record, and puts their outcomes into it; records keep their order.

    A record of which an engine is not needed is sent there all the same, with ``walk`` = 0, so that outcomes and
    records stay together. The engines' outcomes wait in the engines, the records in here.

    Latency 3 cycles and that of the slowest engine. Takes a record every cycle in which all engines can.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i, o : streams of META
    i_seed : Signal, in
        Key of the flow hash, stable with ``i``.
    fib_i, fib_o, filter_i, filter_o, mac_i, mac_o, hash_i, hash_o : streams
        To and from the engines: :mod:`.fib`, :mod:`.filter`, :mod:`.mactable`, :mod:`.flowhash`.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(META)),
            "i_seed": In(_SEED_BITS),
            "o": Out(stream.Signature(META)),
            "fib_i": Out(stream.Signature(fib_ring.REQUEST)),
            "fib_o": In(stream.Signature(fib_ring.OUTCOME)),
            "filter_i": Out(stream.Signature(filter.REQUEST)),
            "filter_o": In(stream.Signature(filter.OUTCOME)),
            "mac_i": Out(stream.Signature(mactable_search.MAC_SEARCH)),
            "mac_o": In(stream.Signature(mactable_search.MAC_FOUND)),
            "hash_i": Out(stream.Signature(FLOW)),
            "hash_o": In(stream.Signature(ECMP_HASH_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        # A register first: what is asked depends on conditions that take their time.
        m.submodules.arrival = arrival = RegisterSlice(_ARRIVAL)
        m.d.comb += [
            arrival.i.valid.eq(self.i.valid),
            arrival.i.payload.meta.eq(self.i.payload),
            arrival.i.payload.seed.eq(self.i_seed),
            self.i.ready.eq(arrival.i.ready),
        ]
        meta = arrival.o.payload.meta
        self._ask(m, meta, arrival.o.payload.seed)

        # Everybody takes the record when they can; it leaves when all have it.
        m.submodules.records = records = fifo.SyncFIFOBuffered(width=META.size, depth=_RECORDS)
        requests = (self.fib_i, self.filter_i, self.mac_i, self.hash_i)
        has = Signal(len(requests) + 1)
        can = Cat(*(request.ready for request in requests), records.w_rdy)
        done = Signal()
        m.d.comb += [
            done.eq((has | can).all()),
            arrival.o.ready.eq(done),
            records.w_data.eq(meta),
            records.w_en.eq(arrival.o.valid & ~has[-1]),
            *(request.valid.eq(arrival.o.valid & ~has[k]) for k, request in enumerate(requests)),
        ]
        with m.If(arrival.o.valid):
            m.d.sync += has.eq(Mux(done, 0, has | can))

        m.submodules.joined = joined = RegisterSlice(META)
        connect(m, joined.o, flipped(self.o))
        outcomes = (self.fib_o, self.filter_o, self.mac_o, self.hash_o)
        m.d.comb += [
            joined.i.valid.eq(records.r_rdy & Cat(outcome.valid for outcome in outcomes).all()),
            records.r_en.eq(joined.i.valid & joined.i.ready),
            *(outcome.ready.eq(joined.i.valid & joined.i.ready) for outcome in outcomes),
        ]
        self._join(m, data.View(META, records.r_data), joined.i.payload)
        return m

    def _ask(self, m: Module, meta, seed) -> None:
        """What each engine is asked, by steps 3 to 9 of ``docs/dataplane.md``."""
        routed, bridged = meta.mode == RouterMode.ROUTED, meta.mode == RouterMode.BRIDGED
        stranger = meta.guarded & (~meta.peer | (meta.peer_router != meta.router))
        admitted, unicast, multicast, to_router = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            admitted.eq(~meta.injected & meta.enable & ~stranger & includes(self.config, meta.ports, meta.port)),
            unicast.eq(~meta.group & meta.own & routed),
            multicast.eq(meta.group & meta.multicast & meta.takes_multicast & routed),
            to_router.eq(unicast | multicast),
        ]
        fib, filter_, mac, flow = (request.payload for request in (
            self.fib_i, self.filter_i, self.mac_i, self.hash_i))
        m.d.comb += [
            fib.walk.eq(admitted & to_router & meta.good_header),
            fib.ipv6.eq(meta.ipv6),
            fib.multicast.eq(multicast),
            fib.address.eq(meta.ip_destination),
            fib.source.eq(meta.ip_source),
            fib.base.eq(meta.fib_base),
            fib.size.eq(meta.fib_size),
            fib.root.eq(Mux(meta.ipv6, meta.ipv6_root, meta.ipv4_root)),

            filter_.walk.eq(admitted & (to_router | (~routed & (meta.group | meta.own | meta.segment)))),
            filter_.base.eq(meta.filter_base),
            filter_.size.eq(meta.filter_size),

            mac.walk.eq(admitted & bridged & ~meta.group & ~meta.own),
            mac.base.eq(meta.mac_base),
            mac.size.eq(meta.mac_size),
            mac.mac.eq(meta.dmac),

            flow.ipv6.eq(meta.ipv6),
            flow.source.eq(meta.ip_source),
            flow.destination.eq(meta.ip_destination),
            flow.l4_source.eq(meta.l4_source),
            flow.l4_destination.eq(meta.l4_destination),
            flow.seed.eq(seed),
        ]
        key = filter_.key
        m.d.comb += [
            *(key[name].eq(meta[name]) for name in ("port", "tagged", "dmac", "smac", "ethertype")),
            key.vid.eq(meta.tci[:_VID_BITS]),
            key.pcp.eq(meta.tci[_PCP:]),
        ]
        with m.If(meta.good_header):
            m.d.comb += [
                *(key[name].eq(meta[name]) for name in ("protocol", "tos", "l4_source", "l4_destination")),
                *(key[name].eq(meta[name][-len(key[name]):]) for name in ("ip_source", "ip_destination")),
            ]

    def _join(self, m: Module, record, joined) -> None:
        rule, found = self.filter_o.payload, self.mac_o.payload
        m.d.comb += [
            joined.eq(record),
            joined.fib.eq(self.fib_o.payload.fib),
            joined.result.eq(self.fib_o.payload.result),
            joined.rule_hit.eq(rule.hit),
            joined.rule.eq(rule.rule),
            joined.action.eq(rule.action),
            *(joined[name].eq(rule[name]) for name in ("set_class", "traffic_class", "police")),
            *(joined[f"rule_{name}"].eq(rule[name])
              for name in ("ports", "mirror", "policer", "changes", "smac", "tag")),
            joined.mac_hit.eq(found.hit),
            joined.mac_port.eq(found.port),
            joined.flow_hash.eq(self.hash_o.payload),
        ]
