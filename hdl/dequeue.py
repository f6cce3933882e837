"""Read side of the frame buffer: sends the queues' frames, all ports through one memory port."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .cells import release_layout
from .config import CoreConfig
from .fallthrough import FallThroughFifo
from .queues import descriptor_layout
from .records import egress_layout, punted_layout
from .roundrobin import RoundRobin
from .table import table_addr_bits

__all__ = ["Dequeuer"]

#: Beats that wait behind each port: covers the latency of the loop through the memory, so one port alone gets a beat
#: every cycle.
_FIFO_BEATS = 8
#: Beats of a frame that are not read yet when the next one is asked for, behind a port that is not slower than the
#: memory: covers the time in which it is chosen, if no other port wants one. Elsewhere a full FIFO covers it.
_AHEAD_BEATS = 12


class Dequeuer(wiring.Component):
    """Reads frames cell by cell, and gives the cells of those back that have no other copy.

    One beat a cycle in all. A port that can take a beat is served within ``ports + 1`` cycles, whatever the others do,
    and while others pause it gets their share. A frame's first beat comes three cycles after its descriptor was
    accepted; the next frame of a queue follows without a gap if its descriptor is there. It is asked for as late as
    that allows, so that what comes to a queue meanwhile can still be chosen.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : array of streams of descriptors
        First frame of each queue.
    want : Signal, out
        A bit for each port: it needs its next frame soon.
    o : array of streams of egress_layout
        Data ports.
    o_host : stream of punted_layout
        Host port.
    data_en, data_addr, data
        Read port of the cells, one cycle latency.
    link_en, link_addr, link_data
        Read port of the next-cell pointers, one cycle latency.
    free, freed : out
        A cell of a frame without other copies was read.
    done, done_frame : out
        The last beat of a frame was read; no more than one for each descriptor.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self._beat_bits = exact_log2(config.cell_bytes // config.beat_bytes)
        cell_bits = table_addr_bits(config.cells)
        super().__init__({
            "i": In(stream.Signature(descriptor_layout(config))).array(config.all_ports),
            "want": Out(config.all_ports),
            "o": Out(stream.Signature(egress_layout(config.data_width))).array(config.ports),
            "o_host": Out(stream.Signature(punted_layout(config.data_width))),
            "data_en": Out(1),
            "data_addr": Out(cell_bits + self._beat_bits),
            "data": In(config.data_width),
            "link_en": Out(1),
            "link_addr": Out(cell_bits),
            "link_data": In(cell_bits),
            "free": Out(1),
            "freed": Out(cell_bits),
            "done": Out(1),
            "done_frame": Out(release_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        host = config.host_port
        beat_bytes = config.beat_bytes
        layout = data.StructLayout({
            "frame": descriptor_layout(config),
            "cell": table_addr_bits(config.cells),
            "position": max(1, self._beat_bits),    # beat within the cell
            "left": descriptor_layout(config)["length"].shape,
            "last": 1,                              # no more than a beat is left
        })
        chosen = Signal(layout)

        m.submodules.turn = turn = RoundRobin(config.all_ports)
        last = Signal()
        crossing = Signal()                         # last beat of the cell
        m.d.comb += [
            turn.advance.eq(1),
            last.eq(chosen.last),
            crossing.eq(last | (chosen.position == (1 << self._beat_bits) - 1) if self._beat_bits else 1),
            self.data_en.eq(turn.valid),
            self.data_addr.eq(Cat(chosen.position[:self._beat_bits], chosen.cell)),
            self.link_en.eq(turn.valid),
            self.link_addr.eq(chosen.cell),
            self.freed.eq(chosen.cell),
            self.free.eq(turn.valid & crossing & chosen.frame.sole),
        ]

        # The cycle after: the memories deliver.
        read_valid = Signal()
        read_queue = Signal.like(turn.grant)
        read_first = Signal()
        read_last = Signal()
        read_frame = Signal(descriptor_layout(config))
        m.d.sync += [
            read_valid.eq(turn.valid),
            read_queue.eq(turn.grant),
            read_first.eq(chosen.position == 0),
            read_last.eq(last),
            read_frame.eq(chosen.frame),
        ]
        m.d.comb += [
            self.done.eq(read_valid & read_last),
            self.done_frame.cell.eq(read_frame.cell),
            self.done_frame.length.eq(read_frame.length),
            self.done_frame.owner.eq(Mux(read_frame.group, config.no_router, read_frame.router)),
            self.done_frame.shared.eq(~read_frame.sole),
            self.done_frame.count.eq(1),
        ]

        for q in range(config.all_ports):
            state = Signal(layout, name=f"state_{q}")
            active = Signal(name=f"active_{q}")
            ending = Signal(name=f"ending_{q}")         # few beats are left
            follower = Signal.like(self.link_data, name=f"follower_{q}")
            credit = Signal(range(_FIFO_BEATS + 1), init=_FIFO_BEATS, name=f"credit_{q}")
            has_credit = Signal(init=1, name=f"has_credit_{q}")     # a register, as the choice is a long path
            granted = Signal(name=f"granted_{q}")
            arrived = Signal(name=f"arrived_{q}")
            cell = Signal.like(self.link_data, name=f"cell_{q}")
            m.d.comb += [
                turn.requests[q].eq(active & has_credit),
                granted.eq(turn.valid & (turn.grant == q)),
                arrived.eq(read_valid & (read_queue == q)),
                cell.eq(state.cell),
            ]
            if self._beat_bits:
                # The pointer to the next cell is fetched with a cell's first beat, and used after its last one.
                following = Signal.like(follower, name=f"following_{q}")
                m.d.comb += following.eq(Mux(arrived & read_first, self.link_data, follower))
                m.d.sync += follower.eq(following)
                with m.If(granted):
                    m.d.sync += state.position.eq(Mux(crossing, 0, state.position + 1))
                    with m.If(crossing):
                        m.d.sync += state.cell.eq(following)
            else:
                # Every beat is a cell, and the pointer is used as it comes out of the memory.
                behind = Signal(name=f"behind_{q}")     # ``state.cell`` is the cell read before
                with m.If(arrived & behind):
                    m.d.comb += cell.eq(self.link_data)
                    m.d.sync += [state.cell.eq(self.link_data), behind.eq(0)]
                with m.If(granted):
                    m.d.sync += behind.eq(~last)
            with m.If(granted):
                m.d.comb += [chosen.eq(state), chosen.cell.eq(cell)]
                m.d.sync += [
                    state.left.eq(state.left - beat_bytes),
                    state.last.eq(state.left <= 2 * beat_bytes),
                    ending.eq(state.left <= (_AHEAD_BEATS + 1) * beat_bytes),
                ]
                with m.If(last):
                    m.d.sync += active.eq(0)
            m.d.comb += [
                self.i[q].ready.eq(~active | (granted & last)),
                self.want[q].eq(~active | (ending & has_credit)),
            ]
            with m.If(self.i[q].valid & self.i[q].ready):
                m.d.sync += [
                    active.eq(1),
                    state.frame.eq(self.i[q].payload),
                    state.cell.eq(self.i[q].payload.cell),
                    state.left.eq(self.i[q].payload.length),
                    state.position.eq(0),
                    state.last.eq(self.i[q].payload.length <= beat_bytes),
                    ending.eq(self.i[q].payload.length <= _AHEAD_BEATS * beat_bytes),
                ]

            port = self.o_host if q == host else self.o[q]
            m.submodules[f"fifo_{q}"] = buffer = FallThroughFifo(port.payload.shape(), _FIFO_BEATS)
            beat = buffer.data
            m.d.comb += [
                beat.data.eq(self.data),
                beat.last.eq(read_last),
                beat.length.eq(read_frame.length),
                beat.router.eq(read_frame.router),
                buffer.en.eq(arrived),
                port.valid.eq(buffer.o.valid),
                port.payload.eq(buffer.o.payload),
                buffer.o.ready.eq(port.ready),
            ]
            if q == host:
                m.d.comb += [
                    beat.port.eq(read_frame.port),
                    beat.reason.eq(read_frame.reason),
                    beat.tci.eq(read_frame.tci),
                ]
            else:
                m.d.comb += [beat[name].eq(read_frame[name])
                             for name in ("tagged", "tci", "keep_tag", "own_source")]
                if q == config.link_port:
                    m.d.comb += [beat[name].eq(read_frame[name]) for name in ("from_link", "entropy")]
            taken = port.valid & port.ready
            m.d.sync += [
                credit.eq(credit - granted + taken),
                has_credit.eq(taken | (credit > granted)),
            ]
        return m
