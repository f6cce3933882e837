"""The whole data plane behind its ports: everything but the MACs."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .adjacency import AdjacencyLookup
from .arbiter import Arbiter
from .buffer import FrameBuffer
from .config import CoreConfig
from .context import ContextLookup
from .control import ControlEngine
from .counters import Counters
from .deframer import HostDeframer
from .enframer import HostEnframer
from .fib import FibLookup
from .ingress import Ingress
from .parser import Parser
from .rewrite import Rewriter
from .stream import FrameSignature
from .verdict import Decide
from .vmac import VmacLookup

__all__ = ["Core"]


class Core(wiring.Component):
    """Data plane of many virtual routers, as specified in ``docs/dataplane.md``.

    A minimum-size IPv4 frame that finds everything idle begins to leave about 120 cycles after its last beat came in,
    half of it for the FIB, whatever its route.

    Parameters
    ----------
    config : CoreConfig
    has_macs : bool
        What the information table says of the ports: MACs, or bare frame streams.

    Attributes
    ----------
    rx, tx : arrays of FrameSignature
        The data ports.
    host_rx, host_tx : FrameSignature
        The host port.
    underflow : Signal, in
        One bit a data port, high for one cycle for each frame that the port's MAC aborted.
    idle : Signal, out
        Nothing moves between the stages. Work inside of a stage lasts less than 256 cycles without showing here, so
        after that many idle cycles, and without new frames, nothing will happen any more.
    """

    def __init__(self, config: CoreConfig, *, has_macs: bool = False) -> None:
        self.config = config
        self.has_macs = has_macs
        super().__init__({
            "rx": In(FrameSignature(config)).array(config.ports),
            "tx": Out(FrameSignature(config)).array(config.ports),
            "host_rx": In(FrameSignature(config)),
            "host_tx": Out(FrameSignature(config)),
            "underflow": In(config.ports),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        # Every event source, in the order of the counters' inputs.
        m.submodules.counters = counters = Counters(config, inputs=config.ports + 4)
        event_inputs = iter(counters.i)

        def count_unrouted(source, port: int) -> None:
            """Count a stage's reasons under router "none"."""
            sink = next(event_inputs)
            m.d.comb += [
                sink.valid.eq(source.valid),
                sink.payload.router.eq(config.no_router),
                sink.payload.port.eq(port),
                sink.payload.reason.eq(source.payload),
                source.ready.eq(sink.ready),
            ]

        m.submodules.arbiter = arbiter = Arbiter(config)
        for port in range(config.ports):
            m.submodules[f"ingress{port}"] = ingress = Ingress(config)
            connect(m, flipped(self.rx[port]), ingress.i)
            connect(m, ingress.o, arbiter.i[port])
            count_unrouted(ingress.event, port)
        m.submodules.host_ingress = host_ingress = Ingress(config, host=True)
        m.submodules.deframer = deframer = HostDeframer(config)
        connect(m, flipped(self.host_rx), host_ingress.i)
        connect(m, host_ingress.o, deframer.i)
        connect(m, deframer.o_inject, arbiter.i_host)
        m.d.comb += [
            arbiter.inject_router.eq(deframer.inject_router),
            arbiter.inject_port.eq(deframer.inject_port),
        ]
        count_unrouted(host_ingress.event, config.host_port)
        count_unrouted(deframer.event, config.host_port)

        m.submodules.parser = parser = Parser(config)
        m.submodules.vmac = vmac = VmacLookup(config)
        m.submodules.context = context = ContextLookup(config)
        m.submodules.fib = fib = FibLookup(config)
        m.submodules.adjacency = adjacency = AdjacencyLookup(config)
        m.submodules.decide = decide = Decide(config)
        m.submodules.rewriter = rewriter = Rewriter(config)
        m.submodules.buffer = buffer = FrameBuffer(config)
        connect(m, arbiter.o, parser.i)
        m.d.comb += parser.i_tag.eq(arbiter.tag)
        connect(m, parser.o, vmac.i)
        connect(m, vmac.o, context.i)
        connect(m, context.o, fib.i)
        connect(m, fib.o, adjacency.i)
        connect(m, adjacency.o, decide.i)
        connect(m, decide.o, rewriter.verdict)
        connect(m, parser.body, rewriter.body)
        connect(m, rewriter.o, buffer.i)
        connect(m, rewriter.event, next(event_inputs))
        connect(m, buffer.event, next(event_inputs))
        m.d.comb += buffer.underflow.eq(self.underflow)

        m.submodules.control = control = ControlEngine(config, has_macs=self.has_macs)
        m.submodules.enframer = enframer = HostEnframer(config)
        connect(m, deframer.o_request, control.i)
        connect(m, buffer.o_host, enframer.i_punt)
        connect(m, control.o, enframer.i_response)
        connect(m, enframer.o, flipped(self.host_tx))
        connect(m, control.vmac, vmac.table)
        connect(m, control.context, context.table)
        connect(m, control.port, adjacency.port_table)
        connect(m, control.fib, fib.table)
        connect(m, control.adjacency, adjacency.table)
        connect(m, control.counter, counters.table)
        connect(m, control.queue, buffer.stats)
        connect(m, control.member_write, buffer.member_write)
        m.d.comb += [
            enframer.host_mac.eq(deframer.host_mac),
            control.request.eq(deframer.request),
            vmac.seed0.eq(control.seed0),
            vmac.seed1.eq(control.seed1),
            control.lookup_enter.eq(parser.o.valid & parser.o.ready),
            control.lookup_leave.eq(adjacency.o.valid & adjacency.o.ready),
        ]

        for port in range(config.ports):
            connect(m, buffer.o[port], flipped(self.tx[port]))

        moving = [
            *self.rx, self.host_rx, *self.tx, self.host_tx, arbiter.o, parser.o, parser.body, vmac.o, context.o, fib.o,
            adjacency.o, decide.o, rewriter.o, buffer.o_host, deframer.o_inject, deframer.o_request, control.o,
        ]
        busy = Cat(stream.valid for stream in moving) | control.busy | buffer.busy
        m.d.sync += self.idle.eq(busy == 0)
        return m
