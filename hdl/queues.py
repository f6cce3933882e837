"""Output queues: descriptors of stored frames, in order, for each port."""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .config import CoreConfig
from .records import PORT_BITS, ROUTER_BITS
from .roundrobin import RoundRobin
from .stream import LENGTH_BITS
from .table import table_addr_bits

__all__ = ["OutputQueues", "descriptor_layout"]


def descriptor_layout(config: CoreConfig) -> data.StructLayout:
    """A frame in the buffer: its first cell and length; the rest is for the host port only."""
    return data.StructLayout({
        "cell": table_addr_bits(config.cells),
        "length": LENGTH_BITS,
        "keep": 1,                  # another copy of the same cells follows in this queue: don't free them
        "router": ROUTER_BITS,
        "port": PORT_BITS,
        "reason": 5,
    })


class OutputQueues(wiring.Component):
    """A FIFO of ``queue_frames`` descriptors for each data port and the host port, all in one block RAM.

    A place is reserved first and filled later; it is given back when the frame was read. The first descriptor of each
    queue is fetched ahead: it is there three cycles after it was pushed to an empty queue, or after the one before it
    was accepted, plus one for each other queue that fetches at the same time.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    reserve, reserve_queue : in
        Take a place in a queue that is not full.
    reserve_copy : Signal, in
        Take a place in the host port's queue; not while ``reserve`` is high for the same queue.
    done, done_queue : in
        A frame was read: give its place back.
    full : Signal, out
        One bit a queue.
    push, push_queue, push_descriptor : in
        Fill a place.
    copy : stream of descriptors
        For the host port's queue, when there is no ``push``.
    o : array of streams of descriptors
        First in each queue.
    depth : array of Signal, out
        Places taken.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        descriptor = descriptor_layout(config)
        queues = config.all_ports
        super().__init__({
            "reserve": In(1),
            "reserve_queue": In(range(queues)),
            "reserve_copy": In(1),
            "done": In(1),
            "done_queue": In(range(queues)),
            "full": Out(queues),
            "push": In(1),
            "push_queue": In(range(queues)),
            "push_descriptor": In(descriptor),
            "copy": In(stream.Signature(descriptor)),
            "o": Out(stream.Signature(descriptor)).array(queues),
            "depth": Out(range(config.queue_frames + 1)).array(queues),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        queues, host = config.all_ports, config.host_port
        pointer_bits = exact_log2(config.queue_frames)
        m.submodules.descriptors = descriptors = memory.Memory(
            shape=descriptor_layout(config), depth=queues << pointer_bits, init=[])
        write = descriptors.write_port()
        read = descriptors.read_port()
        # One bit more than an address needs: tells a full queue from an empty one.
        write_pointers = [Signal(pointer_bits + 1, name=f"write_pointer_{q}") for q in range(queues)]
        read_pointers = [Signal(pointer_bits + 1, name=f"read_pointer_{q}") for q in range(queues)]

        queue = Signal(range(queues))
        m.d.comb += [
            self.copy.ready.eq(~self.push),
            queue.eq(host),
            write.data.eq(self.copy.payload),
            write.en.eq(self.push | self.copy.valid),
            write.addr.eq(Cat(Array(write_pointers)[queue][:pointer_bits], queue)),
        ]
        with m.If(self.push):
            m.d.comb += [queue.eq(self.push_queue), write.data.eq(self.push_descriptor)]

        m.submodules.fetch = fetch = RoundRobin(queues)
        fetched = Signal()
        fetched_queue = Signal.like(fetch.grant)
        m.d.comb += [
            fetch.advance.eq(1),
            read.en.eq(fetch.valid),
            read.addr.eq(Cat(Array(read_pointers)[fetch.grant][:pointer_bits], fetch.grant[:len(queue)])),
        ]
        m.d.sync += [fetched.eq(fetch.valid), fetched_queue.eq(fetch.grant)]

        for q in range(queues):
            o = self.o[q]
            depth = self.depth[q]
            arriving = fetched & (fetched_queue == q)
            m.d.comb += [
                fetch.requests[q].eq((write_pointers[q] != read_pointers[q]) & ~o.valid & ~arriving),
                self.full[q].eq(depth == config.queue_frames),
            ]
            with m.If(write.en & (queue == q)):
                m.d.sync += write_pointers[q].eq(write_pointers[q] + 1)
            with m.If(fetch.valid & (fetch.grant == q)):
                m.d.sync += read_pointers[q].eq(read_pointers[q] + 1)
            with m.If(arriving):
                m.d.sync += [o.valid.eq(1), o.payload.eq(read.data)]
            with m.Elif(o.ready):
                m.d.sync += o.valid.eq(0)
            reserved = (self.reserve & (self.reserve_queue == q)) | (self.reserve_copy if q == host else 0)
            m.d.sync += depth.eq(depth + reserved - (self.done & (self.done_queue == q)))
        return m
