"""Clocks that have nothing to do with each other, in proofs whose tool knows only one."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from amaranth.hdl import (
    Array,
    Const,
    DomainRenamer,
    Elaboratable,
    EnableInserter,
    Fragment,
    Module,
    Mux,
    ResetInserter,
    Signal,
    Value,
)

from .runner import AnySeq

__all__ = ["Clocks", "Design", "Synchronizer"]


class Synchronizer(NamedTuple):
    """What a lemma may need of an ``FFSynchronizer``: its input, and its stages, the last of which is the output."""

    i: Value
    stages: tuple[Signal, ...]


class Clocks(Elaboratable):
    """Domains whose clocks have edges when the solver likes: in each step of a proof any of them, all or none.

    So every ratio, drift and jitter is tried, and clocks that stand still. :meth:`attach` makes a design for them, as
    the platform that it is elaborated for. What crosses between clocks is replaced by models of the worst that it does:

    - ``FFSynchronizer``: of the bits that change just when the first stage samples them, each is taken over or not.
      This is metastability that is over when the second stage samples, and wires whose delays differ by less than a
      cycle. The input has to come from a register.
    - ``AsyncFFSynchronizer``: at an edge just when the input falls, the first stage falls or not.
    - ``Memory``, written by one clock and read by another: what is read just when it is written is anything.

    Parameters
    ----------
    *names : str
        Domains.
    **resets : Signal
        Resets of domains that have one; what they reset follows at the next edge of the domain.

    Attributes
    ----------
    tick : dict of Signal
        High in the steps in which the clock of that domain has an edge.
    synchronizers : list of Synchronizer
        Of each ``FFSynchronizer``.
    held : list of tuple of Signal
        Stages of each ``AsyncFFSynchronizer``.
    memories : list of Array
        Rows of each memory.
    """

    def __init__(self, *names: str, **resets: Signal):
        self.tick = {name: Signal(name=f"{name}_tick") for name in names}
        self.held: list[tuple[Signal, ...]] = []
        self.memories: list[Array] = []
        self.synchronizers: list[Synchronizer] = []
        self._resets = resets

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [tick.eq(AnySeq(1)) for tick in self.tick.values()]
        return m

    def attach(self, design: Elaboratable) -> "Design":
        """The design with these clocks, as a submodule for a harness. Its domains must be among them."""
        fragment = Fragment.get(design, self)
        # A reset waits for the edge, too. The registers of the models are in "step", which nothing stops.
        clocked = EnableInserter(self.tick)(ResetInserter(self._resets)(fragment))
        return Design(fragment, DomainRenamer({name: "sync" for name in {"step", *self.tick} - {"sync"}})(clocked))

    def synchronizer(self, i: Signal) -> Synchronizer:
        """The one that takes a signal to another clock."""
        found, = (synchronizer for synchronizer in self.synchronizers if synchronizer.i is i)
        return found

    # The methods that Amaranth knows platforms by

    def get_ff_sync(self, ff) -> Module:
        m = Module()
        stages = tuple(Signal(len(ff.i), name=f"stage{number}", init=ff._init, reset_less=True)
                       for number in range(ff._stages))
        before, sampled, kept, late = Signal(len(ff.i)), Signal(), Signal(len(ff.i), init=ff._init), Signal(len(ff.i))
        m.d.step += [before.eq(ff.i), sampled.eq(self.tick[ff._o_domain]), kept.eq(stages[0])]
        m.d.comb += [
            late.eq(AnySeq(len(ff.i))),
            # Chosen in the step behind the edge, when it is known what the input has become
            stages[0].eq(Mux(sampled, (before & late) | (ff.i & ~late), kept)),
            ff.o.eq(stages[-1]),
        ]
        m.d[ff._o_domain] += [after.eq(stage) for stage, after in pairwise(stages)]
        self.synchronizers.append(Synchronizer(ff.i, stages))
        return m

    def get_async_ff_sync(self, ff) -> Module:
        m = Module()
        tick = self.tick[ff._o_domain]
        # Of the two kinds of input that there are, a domain's reset is not known to the design.
        i = self._resets.get(ff.i.domain, Const(0)) if hasattr(ff.i, "domain") else ff.i
        stages = tuple(Signal(name=f"stage{number}", init=1) for number in range(ff._stages))
        kept = tuple(Signal(name=f"kept{number}", init=1) for number in range(ff._stages))
        before, sampled = Signal(), Signal()
        m.d.step += [before.eq(i), sampled.eq(tick)]
        m.d.step += [register.eq(Mux(tick, source, stage))
                     for register, source, stage in zip(kept, (Const(0), *stages), stages, strict=False)]
        m.d.comb += [stage.eq(i | register) for stage, register in zip(stages[1:], kept[1:], strict=True)]
        m.d.comb += [
            stages[0].eq(i | (kept[0] & ~(before & sampled & AnySeq(1)))),
            ff.o.eq(stages[-1]),
        ]
        self.held.append(stages)
        return m

    def get_memory(self, memory) -> Module:
        m = Module()
        (write,), (read,) = memory.write_ports, memory.read_ports
        data = Value.cast(read.data)
        rows = Array(Signal(len(data), name=f"row{number}", reset_less=True) for number in range(memory.depth))
        meet = self.tick[write.domain] & write.en & (write.addr == read.addr)
        with m.If(write.en):
            m.d[write.domain] += rows[write.addr].eq(write.data)
        with m.If(read.en):
            m.d[read.domain] += data.eq(Mux(meet, AnySeq(len(data)), rows[read.addr]))
        self.memories.append(rows)
        return m


class Design(Elaboratable):
    """A design with its clocks."""

    def __init__(self, fragment: Fragment, clocked: Fragment):
        self._fragment, self._clocked = fragment, clocked

    def elaborate(self, platform):
        return self._clocked

    def signals(self, *path: str) -> dict[str, Signal]:
        """By its name, each signal that the design, or a submodule of it, drives: for lemmas about what is not ours."""
        return {signal.name: signal for domain in self._part(path).statements for signal in self.driven(domain, *path)}

    def driven(self, domain: str, *path: str) -> list[Signal]:
        """What is driven there in a domain: for lemmas about what has no name that is sure."""
        found = [signal for statement in self._part(path).statements[domain] for signal in statement._lhs_signals()]
        return list({id(signal): signal for signal in found}.values())

    def _part(self, path: Sequence[str]) -> Fragment:
        fragment = self._fragment
        for name in path:
            fragment = fragment.find_subfragment(name)
        return fragment
