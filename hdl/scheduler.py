"""Output queues of every router at every port, and the choice of what a port sends next."""

from enum import IntEnum
from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .activelists import ActiveLists, Turn
from .cells import CellAllocator
from .config import CoreConfig
from .layouts import SHAPER_ROW, Reason, TrafficClass
from .mac.gmii import FCS_BYTES
from .memories import NEVER_MEET, delivered
from .queues import (
    CHARGE_BITS,
    COUNT_BITS,
    LINE_BYTES,
    TOKENS,
    copy_layout,
    descriptor_layout,
    least_quantum,
    queue_row_bits,
    queue_rows,
    shaper_rows,
    state_layout,
)
from .records import EVENT, TableSignature
from .roundrobin import RoundRobin
from .roundrobin_ahead import RoundRobinAhead
from .shapers import SWEEP_CYCLES, capped, charged, full_bucket
from .table import table_addr_bits

__all__ = ["PROBE", "ProbeSignature", "Scheduler"]

#: Streams of copies: of whole frames, and of the replicator.
SOURCES = 2

#: What can be asked of a router's queues at a port.
PROBE = data.StructLayout({"enqueued": COUNT_BITS, "dropped": COUNT_BITS})


def ProbeSignature(config: CoreConfig) -> wiring.Signature:
    """A look at one row; the asker has the ``Out`` side. ``stb`` is held until ``ack``, when the answer is there."""
    depth = state_layout(config)["depth"].shape
    return wiring.Signature({
        "stb": Out(1), "row": Out(queue_row_bits(config)), "ack": In(1),
        "depth": In(depth), "high_water": In(depth), "counts": In(PROBE),
    })


class _Work(IntEnum):
    COPY_0 = 0
    COPY_1 = 1
    DEQUEUE = 2
    SWEEP = 3
    SHAPER = 4
    PROBE = 5


