"""Random updates: others are not touched by them, and a frame that may be sent meanwhile has one fate only."""

from collections import Counter
from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import VMAC_KEY_BITS, VMAC_ROW, Reason, Table, unpack
from polyrouter.sim.frames import FrameGenerator, RxFrame
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.hash_tables import VmacEntry, VmacTable
from polyrouter.sim.random_tables import random_scenario, share_of
from polyrouter.sim.random_updates import (
    Fates,
    Step,
    entries_of,
    exchange_entries,
    fate,
    move_entries,
    one_row,
    replace,
)
from polyrouter.sim.tablegen import Scenario

from .board import HOST, SEEDS

CONFIG = CoreConfig(routers=4, fib_words=4096, adjacencies=256)
SMALL = CoreConfig(ports=1, routers=1, data_width=32, fib_words=1024, adjacencies=16)
LINKS = CoreConfig(ports=5, circuits=32, routers=4, fib_words=4096, adjacencies=256, vmac_slots=512)
MANY = CoreConfig(ports=8, routers=16, data_width=128, fib_words=8192, adjacencies=512)


def updates(config: CoreConfig, seed: int, count: int) -> tuple[Scenario, Random, list]:
    """A scenario, and functions that each draw the steps of one update."""
    rng = Random(seed)
    scenario = random_scenario(config, rng)
    draws = [lambda: one_row(scenario, rng), lambda: move_entries(scenario, rng),
             lambda: replace(scenario, rng, rng.sample(range(config.routers), min(config.routers, rng.choice((1, 2)))))]
    return scenario, rng, [draws[number % len(draws)] for number in range(count)]


def loaded(scenario: Scenario) -> GoldenModel:
    model = GoldenModel(scenario.config)
    for write in scenario.writes:
        model.tables.write(*write)
    return model


def entries(model: GoldenModel) -> Counter[VmacEntry]:
    """What each valid slot says."""
    rows = [model.tables.read(Table.VMAC, 0, row) for row in range(model.config.vmac_slots)]
    fields = [(row & (1 << VMAC_KEY_BITS) - 1, unpack(VMAC_ROW, row)) for row in rows]
    return Counter(VmacEntry(key, slot["router"], slot["guard"]) for key, slot in fields if slot["valid"])


@pytest.mark.parametrize("config", [CONFIG, SMALL, MANY, LINKS])
@pytest.mark.parametrize("seed", range(3))
def test_entries_of_others_are_always_there(config, seed):
    scenario, _, draws = updates(config, seed, 15)
    model, moved = loaded(scenario), 0
    for draw in draws:
        kept = entries_of(*scenario.routers)
        steps = draw()
        kept &= entries_of(*scenario.routers)
        for step in steps:
            for write in step.writes:
                model.tables.write(*write)
                if write.table == Table.VMAC:
                    there = entries(model)
                    assert kept <= set(there), "an entry was away while another moved"
                    moved += max(there.values(), default=1) > 1
        assert entries(model) == Counter(entries_of(*scenario.routers))
    assert moved


def test_an_entry_moves_to_make_place_for_another():
    config = CoreConfig()
    vmac, rng = VmacTable(config, SEEDS), Random(1)
    wanted = {VmacEntry(rng.getrandbits(VMAC_KEY_BITS), 0) for _ in range(config.vmac_slots * 85 // 100)}
    writes = exchange_entries(vmac, [], wanted)
    assert len(writes) > len(wanted)
    assert set(vmac.slots.values()) == wanted and len(vmac.slots) == len(wanted)
    assert all(row in vmac.candidates(entry.key) for row, entry in vmac.slots.items())
    with pytest.raises(OverflowError, match="no path"):
        exchange_entries(vmac, [], {VmacEntry(rng.getrandbits(VMAC_KEY_BITS), 0) for _ in range(config.vmac_slots)})
    exchange_entries(vmac, wanted, [])
    assert not wanted & set(vmac.slots.values())


def frames_of(step: Step, scenario: Scenario, fates: Fates, rng: Random) -> tuple[list, list]:
    """Frames at data ports and from the host that may be sent during a step."""
    generator = FrameGenerator(scenario, rng, short_frames=True)
    fates.begin(step)
    return ([frame for frame in generator.frames(60) if fates.same(frame) and fates.ends(frame)],
            [frame for frame in (generator.host_frame(HOST) for _ in range(15))
             if fates.same_from_host(frame) and fates.ends_from_host(frame)])


@pytest.mark.parametrize("config", [CONFIG, SMALL, MANY, LINKS])
@pytest.mark.parametrize("seed", range(4))
def test_frames_that_may_be_sent_have_one_fate(config, seed):
    scenario, rng, draws = updates(config, seed, 6)
    model, fates, sent = loaded(scenario), Fates(config, scenario.writes), 0
    model.host_mac = HOST
    for draw in draws:
        for step in draw():
            frames, host_frames = frames_of(step, scenario, fates, rng)
            acts = [lambda model, frame=frame: model.receive(*frame) for frame in frames]
            acts += [lambda model, frame=frame: model.host_receive(frame) for frame in host_frames]
            sent += len(acts)
            first = [fate(model, act) for act in acts]
            for number, write in enumerate(step.writes):
                model.tables.write(*write)
                if number % max(1, len(step.writes) // 12) == 0 or number == len(step.writes) - 1:
                    assert [fate(model, act) for act in acts] == first, (step.routers, write)
    assert sent > 100


def test_frames_whose_fate_changes_are_not_sent():
    scenario, rng, _ = updates(CONFIG, 1, 0)
    model, fates = loaded(scenario), Fates(CONFIG, scenario.writes)
    generator = FrameGenerator(scenario, rng, errors=False)

    def of(number: int, sent: Reason) -> list[RxFrame]:
        """Frames that a router treats in this way."""
        found = []
        for frame in generator.frames(1500):
            outputs = model.receive(*frame)
            if outputs and outputs[0].event is not None and outputs[0].event[::2] == (number, sent):
                found.append(frame)
        return found

    number = next(setup.number for setup in scenario.routers if of(setup.number, Reason.FORWARDED))
    forwarded = of(number, Reason.FORWARDED)
    off, rows, others, on = replace(scenario, rng, [number])
    assert [step.compare for step in (off, rows, others, on)] == [True, False, False, True]
    fates.begin(off)
    assert forwarded and not any(fates.same(frame) for frame in forwarded)
    fates.begin(rows)
    assert all(fates.same(frame) for frame in forwarded)            # it is off
    fates.begin(others)
    assert not any(fates.same(frame) for frame in forwarded)        # its entries come and go


@pytest.mark.parametrize("seed", range(3))
def test_routers_take_each_others_windows(seed):
    scenario, rng, _ = updates(CONFIG, seed, 0)
    before = [share_of(CONFIG, setup.context) for setup in scenario.routers]
    replace(scenario, rng, [2, 0])
    after = [share_of(CONFIG, setup.context) for setup in scenario.routers]
    assert after == [before[2], before[1], before[0], before[3]]
    assert [setup.number for setup in scenario.routers] == [0, 1, 2, 3]
