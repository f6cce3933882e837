"""Every stream that leaves a stage keeps the rules of streams, if those that come in do.

Streams that are the output of a FIFO and nothing else are left out (the fates, the outcomes of filter and policers):
that a FIFO keeps the rules is shown once. Where not said otherwise, the proofs are by induction, so without a bound.
"""

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from polyrouter.hdl.adjacency import AdjacencyLookup
from polyrouter.hdl.arbiter import HeaderArbiter
from polyrouter.hdl.buffer import FrameBuffer
from polyrouter.hdl.capture import HeaderCapture
from polyrouter.hdl.circuits import Circuits
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.context import ContextLookup
from polyrouter.hdl.control import ControlEngine
from polyrouter.hdl.decapsulate import Decapsulator
from polyrouter.hdl.deframer import HostDeframer
from polyrouter.hdl.egress import Egress
from polyrouter.hdl.encapsulate import Encapsulator
from polyrouter.hdl.enframer import HostEnframer
from polyrouter.hdl.fallthrough import FallThroughFifo
from polyrouter.hdl.flowhash import FlowHash
from polyrouter.hdl.framemux import FrameMux
from polyrouter.hdl.framewidth import FrameWidth
from polyrouter.hdl.headertap import HeaderTap
from polyrouter.hdl.ingress import Ingress
from polyrouter.hdl.inserter import Inserter
from polyrouter.hdl.lookup import ENGINES, Lookup
from polyrouter.hdl.mactable import MacTable
from polyrouter.hdl.membership import Membership
from polyrouter.hdl.narrowheader import NarrowHeaderCapture
from polyrouter.hdl.pairing import Pairing
from polyrouter.hdl.parser import Parser
from polyrouter.hdl.portrow import PortRow
from polyrouter.hdl.recordfifo import RecordFifo
from polyrouter.hdl.replicator import Replicator
from polyrouter.hdl.rewrite import Rewriter
from polyrouter.hdl.roundrobin import RoundRobin
from polyrouter.hdl.stream import packet_layout
from polyrouter.hdl.terminations import Terminations
from polyrouter.hdl.tunnelend import TunnelEnd
from polyrouter.hdl.untag import Untagger
from polyrouter.hdl.verdict import Decide
from polyrouter.hdl.vmac import VmacLookup
from polyrouter.hdl.words import WordJoiner, WordSplitter

from .contract import StreamContract
from .runner import AnyConst, AnySeq, prove
from .small import small_config

#: A core with a link port.
_WITH_LINKS = CoreConfig(ports=2, routers=2, data_width=256, circuits=16)


def drive(m: Module, *values) -> None:
    """Let the solver choose inputs."""
    for value in values:
        value = Value.cast(value)
        m.d.comb += value.eq(AnySeq(len(value)))


def drive_table(m: Module, table, rows: int) -> None:
    """Accesses by the control engine at will, to rows that are there; it holds them until they are acknowledged."""
    drive(m, table.stb, table.write, table.addr, table.w_data)
    m.d.comb += Assume(table.addr < rows)
    m.submodules += StreamContract(TableAccess(table), assume=True, stable=[table.write, table.w_data])


def rules(m: Module, inputs, outputs) -> None:
    """Assume the rules of the inputs, check them of the outputs; streams may come with sideband signals."""
    for k, (stream, *side) in enumerate(inputs):
        drive(m, stream.valid, stream.payload, *side)
        m.submodules[f"assume_{k}"] = StreamContract(stream, assume=True, stable=side)
    for k, (stream, *side) in enumerate(outputs):
        drive(m, stream.ready)
        m.submodules[f"check_{k}"] = StreamContract(stream, stable=side)


class TableAccess:
    """A table's access, seen as a stream."""

    def __init__(self, table):
        self.valid, self.ready, self.payload = table.stb, table.ack, table.addr


class EndMasked:
    """A stream of beats without the data of last ones: behind the frame's end is what happens to be there."""

    def __init__(self, m: Module, stream):
        self.valid, self.ready, self.payload = stream.valid, stream.ready, Signal(stream.payload.shape())
        m.d.comb += self.payload.eq(stream.payload)
        with m.If(stream.payload.last):
            m.d.comb += self.payload.data.eq(0)


def tables_of(dut: ControlEngine) -> list:
    """The ports of the control engine."""
    return [member for name, member in ((name, getattr(dut, name)) for name in dut.signature.members)
            if hasattr(member, "stb")]


# From a port to the look-ups.

