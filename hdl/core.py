"""The whole data plane behind its ports: everything but the MACs."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .adjacency import AdjacencyLookup
from .arbiter import HeaderArbiter
from .buffer import FrameBuffer
from .config import CoreConfig
from .context import ContextLookup
from .control import ControlEngine
from .counters import Counters
from .deframer import HostDeframer
from .egress import Egress
from .enframer import HostEnframer
from .fib import FibLookup
from .filter import FilterLookup
from .flowhash import FlowHash
from .headertap import HeaderTap
from .hits import HitCounters
from .ingress import Ingress
from .layouts import BOARD_ROWS, ROWS, Register, Table
from .linkengine import LinkEngine
from .lookup import Lookup
from .mactable import MacTable
from .pairing import Pairing
from .parser import Parser
from .pieces import context_pieces
from .policers import Policers
from .records import TableSignature
from .rewrite import Rewriter
from .stream import FrameSignature
from .table import port_index_bits, table_addr_bits
from .verdict import Decide
from .vmac import VmacLookup

__all__ = ["Core", "board_members"]

#: The link engine's sources of events.
_LINK_EVENTS = ("refused", "malformed", "unknown")


def board_members() -> dict[str, wiring.Member]:
    """Ports of the core for the registers of a board."""
    return {
        "board": Out(TableSignature(table_addr_bits(BOARD_ROWS), ROWS[Table.BOARD])),
        "host_alive": Out(1),
        "disable": In(1),
    }


class Core(wiring.Component):
    """Data plane of many virtual routers, as specified in ``docs/dataplane.md``.

    With circuits, the last data port is the link port: what leaves there comes in again, through the link engine.

    A minimum-size IPv4 frame that finds everything idle begins to leave about 120 cycles after its last beat came in,
    half of it for the FIB, whatever its route.

    Parameters
    ----------
    config : CoreConfig
    has_macs : bool
        What the information table says of the ports: MACs, or bare frame streams.
    has_board : bool
        There are registers of a board, outside of the core.

    Attributes
    ----------
    rx, tx : arrays of FrameSignature
        The data ports that have a wire.
    host_rx, host_tx : FrameSignature
        The host port.
    underflow : Signal, in
        One bit for each of them, high for one cycle for each frame that the port's MAC aborted.
    board : TableSignature, out
        With ``has_board``: accesses to the board table.
    host_alive : Signal, out
        With ``has_board``: high for one cycle for each valid frame from the host.
    disable : Signal, in
        With ``has_board``: no router is enabled, whatever its context row says.
    idle : Signal, out
        Nothing moves between the stages. Work inside of a stage lasts less than 256 cycles without showing here, so
        after that many idle cycles, and without new frames, nothing will happen any more.
    """

    def __init__(self, config: CoreConfig, *, has_macs: bool = False, has_board: bool = False) -> None:
        self.config = config
        self.has_macs = has_macs
        self.has_board = has_board
        super().__init__({
            "rx": In(FrameSignature(config)).array(config.wired_ports),
            "tx": Out(FrameSignature(config)).array(config.wired_ports),
            "host_rx": In(FrameSignature(config)),
            "host_tx": Out(FrameSignature(config)),
            "underflow": In(config.wired_ports),
            "idle": Out(1),
            **(board_members() if has_board else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        # Every event source, in the order of the counters' inputs.
        m.submodules.counters = counters = Counters(
            config, inputs=config.wired_ports + 4 + len(_LINK_EVENTS) * (config.circuits > 0))
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

        # From the ports: headers go ahead, bodies wait for their verdicts.
        m.submodules.arbiter = arbiter = HeaderArbiter(config)
        m.submodules.pairing = pairing = Pairing(config)
        for port in range(config.wired_ports):
            m.submodules[f"ingress{port}"] = ingress = Ingress(config)
            connect(m, flipped(self.rx[port]), ingress.i)
            connect(m, ingress.o_header, arbiter.i[port])
            if config.narrow_headers:
                connect(m, ingress.o_beats, arbiter.i_beats[port])
            connect(m, ingress.o_fate, pairing.fate[port])
            connect(m, ingress.o, pairing.body[port])
            count_unrouted(ingress.event, port)
        m.submodules.host_ingress = host_ingress = Ingress(config, host=True)
        m.submodules.deframer = deframer = HostDeframer(config)
        m.submodules.injected = injected = HeaderTap(config)
        connect(m, flipped(self.host_rx), host_ingress.i)
        connect(m, host_ingress.o, deframer.i)
        connect(m, deframer.o_inject, injected.i)
        connect(m, injected.o_header, arbiter.i_host)
        if config.narrow_headers:
            connect(m, injected.o_beats, arbiter.i_host_beats)
        connect(m, injected.o_fate, pairing.fate[config.host_port])
        connect(m, injected.o, pairing.body[config.host_port])
        m.d.comb += [
            injected.i_router.eq(deframer.inject_router),
            injected.i_port.eq(deframer.inject_port),
            arbiter.inject_router.eq(injected.router),
            arbiter.inject_port.eq(injected.port),
            arbiter.released.eq(pairing.released),
        ]
        count_unrouted(host_ingress.event, config.host_port)
        count_unrouted(deframer.event, config.host_port)

        # Look-ups, which change nothing.
        m.submodules.parser = parser = Parser(config)
        m.submodules.vmac = vmac = VmacLookup(config)
        m.submodules.context = context = ContextLookup(config)
        m.submodules.lookup = lookup = Lookup(config)
        m.submodules.fib = fib = FibLookup(config)
        m.submodules.filter = filter_ = FilterLookup(config)
        m.submodules.mac_table = mac_table = MacTable(config)
        m.submodules.flow_hash = flow_hash = FlowHash(config.hash_cycles)
        m.submodules.adjacency = adjacency = AdjacencyLookup(config)
        m.submodules.decide = decide = Decide(config)
        connect(m, arbiter.o, parser.i)
        if config.narrow_headers:
            connect(m, arbiter.o_beats, parser.i_beats)
        connect(m, parser.o, vmac.i)
        connect(m, vmac.o, context.i)
        connect(m, context.o, lookup.i)
        m.d.comb += lookup.i_seed.eq(context.o_seed)
        for engine, request, outcome in (
                (fib, lookup.fib_i, lookup.fib_o), (filter_, lookup.filter_i, lookup.filter_o),
                (mac_table, lookup.mac_i, lookup.mac_o), (flow_hash, lookup.hash_i, lookup.hash_o)):
            connect(m, request, engine.i)
            connect(m, engine.o, outcome)
        connect(m, lookup.o, adjacency.i)
        connect(m, adjacency.o, decide.i)
        connect(m, decide.o, pairing.i)

        # Effects, and the frames' way out.
        m.submodules.hits = hits = HitCounters(config)
        m.submodules.policers = policers = Policers(config)
        m.submodules.rewriter = rewriter = Rewriter(config)
        m.submodules.buffer = buffer = FrameBuffer(config)
        m.submodules.enframer = enframer = HostEnframer(config)
        connect(m, pairing.hit, hits.i)
        connect(m, pairing.police, policers.i)
        connect(m, policers.o, pairing.passed)
        connect(m, pairing.learn, mac_table.learn)
        connect(m, pairing.event, next(event_inputs))
        connect(m, pairing.o, rewriter.i)
        connect(m, rewriter.ask, filter_.changes_i)
        connect(m, filter_.changes_o, rewriter.changes)
        connect(m, rewriter.o, buffer.i)
        connect(m, buffer.event, next(event_inputs))
        m.d.comb += buffer.underflow.eq(self.underflow)
        egress = [Egress(config) for _ in range(config.wired_ports)]
        for port in range(config.wired_ports):
            m.submodules[f"egress{port}"] = egress[port]
            connect(m, buffer.o[port], egress[port].i)
            connect(m, egress[port].o, flipped(self.tx[port]))

        # Control.
        m.submodules.control = control = ControlEngine(config, self.has_macs, self.has_board)
        connect(m, deframer.o_request, control.i)
        connect(m, buffer.o_host, enframer.i_punt)
        connect(m, control.o, enframer.i_response)
        connect(m, enframer.o, flipped(self.host_tx))
        for table, where in (
                (control.vmac, vmac.table), (control.context, context.table), (control.fib, fib.table),
                (control.adjacency, adjacency.table), (control.counter, counters.table), (control.queue, buffer.stats),
                (control.filter, filter_.filter_table), (control.action, filter_.action_table),
                (control.hit, hits.table), (control.policer, policers.table), (control.mac, mac_table.table),
                (control.shaper, buffer.shaper), (control.quota, buffer.quota)):
            connect(m, table, where)
        if context_pieces(config):
            connect(m, context.piece, control.context_piece)
        if self.has_board:
            connect(m, control.board, flipped(self.board))
            m.d.comb += [
                self.host_alive.eq(deframer.accepted),
                context.disable.eq(self.disable),
                buffer.disable.eq(self.disable),
            ]
        port_rows = [stage.table for stage in egress]

        # The link port.
        link_moving = []
        if config.circuits:
            link_port = config.link_port
            m.submodules.links = links = LinkEngine(config)
            m.submodules.entry = entry = HeaderTap(config)
            connect(m, buffer.o[link_port], links.i)
            connect(m, entry.o_header, arbiter.i[link_port])
            if config.narrow_headers:
                connect(m, entry.o_beats, arbiter.i_beats[link_port])
            connect(m, entry.o_fate, pairing.fate[link_port])
            connect(m, entry.o, pairing.body[link_port])
            connect(m, control.link, links.link)
            connect(m, control.termination, links.termination)
            m.d.comb += [
                # The tap takes two fields along beside the header: here whether a router is given, and which.
                entry.i.valid.eq(links.o.valid),
                links.o.ready.eq(entry.i.ready),
                *(entry.i.payload[name].eq(links.o.payload[name]) for name in ("data", "last", "length")),
                entry.i_router.eq(links.o.payload.router),
                entry.i_port.eq(links.o.payload.given),
                arbiter.given.eq(entry.port[0]),
                arbiter.given_router.eq(entry.router),
                links.seed0.eq(control.registers[Register.HASH_SEED_0]),
                links.seed1.eq(control.registers[Register.HASH_SEED_1]),
            ]
            for name in _LINK_EVENTS:
                source, sink = getattr(links, name), next(event_inputs)
                m.d.comb += [
                    sink.valid.eq(source.valid),
                    source.ready.eq(sink.ready),
                    sink.payload.router.eq(source.payload.router),
                    sink.payload.port.eq(link_port),
                    sink.payload.reason.eq(source.payload.reason),
                ]
            port_rows.append(links.port)
            link_moving = [links.busy, links.o.valid]
        self._connect_ports(m, control.port, port_rows)
        connect(m, control.member_write, buffer.member_write)
        connect(m, control.port_write, buffer.port_write)
        m.d.comb += [
            enframer.host_mac.eq(deframer.host_mac),
            control.request.eq(deframer.request),
            vmac.seed0.eq(control.registers[Register.HASH_SEED_0]),
            vmac.seed1.eq(control.registers[Register.HASH_SEED_1]),
            mac_table.age_cycles.eq(control.registers[Register.MAC_AGE_CYCLES]),
            buffer.shared_cells.eq(control.registers[Register.SHARED_CELLS]),
        ]
        # A cycle late, as readiness goes a long way here. What a fence is to hide was written further ago.
        m.d.sync += [
            control.lookup_enter.eq(arbiter.o.valid & arbiter.o.ready),
            control.lookup_leave.eq(pairing.released.any()),
        ]

        moving = [
            *self.rx, self.host_rx, *self.tx, self.host_tx, arbiter.o, parser.o, vmac.o, context.o, lookup.o,
            adjacency.o, decide.o, pairing.o, rewriter.o, *buffer.o, buffer.o_host, deframer.o_inject,
            deframer.o_request, control.o, *pairing.body,
        ]
        busy = Cat(*(stream.valid for stream in moving), *link_moving).any() | control.busy | buffer.busy
        m.d.sync += self.idle.eq(~busy)
        return m

    def _connect_ports(self, m: Module, table, rows) -> None:
        """The PORT table: row ``router << port_index_bits | port`` is in the egress of that port."""
        bits = port_index_bits(self.config)
        for port, own in enumerate(rows):
            mine = table.addr[:bits] == port
            m.d.comb += [
                own.stb.eq(table.stb & mine),
                own.write.eq(table.write),
                own.addr.eq(table.addr[bits:]),
                own.w_data.eq(table.w_data),
            ]
            with m.If(mine):
                m.d.comb += [table.ack.eq(own.ack), table.r_data.eq(own.r_data)]
