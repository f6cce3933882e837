"""Random updates of a scenario's tables in steps, and which frames are treated alike at every moment of a step.

A router is replaced in four steps: it is taken out, its rows are written, its VMAC-VE entries are exchanged, it is put
back. A single row is a step by itself, and so are entries that only move.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ACTION_ROW,
    TERMINATION_KEY,
    VMAC_KEY_BITS,
    AdjacencyKind,
    Role,
    RouterMode,
    Table,
    pack,
)

from .frames import RxFrame
from .golden import EndlessError, GoldenModel, Output
from .golden_packet import Frame
from .golden_tables import termination_key, vmac_key
from .hash_tables import VmacEntry, VmacTable
from .link_tables import link_write
from .random_filter import random_action
from .random_links import other_link
from .random_tables import random_router, share_of
from .tablegen import RouterSetup, RowWrite, Scenario, adjacency_row, peer_mac

__all__ = ["MOST_PASSES", "Fates", "Step", "entries_of", "exchange_entries", "fate", "meets", "move_entries", "one_row",
           "replace"]

#: Draws of a router until its VMAC-VE entries fit.
MOST_DRAWS = 20
#: Entries that one update moves.
MOST_MOVED = 6
#: Passes that a frame may make, so that its copies do not fill a queue at the link port.
MOST_PASSES = 24
#: Windows that may reach into another router's.
OVERLAPPING = ("filter", "policer", "mac")


class Step(NamedTuple):
    """Rows that are written one after the other, while frames flow.

    A frame may be sent meanwhile if it meets none of the ``keys`` and, with ``compare``, its fate is the same before
    and after. That is so for all of its passes, if it goes through the link port. An injected frame is first looked up
    by its router's context alone, which only steps with ``compare`` change.
    """

    writes: list[RowWrite]
    routers: frozenset[int]         # none of their frames may wait anywhere when the step begins
    keys: frozenset[int] = frozenset()
    compare: bool = False


def entries_of(*setups: RouterSetup) -> frozenset[VmacEntry]:
    """VMAC-VE entries of routers."""
    return frozenset(entry for setup in setups for entry in setup.entries())


def _keys(*setups: RouterSetup) -> frozenset[int]:
    return frozenset({*(entry.key for entry in entries_of(*setups)), *(_given_key(setup.number) for setup in setups)})


def _given_key(router: int) -> int:
    """What stands for the entry that a packet given to a router needs not have."""
    return 1 << VMAC_KEY_BITS | router


def meets(passes: Iterable[Frame]) -> frozenset[int]:
    """Keys of the VMAC-VE entries that decide about a frame on its way, if they are there."""
    keys = set()
    for frame in passes:
        keys |= {vmac_key(frame.dmac, frame.port, Role.OWN, frame.vid),
                 vmac_key(frame.smac, frame.port, Role.PEER, frame.vid),
                 vmac_key(0, frame.port, Role.SEGMENT, frame.vid)}
        if frame.given is not None:
            keys.add(_given_key(frame.given))
    return frozenset(keys)


# Entries

def _vmac_write(row: int, entry: VmacEntry | None) -> RowWrite:
    return RowWrite(Table.VMAC, 0, row, 0 if entry is None else entry.row)


def _path_to_free(vmac: VmacTable, key: int) -> list[int]:
    """Rows from one that the key may be in to a free one, each a place for what is in the row before: the shortest.

    Raises
    ------
    OverflowError
        If there is none.
    """
    paths = [[row] for row in vmac.candidates(key)]
    seen = {path[0] for path in paths}
    for path in paths:
        slot = vmac.slots.get(path[-1])
        if slot is None:
            return path
        for row in vmac.candidates(slot.key):
            if row not in seen:
                seen.add(row)
                paths.append([*path, row])
    raise OverflowError("no path to a free slot")


def exchange_entries(vmac: VmacTable, old: Iterable[VmacEntry], new: Iterable[VmacEntry]) -> list[RowWrite]:
    """Take entries out and put new ones in; what moves is always in some row.

    Raises
    ------
    OverflowError
        If there is no place; ``vmac`` has then changed for nothing.
    """
    old, new, writes = set(old), set(new), []
    for row, entry in sorted(vmac.slots.items()):
        if entry in old - new:
            del vmac.slots[row]
            writes.append(_vmac_write(row, None))
    for entry in sorted(new - old):
        path = _path_to_free(vmac, entry.key)
        # From the free end, so that a copy is there before the original goes
        for row, before in zip(path[:0:-1], path[-2::-1], strict=True):
            vmac.slots[row] = vmac.slots[before]
            writes.append(_vmac_write(row, vmac.slots[row]))
        vmac.slots[path[0]] = entry
        writes.append(_vmac_write(path[0], entry))
    return writes


# Updates

def _windows(context: dict[str, int]) -> list[range]:
    return [range(context[f"{name}_base"], context[f"{name}_base"] + context[f"{name}_size"]) for name in OVERLAPPING]


def _reach_into(setup: RouterSetup, contexts: list[dict[str, int]]) -> bool:
    """Whether a router's windows have a row that is in one of the others' windows."""
    return any(max(mine.start, other.start) < min(mine.stop, other.stop) for context in contexts
               for mine, other in zip(_windows(setup.context), _windows(context), strict=True))


def _mode(rng: Random, others: list[RouterSetup]) -> int:
    """Often one that no other router has."""
    missing = set(RouterMode) - {setup.mode for setup in others}
    if missing and rng.random() < 0.7:
        return int(rng.choice(sorted(missing)))
    return int(rng.choice((RouterMode.ROUTED, *RouterMode)))


def replace(scenario: Scenario, rng: Random, numbers: list[int]) -> list[Step]:
    """Replace routers by others that are drawn anew, which have each other's windows in turn.

    The scenario is as it is after the last step.
    """
    config = scenario.config
    others = [setup for setup in scenario.routers if setup.number not in numbers]
    old = [scenario.routers[number] for number in numbers]
    shares = [share_of(config, setup.context) for setup in old]
    slots = scenario.vmac.slots
    for _ in range(MOST_DRAWS):
        owned = {pair for setup in others for pair in setup.segments}
        drawn = [random_router(config, rng, number, _mode(rng, others), share=share, owned=owned,
                               links=scenario.links)
                 for number, share in zip(numbers, (*shares[1:], shares[0]), strict=True)]
        scenario.vmac.slots = dict(slots)
        try:
            entries = exchange_entries(scenario.vmac, entries_of(*old), entries_of(*(one.setup for one in drawn)))
        except OverflowError:
            continue
        break
    else:
        scenario.vmac.slots = slots
        raise OverflowError(f"no place for the entries of {MOST_DRAWS} draws of routers {numbers}")
    for router in drawn:
        scenario.routers[router.setup.number] = router.setup
    who = frozenset(numbers)
    off = [RouterSetup(setup.number, {**setup.context, "enable": 0}).context_write() for setup in old]
    rows = [write for router in drawn for write in router.rows(config, enable=0)]
    contexts = [context for setup, router in zip(old, drawn, strict=True)
                for context in (setup.context, router.whole, router.setup.context)]
    neighbours = _keys(*(setup for setup in others if _reach_into(setup, contexts)))
    on = [router.setup.context_write() for router in drawn]
    return [Step(off, who, compare=True), Step(rows, who, neighbours),
            Step(entries, who, _keys(*old, *(router.setup for router in drawn))), Step(on, who, compare=True)]


def move_entries(scenario: Scenario, rng: Random) -> list[Step]:
    """Move some VMAC-VE entries to other rows, which no frame may notice."""
    slots, writes = scenario.vmac.slots, []
    for row, entry in rng.sample(sorted(slots.items()), min(MOST_MOVED, len(slots))):
        free = [other for other in scenario.vmac.candidates(entry.key) if other not in slots]
        if free:
            place = rng.choice(free)
            slots[place] = slots.pop(row)
            writes += [_vmac_write(place, entry), _vmac_write(row, None)]
    return [Step(writes, frozenset())] if writes else []


def one_row(scenario: Scenario, rng: Random) -> list[Step]:
    """Write one row of a router that stays where it is: a next hop, an action, or its ports."""
    setup = rng.choice(scenario.routers)
    config, number = scenario.config, setup.number
    choices: list[Callable[[], RowWrite]] = [lambda: _other_ports(config, rng, setup)]
    if setup.context["adj_size"]:
        choices.append(lambda: _other_adjacency(config, rng, setup))
    rules = min(len(setup.rules), setup.context["filter_size"], config.filter_rules - setup.context["filter_base"])
    if rules > 0:
        row = rng.randrange(rules)
        choices += [lambda: _other_action(config, rng, setup, row), lambda: _other_rule(setup, row)]
    if scenario.links.links and rng.random() < 0.3:
        return [_other_circuit(scenario, rng)]
    return [Step([rng.choice(choices)()], frozenset({number}), compare=True)]


def _other_circuit(scenario: Scenario, rng: Random) -> Step:
    """Another row of a circuit, or another circuit for a tunnel that ends here."""
    links, ends = scenario.links, scenario.links.ends
    if ends and rng.random() < 0.3:
        key = rng.choice(sorted(ends))
        ends[key] = rng.choice(sorted(links.links))
        table = links.terminations(scenario.config, scenario.vmac.seeds)
        write = next(write for write in table.writes() if write.value & (1 << TERMINATION_KEY.size) - 1
                     == termination_key(*key))
        return Step([write], frozenset({key[0]}), compare=True)
    circuit = rng.choice(sorted(links.links))
    before = links.links[circuit]
    links.links[circuit] = after = other_link(scenario.config, rng, before)
    routers = {before["router"], after["router"], links.takers.get(circuit, before["router"])}
    return Step([link_write(circuit, **after)], frozenset(routers), compare=True)


def _other_ports(config: CoreConfig, rng: Random, setup: RouterSetup) -> RowWrite:
    everywhere = (1 << config.ports) - 1
    setup.context |= {"ports": rng.randint(1, everywhere), "group": rng.randint(0, everywhere)}
    return setup.context_write()


def _other_adjacency(config: CoreConfig, rng: Random, setup: RouterSetup) -> RowWrite:
    row, port = rng.randrange(min(setup.context["adj_size"], len(setup.adjacencies))), rng.randrange(config.ports)
    vid = rng.choice([0, *setup.circuits.get(port, [])])
    kind = rng.choice((AdjacencyKind.FORWARD, AdjacencyKind.FORWARD, AdjacencyKind.UNRESOLVED, AdjacencyKind.LOCAL))
    setup.adjacencies[row] = adjacency_row(kind, port, peer_mac(setup.number, port, rng.randrange(256)), vid=vid)
    return RowWrite(Table.ADJACENCY, setup.number, row, setup.adjacencies[row])


def _other_action(config: CoreConfig, rng: Random, setup: RouterSetup, row: int) -> RowWrite:
    setup.rules[row].action = random_action(config, rng, setup)
    return RowWrite(Table.ACTION, setup.number, row, pack(ACTION_ROW, setup.rules[row].action))


def _other_rule(setup: RouterSetup, row: int) -> RowWrite:
    setup.rules[row].valid ^= 1
    _, rule = setup.rules[row].writes(setup.number, row)
    return rule


# Frames

class Fates:
    """Tells which frames may be sent while a step's rows are written, with two models of its own.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    writes : Iterable[RowWrite]
        Contents of the tables at first.
    """

    def __init__(self, config: CoreConfig, writes: Iterable[RowWrite]):
        self._models = GoldenModel(config), GoldenModel(config)
        self._step = Step([], frozenset())
        for model in self._models:
            _apply(model, writes)

    def begin(self, step: Step) -> None:
        """A step begins, when the one before has ended."""
        before, after = self._models
        _apply(before, self._step.writes)
        _apply(after, step.writes)
        self._step = step

    def same(self, frame: RxFrame) -> bool:
        """Whether the fate of a frame at a data port does not depend on how far the step is."""
        return self._alike(lambda model: model.receive(*frame))

    def same_from_host(self, frame: bytes) -> bool:
        """The same for a frame other than a REQUEST at the host port."""
        return self._alike(lambda model: model.host_receive(frame))

    def ends(self, frame: RxFrame) -> bool:
        """Whether a frame at a data port makes at most :data:`MOST_PASSES` passes after the step."""
        return self._ends(lambda model: model.receive(*frame))

    def ends_from_host(self, frame: bytes) -> bool:
        """The same for a frame other than a REQUEST at the host port."""
        return self._ends(lambda model: model.host_receive(frame))

    def _ends(self, act: Callable[[GoldenModel], list[Output]]) -> bool:
        _, model = self._models
        try:
            act(model)
        except EndlessError:
            return False
        return len(model.passes) <= MOST_PASSES

    def _alike(self, act: Callable[[GoldenModel], list[Output]]) -> bool:
        keys, compare = self._step.keys, self._step.compare
        if not keys and not compare:
            return True
        try:
            one, other = (fate(model, act) for model in self._models)
        except EndlessError:
            return False
        if compare and one != other:
            return False
        return not any(keys & meets(model.passes) for model in self._models)


def _apply(model: GoldenModel, writes: Iterable[RowWrite]) -> None:
    for write in writes:
        model.tables.write(*write)


def fate(model: GoldenModel, act: Callable[[GoldenModel], list[Output]]) -> tuple[object, ...]:
    """What comes out, and what is counted for it."""
    hits, model.tables.counters = model.tables.hits, {}
    outputs = act(model)
    return outputs, model.tables.counters, {row: hit - hits.get(row, 0) for row, hit in model.tables.hits.items()
                                            if hit != hits.get(row, 0)}