@pytest.mark.parametrize("host", [False, True])
def test_ingress(tmp_path, host):
    """Bounded: what the level and the pointers of the FIFO at the end have to do with each other is in no property."""
    m = Module()
    m.submodules.dut = dut = Ingress(small_config(data_width=64, ingress_bytes=64), host=host)
    if not host:
        drive(m, dut.o_fate.ready, dut.o_header.ready)
    rules(m, [(dut.i,)], [(dut.o,), (dut.event,)])
    prove(m, tmp_path, depth=10, induction=False)


@pytest.mark.parametrize("stage, width, depth", [(HeaderCapture, 256, 8), (NarrowHeaderCapture, 32, 14)])
def test_header_capture(tmp_path, stage, width, depth):
    """Bounded: three frames, in beats of half a header; or one and a part, in beats of a tag."""
    m = Module()
    m.submodules.dut = dut = stage(CoreConfig(data_width=width))
    if stage is NarrowHeaderCapture:
        # Any beat, the same one all the time: what the parser reads of a header that is offered stays, too; and when it
        # was taken, until it is that beat's turn.
        index, kept = Signal.like(dut.o_beats.index), Signal.like(dut.o_beats.beat)
        since = Signal(len(index) + 1, init=1 << len(index))
        m.d.comb += [index.eq(AnyConst(len(index))), dut.o_beats.index.eq(index)]
        m.d.sync += since.eq(since + (since != since.init))
        with m.If(dut.o.valid & dut.o.ready):
            m.d.sync += [since.eq(0), kept.eq(dut.o_beats.beat)]
        with m.If(since <= index):
            m.d.comb += Assert(dut.o_beats.beat == kept)
    drive(m, dut.fire, dut.data, dut.last, dut.filled, dut.allow)
    first = Signal(init=1)
    with m.If(dut.fire):
        m.d.sync += first.eq(dut.last)
    m.d.comb += Assume(~(dut.fire & first & dut.busy))
    rules(m, [], [(dut.o, dut.o_beats.beat) if stage is NarrowHeaderCapture else (dut.o,)])
    prove(m, tmp_path, depth=depth, induction=False)


@pytest.mark.parametrize("stage", [Ingress, HeaderTap])
def test_a_header_is_taken_before_the_next_frame_begins(tmp_path, stage):
    """What the proof of the capture assumes."""
    m = Module()
    m.submodules.dut = dut = stage(small_config(data_width=64, ingress_bytes=64))
    drive(m, dut.o.ready, dut.o_fate.ready, dut.o_header.ready)
    if stage is Ingress:
        drive(m, dut.event.ready)
    rules(m, [(dut.i,)], [])
    first = Signal(init=1)
    with m.If(dut.i.valid & dut.i.ready):
        m.d.sync += first.eq(dut.i.payload.last)
        m.d.comb += Assert(~(first & dut.o_header.valid))
    prove(m, tmp_path, depth=6, induction=False)


def test_header_tap(tmp_path):
    m = Module()
    m.submodules.dut = dut = HeaderTap(small_config(data_width=64, ingress_bytes=64))
    drive(m, dut.o_fate.ready, dut.o_header.ready)
    rules(m, [(dut.i, dut.i_router, dut.i_port)], [(dut.o,)])
    prove(m, tmp_path, depth=10, induction=False)


@pytest.mark.parametrize("slices", [1, 0])
def test_arbiter(tmp_path, slices):
    m = Module()
    m.submodules.dut = dut = HeaderArbiter(CoreConfig(ports=2, circuits=16, slices=slices))
    drive(m, dut.released)
    rules(m, [(dut.i[0],), (dut.i[1], dut.given, dut.given_router), (dut.i_host, dut.inject_router, dut.inject_port)],
          [(dut.o,)])
    # What induction need not begin with: two are chosen, or one that has no header.
    valid = Cat(source.valid for source in (*dut.i, dut.i_host))
    m.d.comb += Assert(((dut.chosen & (dut.chosen - 1)) == 0) & ((dut.chosen & ~valid) == 0))
    prove(m, tmp_path, depth=3)


@pytest.mark.parametrize("width", [64, 32])
def test_parser(tmp_path, width):
    m = Module()
    m.submodules.dut = dut = Parser(CoreConfig(data_width=width))
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


# Look-ups. The memories deliver what they like.

#: A record stays where it is through two stages.
_STAYS = {"vmac_cycles": 2, "context_words": 4, "stage_registers": 0}


