"""Every output of the buffer, the host port and the control engine keeps the rules of streams, if its inputs do."""

import pytest
from amaranth.hdl import Assume, Module, Value
from polyrouter.hdl.buffer import FrameBuffer
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.control import ControlEngine
from polyrouter.hdl.deframer import HostDeframer
from polyrouter.hdl.enframer import HostEnframer
from polyrouter.hdl.membership import Membership
from polyrouter.hdl.words import WordJoiner, WordSplitter

from .contract import StreamContract
from .runner import AnySeq, prove
from .small import small_config


def drive(m: Module, value) -> None:
    """Let the solver choose an input."""
    value = Value.cast(value)
    m.d.comb += value.eq(AnySeq(len(value)))


def rules(m: Module, inputs, outputs) -> None:
    """Assume the rules of the inputs, check them of the outputs; streams may come with sideband signals."""
    for k, (stream, *side) in enumerate(inputs):
        for signal in (stream.valid, stream.payload, *side):
            drive(m, signal)
        m.submodules[f"assume_{k}"] = StreamContract(stream, assume=True, stable=side)
    for k, (stream, *side) in enumerate(outputs):
        drive(m, stream.ready)
        m.submodules[f"check_{k}"] = StreamContract(stream, stable=side)


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


@pytest.mark.parametrize("converter", [WordJoiner, WordSplitter])
@pytest.mark.parametrize("width", [32, 64, 128, 256])
def test_width_converters(tmp_path, converter, width):
    m = Module()
    m.submodules.dut = dut = converter(width)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


@pytest.mark.parametrize("width", [32, 64])
def test_control_engine(tmp_path, width):
    m = Module()
    config = CoreConfig(data_width=width, routers=2)
    m.submodules.dut = dut = ControlEngine(config)
    tables = (dut.vmac, dut.context, dut.port, dut.fib, dut.adjacency, dut.counter, dut.queue)
    for table in tables:
        drive(m, table.ack)
        drive(m, table.r_data)
        with m.If(~table.stb):
            m.d.comb += Assume(~table.ack)
    drive(m, dut.lookup_enter)
    drive(m, dut.lookup_leave)
    rules(m, [(dut.i, dut.request)], [(dut.o,)])
    # A table access is held like a stream's beat, and ends with ``ack``.
    for k, table in enumerate(tables):
        m.submodules[f"table_{k}"] = StreamContract(TableAccess(table), stable=[table.write, table.w_data])
    prove(m, tmp_path, depth=4)


class TableAccess:
    """A table's access, seen as a stream."""

    def __init__(self, table):
        self.valid, self.ready, self.payload = table.stb, table.ack, table.addr


def test_membership(tmp_path):
    m = Module()
    m.submodules.dut = dut = Membership(small_config(routers=3, ports=2))
    drive(m, dut.write.en)
    drive(m, dut.write.addr)
    drive(m, dut.write.data)
    rules(m, [(dut.i,)], [(dut.o,)])
    prove(m, tmp_path, depth=3)


def test_frame_buffer(tmp_path):
    m = Module()
    m.submodules.dut = dut = FrameBuffer(small_config(
        ports=2, routers=2, data_width=16, cell_bytes=4, buffer_bytes=16, queue_frames=2))
    for signal in (dut.underflow, dut.stats.stb, dut.stats.addr, dut.member_write.en, dut.member_write.addr,
                   dut.member_write.data):
        drive(m, signal)
    rules(m, [(dut.i,)], [(dut.o[0],), (dut.o[1],), (dut.o_host,), (dut.event,)])
    prove(m, tmp_path, depth=3)
