"""The stage where records wait for what the engines find: FIB, filter, MAC table and flow hash, side by side."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from . import fib_ring, filter
from .fib import MOST_REQUESTS
from .flowhash import FLOW
from .layouts import CONTEXT_ROW, ECMP_HASH_BITS, RouterMode
from .mactable_search import MAC_FOUND, MAC_SEARCH
from .recordfifo import RecordFifo
from .records import META

__all__ = ["ADDRESS_BITS_KEPT", "ENGINES", "Lookup"]

#: The FIFO of records has ``record_rows`` in memory and one in a register. With the one that is being dealt out they
#: are as many as the FIB holds, so that they are never full before it is.
assert MOST_REQUESTS <= 16 + 2
#: Outcomes of a quick engine that wait. Those of the two records more are in the engine itself.
_OUTCOMES = 16

#: Engines, with the payloads of their requests and outcomes.
ENGINES = {
    "fib": (fib_ring.REQUEST, fib_ring.OUTCOME),
    "filter": (filter.REQUEST, filter.OUTCOME),
    "mac": (MAC_SEARCH, MAC_FOUND),
    "hash": (FLOW, ECMP_HASH_BITS),
}

#: Those that mostly wait for another.
_QUICK = ("filter", "mac", "hash")

#: Where the outcomes go in the record.
_FOUND = {
    "fib": {"fib": "fib", "result": "result"},
    "filter": {
        "rule_hit": "hit", "rule": "rule", "action": "action", "rule_ports": "ports", "rule_mirror": "mirror",
        "set_class": "set_class", "traffic_class": "traffic_class", "police": "police", "rule_policer": "policer",
        "rule_changes": "changes", "rule_smac": "smac", "rule_tag": "tag",
    },
    "mac": {"mac_hit": "hit", "mac_port": "port", "mac_vid": "vid"},
}

#: High bits of the addresses that later stages ask for: they tell link-local ones.
ADDRESS_BITS_KEPT = 16
_ADDRESSES = ("ip_source", "ip_destination")
#: Fields that the engines alone need, or that this stage or a later one sets: they need not wait.
_NOT_KEPT = {
    "fib_base", "fib_size", "ipv4_root", "ipv6_root", "filter_base", "filter_size", "flow_hash",
    *(name for found in _FOUND.values() for name in found),
    "adj_fault", "adj_kind", "adj_port", "adj_mac", "adj_mtu", "adj_vid",
}
_KEPT = data.StructLayout({
    name: ADDRESS_BITS_KEPT if name in _ADDRESSES else field.shape
    for name, field in META if name not in _NOT_KEPT
})


def _walks(record):
    """Which engines have anything to find for a record (``docs/dataplane.md``, steps 3 to 9)."""
    routed, bridged = record.mode == RouterMode.ROUTED, record.mode == RouterMode.BRIDGED
    admitted = (record.enable & record.ports.bit_select(record.port, 1)
                & (~record.guarded | (record.peer & (record.peer_router == record.router))))
    multicast = record.group & record.multicast & record.takes_multicast
    goes_on = ~record.injected & admitted & Mux(record.group, ~routed | multicast, ~routed | record.own)
    ip = (record.ipv4 | record.ipv6) & record.good_header
    return {
        "fib": goes_on & routed & ip,
        "multicast": goes_on & routed & ip & record.group,
        "filter": goes_on,
        "mac": goes_on & bridged & ~record.group & ~record.own,
    }


class Lookup(wiring.Component):
    """Asks the engines about each record, and sets what they found; records keep their order.

    A record goes to all engines at once, and waits in a FIFO until all of them have answered. Where there is nothing to
    find, the request has ``walk`` = 0, so that each engine has one outcome for each record.

    Latency: one cycle and that of the FIB, or two and that of the slowest other engine, but at least 3 cycles; a cycle
    less without ``stage_registers``, where a record stays at ``i`` until all have it. Throughput: that of the slowest
    engine, at best a record every other cycle.

    What only the engines need does not leave the stage: the ``fib_*``, root and ``filter_*`` window fields are zero in
    ``o``, and of the IP addresses only the upper :data:`ADDRESS_BITS_KEPT` bits are there.

    Attributes
    ----------
    i : stream of META
    i_seed
        The context's ``ecmp_seed`` that goes with the payload of ``i``.
    o : stream of META
        With ``fib``, ``result``, ``rule_*`` and the other fields of the filter rule, ``mac_*`` and ``flow_hash`` set.
    fib_i, filter_i, mac_i, hash_i : streams of requests
        To the engines; see :data:`ENGINES`.
    fib_o, filter_o, mac_o, hash_o : streams of outcomes
        From the engines, in the order of their requests.
    """

    def __init__(self, config) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(META)),
            "i_seed": In(CONTEXT_ROW["ecmp_seed"].width),
            "o": Out(stream.Signature(META)),
            **{f"{name}_i": Out(stream.Signature(request)) for name, (request, _) in ENGINES.items()},
            **{f"{name}_o": In(stream.Signature(outcome)) for name, (_, outcome) in ENGINES.items()},
        })

    def elaborate(self, platform):
        m = Module()
        has_register = self._config.stage_registers
        m.submodules.records = records = (fifo.SyncFIFOBuffered if has_register else RecordFifo)(
            width=_KEPT.size, depth=self._config.record_rows + 1)

        # The record that is being dealt out, with what is worked out on its way here, or while it stays at ``i``.
        valid, dealt_out = Signal(), Signal()
        if has_register:
            record, seed = Signal(META), Signal.like(self.i_seed)
            walks = {name: Signal(name=f"walk_{name}") for name in _walks(record)}
            m.d.comb += self.i.ready.eq(~valid)
            with m.If(~valid):
                m.d.sync += valid.eq(self.i.valid)
                with m.If(self.i.valid):
                    m.d.sync += [
                        record.eq(self.i.payload), seed.eq(self.i_seed),
                        *(walks[name].eq(value) for name, value in _walks(self.i.payload).items()),
                    ]
            with m.Elif(dealt_out):
                m.d.sync += valid.eq(0)
        else:
            record, seed = self.i.payload, self.i_seed
            walks = _walks(record)
            m.d.comb += [valid.eq(self.i.valid), self.i.ready.eq(dealt_out)]

        # Each engine and the FIFO take it when they can; the next one comes when all have.
        takers = {name: (getattr(self, f"{name}_i").valid, getattr(self, f"{name}_i").ready) for name in ENGINES}
        takers["records"] = (records.w_en, records.w_rdy)
        gone = {name: Signal(name=f"gone_{name}") for name in takers}
        m.d.comb += dealt_out.eq(Cat(gone[name] | ready for name, (_, ready) in takers.items()).all())
        for name, (offered, ready) in takers.items():
            m.d.comb += offered.eq(valid & ~gone[name])
            with m.If(valid):
                m.d.sync += gone[name].eq(~dealt_out & (gone[name] | ready))

        kept = data.View(_KEPT, records.w_data)
        m.d.comb += [
            *(kept[name].eq(record[name]) for name, _ in _KEPT if name not in _ADDRESSES),
            *(kept[name].eq(record[name][-ADDRESS_BITS_KEPT:]) for name in _ADDRESSES),
        ]
        self._ask(m, record, seed, walks)

        # Together again. The quick engines' outcomes wait in here, so that none of them, though it holds few records
        # itself, keeps the slowest one from having as many as it can.
        settled, taken = Signal(), Signal()
        answers = {name: getattr(self, f"{name}_o") for name in ENGINES}
        for name in _QUICK:
            _, outcome = ENGINES[name]
            m.submodules[f"{name}_outcomes"] = waiting = fifo.SyncFIFO(
                width=Shape.cast(outcome).width, depth=_OUTCOMES)
            connect(m, flipped(answers[name]), waiting.w_stream)
            answers[name] = waiting.r_stream
        m.d.comb += [
            settled.eq(records.r_rdy & Cat(answer.valid for answer in answers.values()).all()),
            self.o.valid.eq(settled),
            taken.eq(settled & self.o.ready),
            records.r_en.eq(taken),
            *(answer.ready.eq(taken) for answer in answers.values()),
        ]
        kept, out = data.View(_KEPT, records.r_data), self.o.payload
        outcomes = {name: data.View(ENGINES[name][1], Value.cast(answers[name].payload)) for name in _FOUND}
        m.d.comb += [
            *(out[name].eq(kept[name]) for name, _ in _KEPT if name not in _ADDRESSES),
            *(out[name][-ADDRESS_BITS_KEPT:].eq(kept[name]) for name in _ADDRESSES),
            *(out[name].eq(outcomes[engine][source])
              for engine, found in _FOUND.items() for name, source in found.items()),
            out.flow_hash.eq(answers["hash"].payload),
        ]
        return m

    def _ask(self, m, record, seed, walks):
        """The requests."""
        fib, rules, mac, flow = (getattr(self, f"{name}_i").payload for name in ENGINES)
        m.d.comb += [
            fib.walk.eq(walks["fib"]),
            fib.ipv6.eq(record.ipv6),
            fib.multicast.eq(walks["multicast"]),
            fib.address.eq(record.ip_destination),
            fib.source.eq(record.ip_source),
            fib.base.eq(record.fib_base),
            fib.size.eq(record.fib_size),
            fib.root.eq(Mux(record.ipv6, record.ipv6_root, record.ipv4_root)),

            rules.walk.eq(walks["filter"]),
            rules.base.eq(record.filter_base),
            rules.size.eq(record.filter_size),
            rules.key.port.eq(record.port),
            rules.key.tagged.eq(record.tagged),
            rules.key.vid.eq(record.tci[:12]),          # IEEE 802.1Q, 9.6: VLAN id, drop eligible, priority
            rules.key.pcp.eq(record.tci[13:]),
            rules.key.dmac.eq(record.dmac),
            rules.key.smac.eq(record.smac),
            rules.key.ethertype.eq(record.ethertype),

            mac.walk.eq(walks["mac"]),
            mac.base.eq(record.mac_base),
            mac.size.eq(record.mac_size),
            mac.mac.eq(record.dmac),

            flow.ipv6.eq(record.ipv6),
            flow.source.eq(record.ip_source),
            flow.destination.eq(record.ip_destination),
            flow.l4_source.eq(record.l4_source),
            flow.l4_destination.eq(record.l4_destination),
            flow.seed.eq(seed),
        ]
        with m.If(record.good_header):
            m.d.comb += [
                *(rules.key[name].eq(record[name][-len(rules.key[name]):]) for name in _ADDRESSES),
                *(rules.key[name].eq(record[name]) for name in ("protocol", "tos", "l4_source", "l4_destination")),
            ]