@pytest.mark.parametrize("stage, parameters", [
    (VmacLookup, {}), (VmacLookup, {"vmac_cycles": 2}), (VmacLookup, _STAYS), (ContextLookup, {}),
    (ContextLookup, {"context_words": 4}), (ContextLookup, _STAYS), (AdjacencyLookup, {})])
def test_look_up(tmp_path, stage, parameters):
    m = Module()
    config = CoreConfig(adjacencies=12, routers=3, **parameters)
    m.submodules.dut = dut = stage(config)
    rows = {VmacLookup: config.vmac_slots, ContextLookup: config.routers, AdjacencyLookup: config.adjacencies}
    drive_table(m, dut.table, rows[stage])
    if stage is VmacLookup:
        drive(m, dut.seed0, dut.seed1)
    if parameters == _STAYS and stage is VmacLookup:
        # What induction need not begin with: at work on a record that is not there.
        m.d.comb += Assert((dut.step == 0) | dut.i.valid)
    if parameters == _STAYS and stage is ContextLookup:
        with m.If((dut.rows.step != 0) & ~dut.rows.access):
            m.d.comb += [Assert(dut.i.valid), Assert(dut.exists == dut.rows.reading)]
        # A memory that is not read delivers what it did before.
        word, read = Signal.like(dut.rows.word), Signal(init=1)
        m.d.sync += [word.eq(dut.rows.word), read.eq(dut.rows.en)]
        m.d.comb += Assume(read | (dut.rows.word == word))
    rules(m, [(dut.i,)], [(dut.o, dut.o_seed) if stage is ContextLookup else (dut.o,)])
    prove(m, tmp_path, depth=3, free_memories=True)


@pytest.mark.parametrize("parameters", [{}, _STAYS], ids=["register", "stays"])
def test_lookup_stage(tmp_path, parameters):
    """Requests hold until each engine has taken them. Records come out of FIFOs, joined: all are there, or none."""
    m = Module()
    m.submodules.dut = dut = Lookup(CoreConfig(**parameters))
    rules(m, [(dut.i, dut.i_seed), *((getattr(dut, f"{name}_o"),) for name in ENGINES)],
          [(getattr(dut, f"{name}_i"),) for name in ENGINES])
    drive(m, dut.o.ready)
    prove(m, tmp_path, depth=3, free_memories=True)


@pytest.mark.parametrize("rows", [16, 0])
def test_mac_table(tmp_path, rows):
    m = Module()
    m.submodules.dut = dut = MacTable(CoreConfig(mac_rows=rows))
    drive_table(m, dut.table, max(rows, 1))
    drive(m, dut.learn.valid, dut.learn.payload, dut.age_cycles)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3, free_memories=True)


@pytest.mark.parametrize("stage", [
    FlowHash, lambda: FlowHash(12), lambda: Decide(CoreConfig(circuits=16)),
    lambda: Decide(CoreConfig(circuits=16, slices=0))],
    ids=["flow hash", "slow flow hash", "decide", "decide at once"])
def test_pure_stage(tmp_path, stage):
    m = Module()
    m.submodules.dut = dut = stage()
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


# The frames' way.

@pytest.mark.parametrize("depth", [6, pytest.param(8, marks=pytest.mark.slow)])
def test_pairing(tmp_path, depth):
    """Bounded; at night long enough for questions, effects and frames to be held up."""
    m = Module()
    config = CoreConfig(ports=1)
    m.submodules.dut = dut = Pairing(config)
    m.d.comb += Assume(dut.i.payload.port < config.all_ports)
    inputs = [dut.i, dut.passed, *dut.fate, *dut.body]
    outputs = [dut.police, dut.hit, dut.learn, dut.event]
    rules(m, [(stream,) for stream in inputs], [(stream,) for stream in (*outputs, dut.o)])
    prove(m, tmp_path, depth=depth, induction=False, free_memories=True, solver="z3", timeout=550)


@pytest.mark.parametrize("width", [32, 64])
def test_untagger(tmp_path, width):
    m = Module()
    m.submodules.dut = dut = Untagger(CoreConfig(data_width=width))
    rules(m, [(dut.i,)], [])
    constant_sides(m, dut.i)
    drive(m, dut.o.ready)
    m.submodules.check = StreamContract(EndMasked(m, dut.o))
    prove(m, tmp_path, depth=3)


