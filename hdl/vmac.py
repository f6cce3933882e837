"""VMAC-VE look-up: to which virtual router does a frame belong?"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import VMAC_KEY_BITS, VMAC_ROW, Role
from .memories import NEVER_MEET, delivered
from .records import META, TableSignature
from .toeplitz import toeplitz

__all__ = ["VmacLookup"]

_WAYS = 2
_HASHES = 2
#: Bits of the key that the first of the comparison's two steps takes together.
_GROUP = 8
_VID_BITS = VMAC_ROW["vid"].width
_ROUTER_BITS = VMAC_ROW["router"].width

#: A slot, compared with a key: all of ``equal`` and ``usable`` make a match.
_COMPARED = data.StructLayout({
    "equal": -(-VMAC_KEY_BITS // _GROUP), "usable": 1, "router": _ROUTER_BITS, "guard": 1})


class VmacLookup(wiring.Component):
    """Looks up a frame's destination (role OWN), its source (PEER) and its VLAN (SEGMENT) in the VMAC-VE table.

    The four slots of a role are read at once: the two ways are memories side by side, and each hash has a port of them.
    One role a cycle; latency 7 cycles, the same for every frame; takes a record every 6 cycles, whatever the control
    port does. If ``vmac_cycles`` is 2, the ways are in one memory with a port each, and the hashes are made and read
    one after the other: one role in two cycles, a record every 10, which stays at ``i`` for 9 and leaves in the cycle
    after; without ``stage_registers`` it leaves from ``i`` itself, a cycle sooner. Injected frames take the same time,
    but nothing is found for them. A frame that is given to its router counts as having its own address.

    The second port's other cycles are the control port's: an access takes at most 4 cycles, or 7 if
    ``vmac_cycles`` is 2, and falls between two look-ups. So a look-up sees the table as it was at one moment: an entry
    that is copied to another slot before it is removed from its own is always found.

    A slot with a router that does not exist does not match.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i, o : stream of META
        ``o`` has ``own``, ``peer``, ``peer_router``, ``segment``, ``segment_router``, ``segment_guard`` and, unless
        ``injected`` or ``given``, ``router`` set.
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
        # Attributes for the sake of proofs: the record under way, what the memories deliver, and what is made of it.
        self.turns = config.vmac_cycles         # in which a role is read
        self.last = 3 + len(Role) * self.turns                          # of the steps
        self.step = Signal(range(self.last + 1))
        self.begins = Signal()                  # the look-up of the record at ``i``
        self.meta = Signal(META)
        count = range(_WAYS * _HASHES // self.turns)
        self.slots = [Signal(VMAC_ROW, name=f"slot_{k}") for k in count]
        self.rows = [Signal(VMAC_ROW, name=f"row_{k}") for k in count]
        self.wanted = Signal(VMAC_KEY_BITS)     # what ``rows`` are compared with
        self.compared = [Signal(_COMPARED, name=f"compared_{k}") for k in count]
        self.before = Signal(), Signal(_ROUTER_BITS), Signal()  # a match of the step before: whether, router, guard
        self.own, self.peer = Signal(), Signal()
        self.own_router, self.peer_router = Signal(_ROUTER_BITS), Signal(_ROUTER_BITS)
        self.result = Signal(META)

    def elaborate(self, platform):
        m = Module()
        index_bits = self.config.vmac_index_bits

        # Steps: 0 idle, 1 to 3 (6) read a role in one of them (two), whose slots are registered in the step behind (a
        # block RAM's access time leaves no room for more), compared in two further steps, 6 (9) at the latest.
        idle, last, turns = 0, self.last, self.turns
        step, meta = self.step, self.meta
        leave = Signal()
        may_begin = Signal()
        m.d.comb += [
            leave.eq((step == last) & (~self.o.valid | self.o.ready)),
            self.begins.eq(may_begin & self.i.valid),
        ]
        if turns == 1:
            m.d.comb += [may_begin.eq((step == idle) | leave), self.i.ready.eq(may_begin)]
            with m.If(self.begins):
                m.d.sync += meta.eq(self.i.payload)
        else:
            m.d.comb += [may_begin.eq(step == idle), self.i.ready.eq(leave), meta.eq(self.i.payload)]
        with m.If(may_begin | leave):
            m.d.sync += step.eq(self.begins)
        with m.Elif(step != last):
            m.d.sync += step.eq(step + 1)

        # A role's hashes are ready for the step that reads: both, or one after the other by the same logic.
        key = Signal(VMAC_KEY_BITS)
        with m.Switch(step):
            with m.Case(*range(turns, 2 * turns)):
                m.d.comb += key.eq(_key(meta, Role.PEER))
            with m.Case(*range(2 * turns, 3 * turns)):
                m.d.comb += key.eq(_key(meta, Role.SEGMENT))
            with m.Default():
                m.d.comb += key.eq(_key(self.i.payload, Role.OWN))
        seeds = [Cat(self.seed0, self.seed1), Cat(self.seed1, self.seed0)]
        if turns > 1:
            seeds = [Mux(step[0], seeds[1], seeds[0])]
        hashes = [Signal(index_bits, name=f"hash_{k}") for k in range(len(seeds))]
        m.d.sync += [number.eq(toeplitz(seed, key, index_bits)) for number, seed in zip(hashes, seeds, strict=True)]

        # Memory: the row number of a slot is ``(hash number * 2 + way) << index bits | hash``, so the table's address
        # is ``hash | way << index bits | hash number << index bits + 1``; so is that of a memory with both ways.
        reading = Signal()
        start = Signal()
        way = self.table.addr[index_bits]
        if turns == 1:
            # The ports of each way are for a hash each.
            first_row, second_row = (Cat(number, Const(k, 1)) for k, number in enumerate(hashes))
            table_row = Cat(self.table.addr[:index_bits], self.table.addr[-1])
        else:
            # The ports are for a way each, and the turns for a hash each: an even step reads the second one's.
            first_row, second_row = (Cat(hashes[0], Const(k, 1), ~step[0]) for k in range(_WAYS))
            table_row = self.table.addr
        second_addr = Signal(index_bits + turns)    # one signal for reading and writing: one port of the memory
        slots = iter(self.slots)                # what each port of each way delivers
        m.d.comb += [
            reading.eq((step >= 1) & (step <= len(Role) * turns)),
            start.eq(self.table.stb & ~self.table.ack & ~reading),
            second_addr.eq(Mux(reading, second_row, table_row)),
        ]
        m.d.sync += self.table.ack.eq(start)
        for k in range(_WAYS // turns):
            mine = (way == k) if turns == 1 else Const(1)
            m.submodules[f"way_{k}" if turns == 1 else "ways"] = mem = memory.Memory(
                shape=unsigned(VMAC_ROW.size), depth=turns * _HASHES << index_bits, init=[], attrs=NEVER_MEET)
            write, first, second = mem.write_port(), mem.read_port(), mem.read_port()
            m.d.comb += [
                first.addr.eq(first_row),
                first.en.eq(reading),
                second.addr.eq(second_addr),
                second.en.eq(reading | (start & ~self.table.write)),
                write.addr.eq(second_addr),
                write.data.eq(self.table.w_data),
                write.en.eq(start & self.table.write & mine),
            ]
            m.d.comb += [next(slots).eq(delivered(m, platform, port, write)) for port in (first, second)]
            with m.If(mine):
                m.d.comb += self.table.r_data.eq(second.data)

        # Comparison: registered slots, then groups of bits, then all of them. The key is that of the step before last.
        wanted = self.wanted
        with m.Switch(step):
            with m.Case(*range(2, 2 + turns)):
                m.d.sync += wanted.eq(_key(meta, Role.OWN))
            with m.Case(*range(2 + turns, 2 + 2 * turns)):
                m.d.sync += wanted.eq(_key(meta, Role.PEER))
            with m.Default():
                m.d.sync += wanted.eq(_key(meta, Role.SEGMENT))
        hit = Signal()
        router = Signal(_ROUTER_BITS)
        guard = Signal()
        for slot, row, compared in zip(self.slots, self.rows, self.compared, strict=True):
            m.d.sync += row.eq(slot)
            with m.If(step != last):
                m.d.sync += [
                    compared.equal.eq(Cat(row.as_value()[n:min(n + _GROUP, VMAC_KEY_BITS)] == wanted[n:n + _GROUP]
                                          for n in range(0, VMAC_KEY_BITS, _GROUP))),
                    compared.usable.eq(row.valid & (row.router < self.config.routers)),
                    compared.router.eq(row.router),
                    compared.guard.eq(row.guard),
                ]
            with m.If(compared.equal.all() & compared.usable):
                m.d.comb += [hit.eq(1), router.eq(compared.router), guard.eq(compared.guard)]
        if turns > 1:
            # With the way before.
            first_hit, first_router, first_guard = self.before
            found, hit, router, guard = (hit, router, guard), Signal(), Signal(_ROUTER_BITS), Signal()
            with m.If(step != last):
                m.d.sync += [now.eq(value) for now, value in zip(self.before, found, strict=True)]
            m.d.comb += [
                hit.eq(found[0] | first_hit),
                router.eq(Mux(found[0], found[1], first_router)),
                guard.eq(Mux(found[0], found[2], first_guard)),
            ]

        own, peer, own_router, peer_router = self.own, self.peer, self.own_router, self.peer_router
        with m.If(step == 3 + turns):
            m.d.sync += [own.eq((hit & ~meta.injected & ~meta.group) | meta.given), own_router.eq(router)]
        with m.If(step == 3 + 2 * turns):
            m.d.sync += [peer.eq(hit & ~meta.injected), peer_router.eq(router)]

        # Last step: the SEGMENT entry's outcome joins the others.
        result = self.result
        segment = Signal()
        m.d.comb += [
            segment.eq(hit & ~meta.injected),
            result.eq(meta),
            result.own.eq(own),
            result.peer.eq(peer),
            result.peer_router.eq(Mux(peer, peer_router, 0)),
            result.segment.eq(segment),
            result.segment_router.eq(Mux(segment, router, 0)),
            result.segment_guard.eq(segment & guard),
        ]
        with m.If(~meta.injected & ~meta.given):
            m.d.comb += result.router.eq(Mux(segment, router, self.config.no_router))
            with m.If(Mux(meta.group, peer, own)):
                m.d.comb += result.router.eq(Mux(meta.group, peer_router, own_router))
        if self.config.stage_registers:
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
            with m.If(leave):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(result)]
        else:
            m.d.comb += [self.o.valid.eq(step == last), self.o.payload.eq(result)]
        return m


def _key(record: data.View, role: Role) -> Value:
    """What a frame looks for, in the order of VMAC_ROW."""
    mac = {Role.OWN: record.dmac, Role.PEER: record.smac, Role.SEGMENT: Const(0, VMAC_ROW["mac"].width)}[role]
    key = Cat(mac, record.port, record.tci[:_VID_BITS], Const(role, VMAC_ROW["role"].width))
    assert len(key) == VMAC_KEY_BITS
    return key
