"""Parts of the core that can be placed and routed by themselves."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.hdl.adjacency import AdjacencyLookup
from polyrouter.hdl.arbiter import HeaderArbiter
from polyrouter.hdl.buffer import FrameBuffer
from polyrouter.hdl.circuits import Circuits
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.context import ContextLookup
from polyrouter.hdl.control import ControlEngine
from polyrouter.hdl.core import Core
from polyrouter.hdl.counters import Counters
from polyrouter.hdl.decapsulate import Decapsulator
from polyrouter.hdl.deframer import HostDeframer
from polyrouter.hdl.egress import Egress
from polyrouter.hdl.encapsulate import Encapsulator
from polyrouter.hdl.enframer import HostEnframer
from polyrouter.hdl.fib import FibLookup
from polyrouter.hdl.filter import FilterLookup
from polyrouter.hdl.flowhash import FlowHash
from polyrouter.hdl.headertap import HeaderTap
from polyrouter.hdl.hits import HitCounters
from polyrouter.hdl.ingress import Ingress
from polyrouter.hdl.linkengine import LinkEngine
from polyrouter.hdl.lookup import Lookup
from polyrouter.hdl.mactable import MacTable
from polyrouter.hdl.pairing import Pairing
from polyrouter.hdl.parser import Parser
from polyrouter.hdl.policers import Policers
from polyrouter.hdl.records import META
from polyrouter.hdl.rewrite import Rewriter
from polyrouter.hdl.stream import FrameSignature
from polyrouter.hdl.terminations import Terminations
from polyrouter.hdl.verdict import Decide
from polyrouter.hdl.vmac import VmacLookup
from polyrouter.sim.dataplane.script import BenchError

__all__ = ["CORE", "PARTS", "Front", "check_parts"]

#: A table of 1,024 rows.
_TERMINATION_BITS = 8
#: The part that is all of it.
CORE = "core"


class Front(wiring.Component):
    """The stages ahead of the look-ups, and pairing behind them, connected as in the core.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    rx : array of FrameSignature
        The data ports.
    refused : array of streams
        Their ingresses' events.
    inject, inject_router, inject_port
        What :class:`.headertap.HeaderTap` takes.
    record : stream of META
        The parser's records; the other members are pairing's.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self._ingress = [Ingress(config) for _ in range(config.ports)]
        self._tap = HeaderTap(config)
        self._arbiter = HeaderArbiter(config)
        self._parser = Parser(config)
        self._pairing = Pairing(config)
        #: What pairing has besides frames and fates.
        self._passed_on = [name for name in self._pairing.signature.members if name not in ("fate", "body", "released")]
        tap = self._tap.signature.members
        super().__init__({
            "rx": In(FrameSignature(config)).array(config.ports),
            "refused": Out(self._ingress[0].signature.members["event"].signature).array(config.ports),
            "inject": tap["i"],
            "inject_router": tap["i_router"],
            "inject_port": tap["i_port"],
            "record": Out(stream.Signature(META)),
            **{name: self._pairing.signature.members[name] for name in self._passed_on},
        })

    def elaborate(self, platform):
        m = Module()
        tap, arbiter, pairing = self._tap, self._arbiter, self._pairing
        m.submodules.tap, m.submodules.arbiter, m.submodules.pairing = tap, arbiter, pairing
        m.submodules.parser = self._parser
        for port, stage in enumerate([*self._ingress, tap]):
            connect(m, stage.o_header, arbiter.i_host if stage is tap else arbiter.i[port])
            connect(m, stage.o_fate, pairing.fate[port])
            connect(m, stage.o, pairing.body[port])
            if self._config.narrow_headers:
                connect(m, stage.o_beats, arbiter.i_host_beats if stage is tap else arbiter.i_beats[port])
        for port, ingress in enumerate(self._ingress):
            m.submodules[f"ingress{port}"] = ingress
            connect(m, flipped(self.rx[port]), ingress.i)
            connect(m, ingress.event, flipped(self.refused[port]))
        connect(m, flipped(self.inject), tap.i)
        connect(m, arbiter.o, self._parser.i)
        if self._config.narrow_headers:
            connect(m, arbiter.o_beats, self._parser.i_beats)
        connect(m, self._parser.o, flipped(self.record))
        for name in self._passed_on:
            connect(m, getattr(pairing, name), flipped(getattr(self, name)))
        m.d.comb += [
            tap.i_router.eq(self.inject_router),
            tap.i_port.eq(self.inject_port),
            arbiter.inject_router.eq(tap.router),
            arbiter.inject_port.eq(tap.port),
            arbiter.released.eq(pairing.released),
        ]
        return m


def _with_links(config: CoreConfig) -> CoreConfig:
    """The same core, with a link port and as many circuits as ``terminations`` has rows."""
    if config.circuits:
        return config
    return replace(config, ports=config.ports + 1, circuits=4 << _TERMINATION_BITS)


#: How each is made; what is measured by default is all of them.
PARTS: dict[str, Callable[[CoreConfig], wiring.Component]] = {
    "front": Front,
    "ingress": Ingress,
    "arbiter": HeaderArbiter,
    "parser": Parser,
    "vmac": VmacLookup,
    "context": ContextLookup,
    "lookup": Lookup,
    "fib": FibLookup,
    "filter": FilterLookup,
    "mactable": MacTable,
    "flowhash": lambda config: FlowHash(config.hash_cycles),
    "adjacency": AdjacencyLookup,
    "decide": Decide,
    "pairing": Pairing,
    "hits": HitCounters,
    "policers": Policers,
    "rewriter": Rewriter,
    "buffer": FrameBuffer,
    "egress": Egress,
    "encapsulator": Encapsulator,
    "decapsulator": Decapsulator,
    "terminations": lambda _: Terminations(_TERMINATION_BITS),
    "circuits": lambda config: Circuits(_with_links(config)),
    "links": lambda config: LinkEngine(_with_links(config)),
    "deframer": HostDeframer,
    "headertap": HeaderTap,
    "enframer": HostEnframer,
    "control": ControlEngine,
    "counters": lambda config: Counters(config, inputs=config.ports + 4),
    CORE: Core,
}


def check_parts(names: Iterable[str]) -> None:
    """Refuse what is not in ``PARTS``.

    Raises
    ------
    BenchError
        With the names that there are.
    """
    for name in names:
        if name not in PARTS:
            raise BenchError(f"there is no part {name!r}; there are: {', '.join(PARTS)}")