def constant_sides(m: Module, stream) -> None:
    """Assume that all but ``data`` and ``last`` holds for every beat of a frame."""
    first = Signal(init=1)
    sides = Signal(stream.payload.shape())
    m.d.comb += [sides.eq(stream.payload), sides.data.eq(0), sides.last.eq(0)]
    before = Signal.like(sides.as_value())
    with m.If(stream.valid & stream.ready):
        m.d.sync += [first.eq(stream.payload.last), before.eq(sides)]
    with m.If(stream.valid & ~first):
        m.d.comb += Assume(sides.as_value() == before)


def test_rewriter(tmp_path):
    m = Module()
    m.submodules.dut = dut = Rewriter(CoreConfig(data_width=256))
    rules(m, [(dut.i,), (dut.changes,)], [(dut.o,), (dut.ask,)])
    constant_sides(m, dut.i)
    prove(m, tmp_path, depth=6, induction=False)


@pytest.mark.parametrize("width", [32, 64])
def test_egress(tmp_path, width):
    m = Module()
    config = CoreConfig(data_width=width, routers=3)
    m.submodules.dut = dut = Egress(config)
    drive_table(m, dut.table, config.routers)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3, free_memories=True)


@pytest.mark.parametrize("depth", [3, 5])
def test_ports_of_a_record_fifo_never_meet(tmp_path, depth):
    """Bounded: more cycles than it takes to fill and to wrap round."""
    m = Module()
    m.submodules.dut = dut = RecordFifo(width=4, depth=depth)
    rules(m, [(dut.w_stream,)], [(dut.r_stream,)])
    m.d.comb += Assert(~dut.meet)
    prove(m, tmp_path, depth=3 * depth, induction=False)


@pytest.mark.parametrize("kind", [SyncFIFO, SyncFIFOBuffered, FallThroughFifo])
def test_fifo(tmp_path, kind):
    """Bounded: more cycles than it takes to fill and to wrap round."""
    m = Module()
    if kind is FallThroughFifo:
        m.submodules.dut = dut = FallThroughFifo(data.StructLayout({"item": 4}), depth=3)
        # Its input has no ``ready``: whoever writes keeps count.
        inside = Signal(range(4))
        drive(m, dut.en, dut.data)
        m.d.comb += Assume(~dut.en | (inside != 3))
        m.d.sync += inside.eq(inside + dut.en - (dut.o.valid & dut.o.ready))
        rules(m, [], [(dut.o,)])
    else:
        m.submodules.dut = dut = kind(width=4, depth=3)
        rules(m, [(dut.w_stream,)], [(dut.r_stream,)])
    prove(m, tmp_path, depth=10, induction=False)


def test_frame_buffer(tmp_path):
    m = Module()
    config = small_config(ports=2, routers=2, data_width=16, cell_bytes=4, buffer_bytes=16, queue_frames=2)
    m.submodules.dut = dut = FrameBuffer(config)
    drive(m, dut.underflow, dut.shared_cells)
    for write in (dut.member_write, dut.port_write):
        drive(m, *(getattr(write, name) for name in write.signature.members))
    for table, rows in ((dut.stats, config.all_ports * 8 * 3), (dut.shaper, config.all_ports * 2), (dut.quota, 3)):
        drive_table(m, table, rows)
    outputs = [*dut.o, dut.o_host, dut.event]
    rules(m, [(dut.i,)], [(stream,) for stream in outputs])
    prove(m, tmp_path, depth=3)


def test_membership(tmp_path):
    m = Module()
    m.submodules.dut = dut = Membership(small_config(routers=3, ports=2))
    for write in (dut.write, dut.port_write):
        drive(m, *(getattr(write, name) for name in write.signature.members))
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


def test_replicator(tmp_path):
    m = Module()
    m.submodules.dut = dut = Replicator(small_config(routers=3, ports=2))
    for write in (dut.write, dut.port_write):
        drive(m, *(getattr(write, name) for name in write.signature.members))
    drive(m, dut.done, dut.refused)
    rules(m, [(dut.i,)], [(dut.copy,), (dut.release,), (dut.event,)])
    prove(m, tmp_path, depth=3)


# The host port and the control engine.

@pytest.mark.parametrize("width", [32, 256])
def test_deframer(tmp_path, width):
    m = Module()
    m.submodules.dut = dut = HostDeframer(CoreConfig(data_width=width))
    rules(m, [(dut.i,)], [(dut.o_inject, dut.inject_router, dut.inject_port), (dut.o_request, dut.request),
                          (dut.event,)])
    prove(m, tmp_path, depth=3)