class Scheduler(wiring.Component):
    """Linked lists of descriptors for each router, port and class; deficit round robin, priorities and shapers.

    One engine does one piece of work after the other, in turns among those that ask, so that there are no two changes
    at once. From one start to the next: a copy 2 cycles, a frame for a port 4, a refill 3, an access 2. All of a row's
    state is read in the first cycle, and written in the last one, in which the next work's state is already read. Which
    work is next is decided a cycle before it starts, or more.

    A copy that finds its queue and all lists of its port empty is handed to the port at once: it is in ``o`` three
    cycles after it was accepted, which is a cycle after it came if there is no other work. A port's next frame is there
    8 cycles after it was wanted, plus other ports' work.

    Deficits are in byte times of the line. While others wait, a turn ends as soon as what is left is no more than a
    quantum; and a router that had the port to itself, and is owed no more than that, hands over before its next frame.
    It has the rest in its next turn.

    A router whose bucket is below zero loses its turn and its deficit, and comes back to the end of the list at the
    refill that brings the bucket to zero.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    copy : array of streams of copy_layout
        Copies of frames; at the port's end, ``descriptor`` comes out of ``o`` again.
    done, refused : Signal, out
        Two cycles after a copy of this source was accepted, or later: it is in its queue, or was refused.
    hold : Signal, in
        Hand no more frames to ports than one that is on its way.
    want : Signal, in
        A bit for each port: choose its next frame. Before that, what comes later can still be sent earlier.
    o : array of streams of descriptors
        The next frame of each port.
    loaded : Signal, out
        A frame came into ``o``.
    event, event_en : out
        What became of a copy.
    event_room : Signal, in
        Two more events can be taken.
    probe : ProbeSignature
        For statistics.
    table : TableSignature
        SHAPER: rows ``router * all_ports + port``. A write fills the bucket.
    idle : Signal, out
        No frame is in a queue or on its way to or from one.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        descriptor = descriptor_layout(config)
        super().__init__({
            "copy": In(stream.Signature(copy_layout(config))).array(SOURCES),
            "done": Out(SOURCES),
            "refused": Out(1),
            "hold": In(1),
            "want": In(config.all_ports),
            "o": Out(stream.Signature(descriptor)).array(config.all_ports),
            "loaded": Out(1),
            "event": Out(EVENT),
            "event_en": Out(1),
            "event_room": In(1),
            "probe": In(ProbeSignature(config)),
            "table": In(TableSignature(table_addr_bits(shaper_rows(config)), SHAPER_ROW.size)),
            "idle": Out(1),
        })
        # Attributes, so that properties can be stated about them.
        self.lists = ActiveLists(config)
        self.free = CellAllocator(config.cells)

    def elaborate(self, platform):
        m = Module()
        config = self._config
        ports = range(config.all_ports)
        m.submodules.lists = lists = self.lists
        # There is a descriptor for each cell; they are free or not just as cells are.
        m.submodules.free = free = self.free

        # The work under way, and its steps.
        work = Signal(_Work)
        row = Signal(queue_row_bits(config))
        port = Signal(range(config.all_ports))
        traffic_class = Signal()
        copy = Signal(copy_layout(config))
        write_shaper = Signal()
        new_shaper = Signal(SHAPER_ROW)
        load, fetch, fetched, execute = (Signal(name=name) for name in ("load", "fetch", "fetched", "execute"))
        ready = Signal()
        m.d.comb += ready.eq(~(load | fetch | fetched))

        # Which port gets a frame next. Decided ahead, so that its row is in a register when its turn comes.
        m.submodules.ask = ask = RoundRobin(config.all_ports)
        next_valid, next_class = Signal(), Signal()
        next_port, next_row = Signal.like(port), Signal.like(row)
        next_go = Signal()
        coming = Signal(config.all_ports)           # a frame is being fetched for the port
        wanted = Signal(config.all_ports)           # a cycle late, and not for what has got a frame since
        m.d.sync += wanted.eq(Cat(self.want[q] & ~self.o[q].valid for q in ports))
        m.d.comb += [
            ask.requests.eq(Cat(
                lists.filled[q].any() & ~self.o[q].valid & ~coming[q] & wanted[q] & ~self.hold for q in ports)),
            ask.advance.eq(~next_valid | next_go),
        ]
        grant_filled = Array(lists.filled)[ask.grant]
        grant_class = Signal()
        m.d.comb += grant_class.eq(grant_filled[TrafficClass.CONTROL])
        with m.If(ask.advance):
            m.d.sync += [
                next_valid.eq(ask.valid),
                next_port.eq(ask.grant),
                next_class.eq(grant_class),
                next_row.eq(Array(lists.head[q][c] for q in ports for c in range(2))[Cat(grant_class, ask.grant)]),
            ]

        # Refills, one row after the other.
        timer = Signal(range(SWEEP_CYCLES))
        sweep = Signal()
        sweep_row = Signal.like(row)
        sweep_port = Signal.like(port)
        m.d.sync += timer.eq(Mux(timer == SWEEP_CYCLES - 1, 0, timer + 1))

        m.submodules.turn = turn = RoundRobinAhead(len(_Work))
        go = Signal(len(_Work))             # one bit at most
        issue = Signal()
        start_row = Signal.like(row)
        begun = {access: (load | execute) & (work == access) for access in (_Work.SHAPER, _Work.PROBE)}
        m.d.comb += [
            turn.requests.eq(Cat(
                self.copy[0].valid, self.copy[1].valid, next_valid, sweep,
                self.table.stb & ~self.table.ack & ~begun[_Work.SHAPER],
                self.probe.stb & ~self.probe.ack & ~begun[_Work.PROBE])),
            # Events go on to be counted whatever happens here, so a copy does not wait long for their room.
            go.eq(Mux(ready & (self.event_room | ~turn.chosen[_Work.COPY_0:_Work.COPY_1 + 1].any()), turn.chosen, 0)),
            issue.eq(go.any()),
            turn.serve.eq(issue),
        ]
        for k in range(SOURCES):
            m.d.comb += self.copy[k].ready.eq(go[k])
        m.d.comb += next_go.eq(go[_Work.DEQUEUE])
        rows = [*(self.copy[k].payload.row for k in range(SOURCES)), next_row, sweep_row, self.table.addr,
                self.probe.row]
        m.d.sync += start_row.eq(reduce(or_, (Mux(turn.choice[k], asked, 0) for k, asked in enumerate(rows))))
        same = Signal()             # this work's row is that of the one before
        m.d.sync += same.eq((start_row == row) & execute)
        with m.If(issue):
            m.d.sync += [
                work.eq(reduce(or_, (Mux(go[k], k, 0) for k in range(len(_Work))))),
                row.eq(start_row),
                port.eq(Mux(go[_Work.DEQUEUE], next_port, sweep_port)),
                traffic_class.eq(next_class),
                write_shaper.eq(self.table.write),
                new_shaper.eq(self.table.w_data),
            ]
            for k in range(SOURCES):
                with m.If(go[k]):
                    m.d.sync += [
                        copy.eq(self.copy[k].payload),
                        port.eq(self.copy[k].payload.port),
                        traffic_class.eq(self.copy[k].payload.traffic_class),
                    ]
        with m.If(go[_Work.SWEEP]):
            last_port = sweep_port == config.host_port
            m.d.sync += sweep_port.eq(Mux(last_port, 0, sweep_port + 1))
            m.d.sync += sweep_row.eq(Mux(sweep_row == shaper_rows(config) - 1, 0, sweep_row + 1))
            m.d.sync += sweep.eq(0)
        with m.If(timer == 0):
            m.d.sync += sweep.eq(1)

        is_copy = Signal()
        is_dequeue, is_sweep = work == _Work.DEQUEUE, work == _Work.SWEEP
        is_shaper, is_probe = work == _Work.SHAPER, work == _Work.PROBE
        m.d.comb += is_copy.eq((work == _Work.COPY_0) | (work == _Work.COPY_1))
        m.d.sync += [
            load.eq(issue),
            fetch.eq(load & is_dequeue),
            fetched.eq((load & is_sweep) | fetch),
            execute.eq((load & ~is_dequeue & ~is_sweep) | fetched),
        ]

        # A row's state: the memories are read when work starts, and written when it ends. If the next work has the same
        # row, it is here already.
        memories = {}
        values, changes, write_en = {}, {}, {}
        for name, shape in (("state", state_layout(config)), ("tokens", TOKENS), ("shaper", SHAPER_ROW),
                            ("counts", PROBE)):
            m.submodules[name] = memories[name] = memory.Memory(
                shape=shape, depth=queue_rows(config), init=[], attrs=NEVER_MEET)
            write = memories[name].write_port()
            read = memories[name].read_port()
            values[name] = Signal(shape, name=name)
            changes[name] = Signal(shape, name=f"new_{name}")
            write_en[name] = Signal(name=f"write_{name}")
            m.d.comb += [
                read.addr.eq(start_row),
                read.en.eq(issue),
                write.addr.eq(row),
                write.data.eq(changes[name]),
                write.en.eq(write_en[name]),
                changes[name].eq(values[name]),
            ]
            with m.If(write_en[name]):
                m.d.sync += values[name].eq(changes[name])
            with m.Elif(load & ~same):
                m.d.sync += values[name].eq(delivered(m, platform, read, write))
        state, tokens, shaper, counts = (values[name] for name in ("state", "tokens", "shaper", "counts"))
        new_state, new_tokens, new_counts = (changes[name] for name in ("state", "tokens", "counts"))
        this, new_this = state.classes[traffic_class], new_state.classes[traffic_class]
        broke = Signal()                # the shaper lets nothing through
        m.d.comb += broke.eq(shaper.limit & (tokens < 0))

        descriptor = descriptor_layout(config)
        link_layout = data.StructLayout({"next": descriptor["cell"].shape, "charge": CHARGE_BITS})
        m.submodules.descriptors = descriptors = memory.Memory(
            shape=descriptor, depth=config.cells, init=[], attrs=NEVER_MEET)
        m.submodules.links = links = memory.Memory(
            shape=link_layout, depth=config.cells, init=[], attrs=NEVER_MEET)
        descriptors_write, descriptors_read = descriptors.write_port(), descriptors.read_port()
        links_write, links_read = links.write_port(), links.read_port()
        found, link = Signal(descriptor), Signal(link_layout)

        charge = Signal(CHARGE_BITS)
        with m.If(load):
            m.d.sync += charge.eq(copy.descriptor.length + FCS_BYTES)
        m.d.comb += [
            lists.port.eq(port),
            lists.row.eq(row),
            lists.serve_class.eq(traffic_class),
            lists.peek.eq(fetched),
            lists.peek_class.eq(traffic_class),
            descriptors_write.addr.eq(free.cell),
            descriptors_write.data.eq(copy.descriptor),
            links_write.addr.eq(this.tail),
            links_write.data.next.eq(free.cell),
            links_write.data.charge.eq(charge),
            descriptors_read.addr.eq(this.head),
            descriptors_read.en.eq(fetch),
            links_read.addr.eq(this.head),
            links_read.en.eq(fetch),
            free.count.eq(1),
            free.reserve.eq(free.take),
            free.freed.eq(this.head),
        ]

        # Enqueue.
        accept, direct, store = Signal(), Signal(), Signal()
        unused = Signal()               # nothing waits for the port, and it takes a frame; known a cycle ahead
        filled_here = Array(lists.filled)[port]
        taking_here = Array(wanted[q] & ~self.o[q].valid for q in ports)[port]
        with m.If(load):
            m.d.sync += unused.eq(~filled_here.any() & taking_here & ~self.hold)
        m.d.comb += [
            accept.eq(~copy.refused & (state.depth != config.queue_frames) & (direct | (free.available != 0))),
            direct.eq(unused & ~this.filled & ~broke),
            store.eq(execute & is_copy & accept & ~direct),
            descriptors_write.en.eq(store),
            links_write.en.eq(store & this.filled),
            free.take.eq(store),
        ]
        deeper = Signal.like(state.depth)
        m.d.comb += deeper.eq(state.depth + 1)
        with m.If(execute & is_copy):
            m.d.comb += [
                self.event_en.eq(1),
                self.event.router.eq(copy.descriptor.router),
                self.event.port.eq(copy.descriptor.port),
                self.event.reason.eq(Mux(
                    accept, copy.reason,
                    Mux(copy.port == config.host_port, Reason.DROP_PUNT_QUEUE, Reason.DROP_QUEUE))),
                self.done.eq(Cat(work == _Work.COPY_0, work == _Work.COPY_1)),
                self.refused.eq(~accept),
                write_en["counts"].eq(~copy.nowhere),
                new_counts.enqueued.eq(counts.enqueued + accept),
                new_counts.dropped.eq(counts.dropped + ~accept),
                write_en["state"].eq(accept),
            ]
            with m.If(state.depth == state.high_water):
                m.d.comb += new_state.high_water.eq(deeper)
            with m.If(accept & direct):
                m.d.comb += [write_en["tokens"].eq(shaper.limit), new_tokens.eq(charged(tokens, charge))]
            with m.Else():
                m.d.comb += [new_state.depth.eq(deeper), new_this.filled.eq(1), new_this.tail.eq(free.cell)]
                with m.If(~this.filled):
                    m.d.comb += [
                        new_this.head.eq(free.cell),
                        new_this.charge.eq(charge),
                        new_this.deficit.eq(0),
                        new_this.alone.eq(0),
                        new_this.listed.eq(~broke),
                        lists.append.eq(Mux(accept & ~broke, 1 << traffic_class, 0)),
                    ]

        # Dequeue. In ``fetch`` the sums are begun, in ``fetched`` they are finished, while the memories deliver.
        fresh, emptied, parked = Signal(), Signal(), Signal()
        alone = Signal()                    # no other router waits
        yields = Signal()
        quantum = Signal(range(max((1 << len(shaper.quantum)) - 1, least_quantum(config)) + 1))
        granted = Signal.like(quantum)      # of it, in this turn
        rest = Signal(signed(len(this.deficit) + 1))
        credit = Signal.like(rest)
        over = Signal.like(rest)            # the same, less what is charged for the next frame's preamble and gap
        next_tokens = Signal(signed(TOKENS.width + 1))      # a refill may go beyond the largest bucket
        with m.If(load):
            m.d.sync += fresh.eq(Array(lists.fresh)[port].bit_select(traffic_class, 1))
        own_quantum = Mux(shaper.quantum < least_quantum(config), least_quantum(config), shaper.quantum)
        with m.If(fetch):
            m.d.sync += [
                quantum.eq(own_quantum),
                granted.eq(Mux(fresh, own_quantum, 0)),
                rest.eq(this.deficit - this.charge),
                emptied.eq(this.head == this.tail),
                next_tokens.eq(charged(tokens, this.charge)),
            ]
        with m.If(fetched):
            m.d.sync += [
                found.eq(delivered(m, platform, descriptors_read, descriptors_write)),
                link.eq(delivered(m, platform, links_read, links_write)),
                credit.eq(rest + granted - LINE_BYTES),
                over.eq(rest + granted - 2 * LINE_BYTES),
                alone.eq(lists.alone),
                yields.eq(this.alone & ~lists.alone & (this.deficit <= quantum)),
                parked.eq(shaper.limit & (next_tokens < 0)),
            ]
            with m.If(is_sweep):
                m.d.sync += next_tokens.eq(tokens + shaper.rate)
        with m.If(execute & is_dequeue):
            m.d.comb += [lists.serve.eq(1), write_en["state"].eq(1)]
            with m.If(broke):
                m.d.comb += [lists.turn.eq(Turn.POP), new_this.listed.eq(0), new_this.deficit.eq(0)]
            with m.Elif(yields):
                m.d.comb += [lists.turn.eq(Turn.ROTATE), new_this.alone.eq(0)]
            with m.Else():
                m.d.comb += [
                    free.free.eq(1),
                    new_state.depth.eq(state.depth - 1),
                    new_this.head.eq(link.next),
                    new_this.charge.eq(link.charge),
                    new_this.deficit.eq(credit),
                    new_this.alone.eq(alone),
                    write_en["tokens"].eq(shaper.limit),
                    new_tokens.eq(next_tokens),
                ]
                with m.If(emptied | parked):
                    m.d.comb += [
                        lists.turn.eq(Turn.POP),
                        new_this.filled.eq(~emptied),
                        new_this.listed.eq(0),
                        new_this.deficit.eq(0),
                    ]
                with m.Elif((over >= link.charge) & (alone | (credit > quantum))):
                    m.d.comb += lists.turn.eq(Turn.STAY)
                with m.Else():
                    m.d.comb += lists.turn.eq(Turn.ROTATE)

        # To the ports.
        dequeued = Signal()
        m.d.comb += [
            dequeued.eq(execute & is_dequeue & ~broke & ~yields),
            self.loaded.eq(dequeued | (execute & is_copy & accept & direct)),
        ]
        for q in ports:
            o = self.o[q]
            with m.If(self.loaded & (port == q)):
                m.d.sync += [o.valid.eq(1), o.payload.eq(Mux(is_dequeue, found, copy.descriptor))]
            with m.Elif(o.ready):
                m.d.sync += o.valid.eq(0)
            with m.If(ask.valid & ask.advance & (ask.grant == q)):
                m.d.sync += coming[q].eq(1)
            with m.Elif(execute & is_dequeue & (port == q)):
                m.d.sync += coming[q].eq(0)

        # Refill. Routers that wait for it, or whose shaper was taken away, come back to the lists.
        with m.If(execute & is_sweep):
            m.d.comb += [write_en["tokens"].eq(shaper.limit), new_tokens.eq(capped(next_tokens, shaper.burst))]
            with m.If(~shaper.limit | (next_tokens >= 0)):
                m.d.comb += write_en["state"].eq(1)
                for c in range(len(TrafficClass)):
                    back = state.classes[c].filled & ~state.classes[c].listed
                    m.d.comb += lists.append[c].eq(back)
                    with m.If(back):
                        m.d.comb += new_state.classes[c].listed.eq(1)

        # Accesses.
        with m.If(execute & is_shaper & write_shaper):
            m.d.comb += [
                write_en["shaper"].eq(1),
                changes["shaper"].eq(new_shaper),
                write_en["tokens"].eq(1),
                new_tokens.eq(full_bucket(new_shaper.burst)),
            ]
        m.d.sync += [self.table.ack.eq(execute & is_shaper), self.probe.ack.eq(execute & is_probe)]
        with m.If(execute & is_shaper):
            m.d.sync += self.table.r_data.eq(shaper)
        with m.If(execute & is_probe):
            m.d.sync += [
                self.probe.depth.eq(state.depth),
                self.probe.high_water.eq(state.high_water),
                self.probe.counts.eq(counts),
            ]
        at_work = load | fetch | fetched | execute
        m.d.comb += self.idle.eq((free.available == config.cells) & ~(at_work & (is_copy | is_dequeue)))
        return m
