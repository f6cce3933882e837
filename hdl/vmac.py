"""VMAC-VE look-up: to which virtual router does a frame belong?"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import VMAC_KEY_BITS, VMAC_ROW, Role
from .records import META, TableSignature
from .table import TableMemory
from .toeplitz import toeplitz

__all__ = ["VmacLookup"]

_WAYS = 2
_HASHES = 2
_PROBES = _HASHES * _WAYS


class VmacLookup(wiring.Component):
    """Looks up a frame's destination (role OWN) and source (role PEER) in the VMAC-VE table.

    Four probes for each role, one a cycle, in two hashes of two ways each. Takes a record every 8 cycles; latency
    12 cycles. Injected frames take the same time, but nothing is looked up for them.

    Rows are written between look-ups only, so a look-up sees the table as it was at one moment: an entry
    that is copied to another slot before it is removed from its own is always found.

    A slot with a router that does not exist does not match.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i, o : stream of META
        ``o`` has ``own``, ``router``, ``peer`` and ``peer_router`` set.
    table : TableSignature
        Control port of the slots.
    seed0, seed1
        Seeds of the two hashes.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(META)),
            "o": Out(stream.Signature(META)),
            "table": In(TableSignature(config.vmac_index_bits + 2, VMAC_ROW.size)),
            "seed0": In(64),
            "seed1": In(64),
        })

    def elaborate(self, platform):
        m = Module()
        index_bits = self.config.vmac_index_bits
        m.submodules.slots = slots = TableMemory(self.config.vmac_slots, VMAC_ROW.size)

        # A probe takes four cycles: hash, read, register (a block RAM's access time leaves no room for the comparison
        # in the same cycle), compare. Probes follow each other every cycle: ``meta``'s begin while the last ones of the
        # frame before (``ending``) are still under way. Everything stands still while a finished record cannot leave.
        advance = Signal()
        meta = Signal(META)
        ending = Signal(META)
        working = Signal()
        step = Signal(range(2 * _PROBES))       # OWN probes, then PEER probes
        final = Signal()
        hashes = Array(Signal(index_bits, name=f"hash_{k}") for k in range(_HASHES))
        key = Signal(VMAC_KEY_BITS)

        probe_layout = data.StructLayout({
            "valid": 1, "key": VMAC_KEY_BITS, "number": 2, "role": 1, "ignore": 1, "first": 1, "final": 1})
        reading = Signal(probe_layout)
        registering = Signal(probe_layout)
        comparing = Signal(probe_layout)
        row = Signal(VMAC_ROW)

        # Writes have precedence at the moment when no look-up is under way.
        gap = Signal()
        write_waits = Signal()
        load = Signal()
        m.d.comb += [
            final.eq(step == 2 * _PROBES - 1),
            gap.eq(~working & ~reading.valid),
            write_waits.eq(self.table.stb & self.table.write & ~self.table.ack),
            slots.table.stb.eq(self.table.stb & (~self.table.write | gap)),
            slots.table.write.eq(self.table.write),
            slots.table.addr.eq(self.table.addr),
            slots.table.w_data.eq(self.table.w_data),
            self.table.ack.eq(slots.table.ack),
            self.table.r_data.eq(slots.table.r_data),
            self.i.ready.eq(advance & (~working | final) & ~write_waits),
            load.eq(self.i.valid & self.i.ready),
        ]

        with m.If(advance):
            m.d.sync += step.eq(step + 1)
            with m.If(step == _PROBES - 1):
                m.d.sync += key.eq(Cat(meta.smac, meta.port, Const(Role.PEER, 1)))
            with m.If(working & final):
                m.d.sync += [working.eq(0), ending.eq(meta)]
            with m.If(load):
                m.d.sync += [
                    working.eq(1),
                    step.eq(0),
                    meta.eq(self.i.payload),
                    key.eq(Cat(self.i.payload.dmac, self.i.payload.port, Const(Role.OWN, 1))),
                ]
            m.d.sync += [
                *(hashes[k].eq(toeplitz(seed, key, index_bits)) for k, seed in enumerate((self.seed0, self.seed1))),
                reading.valid.eq(working),
                reading.key.eq(key),
                reading.number.eq(step[:2]),
                reading.role.eq(step[2]),
                reading.ignore.eq(meta.injected | (meta.group & ~step[2])),
                reading.first.eq(step == 0),
                reading.final.eq(final),
                registering.eq(reading),
                comparing.eq(registering),
                row.eq(slots.data),
            ]
        m.d.comb += [
            # ``(hash number * 2 + way) << index bits | hash``
            slots.addr.eq(Cat(hashes[reading.number[1]], reading.number)),
            slots.en.eq(advance & reading.valid & ~reading.ignore),
        ]

        found = [Signal(name="own"), Signal(name="peer")]
        router = [Signal(10, name="own_router"), Signal(10, name="peer_router")]
        match = Signal()
        now_found = [Signal(name=f"now_{s.name}") for s in found]
        now_router = [Signal(10, name=f"now_{s.name}") for s in router]
        m.d.comb += match.eq(row.valid & (row.router < self.config.routers) & ~comparing.ignore
                             & (row.as_value()[:VMAC_KEY_BITS] == comparing.key))
        for role in Role:
            hit = match & (comparing.role == role)
            m.d.comb += [
                now_found[role].eq(hit | (found[role] & ~comparing.first)),
                now_router[role].eq(Mux(hit, row.router, router[role])),
            ]
        with m.If(advance & comparing.valid):
            m.d.sync += [Cat(found).eq(Cat(now_found)), Cat(router).eq(Cat(now_router))]

        finished = Signal()
        m.d.comb += [
            finished.eq(comparing.valid & comparing.final),
            advance.eq(~finished | ~self.o.valid | self.o.ready),
        ]
        result = Signal(META)
        m.d.comb += result.eq(ending)
        with m.If(~ending.injected):
            m.d.comb += result.router.eq(Mux(now_found[Role.OWN], now_router[Role.OWN], self.config.no_router))
        m.d.comb += [
            result.own.eq(now_found[Role.OWN]),
            result.peer.eq(now_found[Role.PEER]),
            result.peer_router.eq(Mux(now_found[Role.PEER], now_router[Role.PEER], 0)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(finished & advance):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(result)]
        return m