@pytest.mark.parametrize("width", [32, 256])
def test_enframer(tmp_path, width):
    m = Module()
    m.submodules.dut = dut = HostEnframer(CoreConfig(data_width=width))
    drive(m, dut.host_mac)
    rules(m, [(dut.i_punt,), (dut.i_response,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


@pytest.mark.parametrize("width", [32, 256])
def test_encapsulator(tmp_path, width):
    m = Module()
    m.submodules.dut = dut = Encapsulator(CoreConfig(data_width=width))
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


@pytest.mark.parametrize("width", [32, 256])
def test_decapsulator(tmp_path, width):
    m = Module()
    m.submodules.dut = dut = Decapsulator(CoreConfig(data_width=width))
    rules(m, [(dut.i,)], [(dut.o,), (dut.event,)])
    prove(m, tmp_path, depth=3)


@pytest.mark.parametrize("width", [32, 256])
def test_inserter(tmp_path, width):
    m = Module()
    m.submodules.dut = dut = Inserter(CoreConfig(data_width=width), 3)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


def test_port_row(tmp_path):
    m = Module()
    m.submodules.dut = dut = PortRow(small_config(data_width=64))
    drive_table(m, dut.table, 2)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


def test_frame_mux(tmp_path):
    m = Module()
    m.submodules.dut = dut = FrameMux(packet_layout(32))
    rules(m, [(dut.i[0],), (dut.i[1],)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


def test_circuits(tmp_path):
    m = Module()
    m.submodules.dut = dut = Circuits(_WITH_LINKS)
    drive_table(m, dut.table, _WITH_LINKS.circuits)
    rules(m, [(dut.i,)], [(dut.o,), (dut.event,)])
    prove(m, tmp_path, depth=3)


def test_tunnel_end(tmp_path):
    m = Module()
    m.submodules.dut = dut = TunnelEnd(_WITH_LINKS)
    drive(m, dut.seed0, dut.seed1)
    drive_table(m, dut.table, _WITH_LINKS.circuits)
    rules(m, [(dut.i,)], [(dut.o,), (dut.malformed,), (dut.unknown,)])
    prove(m, tmp_path, depth=12)


def test_terminations(tmp_path):
    m = Module()
    m.submodules.dut = dut = Terminations(index_bits=2)
    drive(m, dut.seed0, dut.seed1)
    drive_table(m, dut.table, dut.rows)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=9)      # deeper than a look-up takes, in which nothing is offered


@pytest.mark.parametrize("converter", [WordJoiner, WordSplitter])
@pytest.mark.parametrize("width", [32, 64, 128, 256])
def test_width_converters(tmp_path, converter, width):
    m = Module()
    m.submodules.dut = dut = converter(width)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


@pytest.mark.parametrize("widths", [(32, 64), (64, 32), (64, 256), (256, 64)])
def test_widths_of_frames(tmp_path, widths):
    m = Module()
    m.submodules.dut = dut = FrameWidth(*widths)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


@pytest.mark.parametrize("width", [32, 64])
def test_control_engine(tmp_path, width):
    m = Module()
    config = CoreConfig(data_width=width, routers=2)
    m.submodules.dut = dut = ControlEngine(config, has_board=True)
    tables = tables_of(dut)
    assert len(tables) == 17
    for table in tables:
        drive(m, table.ack, table.r_data)
        with m.If(~table.stb):
            m.d.comb += Assume(~table.ack)
    drive(m, dut.lookup_enter, dut.lookup_leave)
    rules(m, [(dut.i, dut.request)], [(dut.o,)])
    # A table access is held like a stream's beat, and ends with ``ack``.
    for k, table in enumerate(tables):
        m.submodules[f"table_{k}"] = StreamContract(TableAccess(table), stable=[table.write, table.w_data])
    prove(m, tmp_path, depth=4)


# What many of them rely on.

def test_round_robin(tmp_path):
    """Only one that asks is chosen, and someone is, if anyone asks; whoever goes on asking is chosen in time."""
    m = Module()
    m.submodules.dut = dut = RoundRobin(3)
    drive(m, dut.requests, dut.advance)
    watched = Signal(range(3))
    m.d.comb += [
        watched.eq(Const(1)),
        Assert(dut.valid == dut.requests.any()),
        Assert(~dut.valid | dut.requests.bit_select(dut.grant, 1)),
    ]
    waits = Signal(3)
    with m.If(~dut.requests.bit_select(watched, 1) | (dut.grant == watched)):
        m.d.sync += waits.eq(0)
    with m.Elif(dut.advance):
        m.d.sync += waits.eq(waits + 1)
    m.d.comb += Assert(waits < 3)
    prove(m, tmp_path, depth=8, induction=False)
