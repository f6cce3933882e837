"""Random circuits, and frames for them, through the golden model alone."""

from collections import Counter
from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LinkKind, Reason, Table
from polyrouter.sim.frames import FrameGenerator
from polyrouter.sim.golden import EndlessError, GoldenModel
from polyrouter.sim.random_tables import random_scenario

from .board import HOST, load

CONFIGS = [
    CoreConfig(ports=5, circuits=64, routers=8, vmac_slots=1024, fib_words=8192, adjacencies=512),
    CoreConfig(ports=2, circuits=16, routers=2, vmac_slots=256, fib_words=1024, adjacencies=64),
    CoreConfig(ports=8, circuits=4096, routers=16, vmac_slots=4096, fib_words=16384),
]


def run(config: CoreConfig, seed: int, count: int) -> Counter[str]:
    """What frames went through, and how often."""
    rng = Random(seed)
    scenario = random_scenario(config, rng)
    model = GoldenModel(config)
    load(model, scenario.writes)
    generator, found = FrameGenerator(scenario, rng, short_frames=True), Counter[str]()
    for number, frame in enumerate(generator.frames(count)):
        acts = [lambda frame=frame: model.receive(*frame)]
        if number % 8 == 0:
            acts.append(lambda: model.host_receive(generator.host_frame(HOST)))
        for act in acts:
            before = Counter(model.counters)
            try:
                outputs = act()
            except EndlessError:
                found["endless"] += 1
                continue
            events = Counter(model.counters) - before
            _check(config, model, outputs, events)
            found["through"] += sum(bool(output.path) for output in outputs)
            found["given"] += sum(one.given is not None for one in model.passes)
            found["again"] += len(model.passes) - 1 if model.passes and model.passes[0].port != config.link_port else 0
            for (router, port, reason), by in events.items():
                if port == config.link_port:
                    found[f"{Reason(reason).name} {'none' if router == config.no_router else ''}"] += by
    return found


def _check(config: CoreConfig, model: GoldenModel, outputs: list, events: Counter) -> None:
    """Every copy is counted; none leaves by the link port; nothing is too long for a wire with a tag."""
    assert events >= Counter(output.event for output in outputs)
    assert all(output.port != config.link_port for output in outputs)
    for output in outputs:
        assert all(hop.router < config.routers for hop in output.path)
        assert bool(output.path) == (output.event[1] == config.link_port)
    # Each time that a frame went through the pipeline, something was counted
    assert sum(events.values()) >= len(model.passes)


def test_everything_happens_at_the_link_port():
    found = Counter[str]()
    for seed in range(8):
        found += run(CONFIGS[0], seed, 1500)
    engine = ["DROP_FAULT ", "DROP_MALFORMED ", "DROP_LENGTH ", "DROP_NO_ROUTER "]
    pipeline = ["FORWARDED ", "BRIDGED ", "SWITCHED ", "PUNT_LOCAL ", "PUNT_GROUP ", "PUNT_TTL ", "PUNT_MIRROR ",
                "DROP_SOURCE ", "DROP_DISABLED ", "DROP_NO_ROUTER none", "DROP_RPF ", "PUNT_MTU "]
    assert min(found[name] for name in [*engine, *pipeline, "through", "given", "again"]) >= 8, found
    # Most frames come to an end
    assert found["endless"] < 600, found["endless"]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seed", range(3))
def test_frames_are_counted(config, seed):
    run(config, seed, 300)


@pytest.mark.parametrize("config", CONFIGS)
def test_scenarios_have_all_kinds_of_circuits(config):
    kinds, guarded, wrong, ends = Counter[int](), 0, 0, 0
    for seed in range(12):
        scenario = random_scenario(config, Random(seed))
        links = scenario.links
        assert all(0 < circuit < config.circuits for circuit in links.links)
        assert sum(write.table == Table.LINK for write in scenario.writes) == len(links.links)
        assert sum(write.table == Table.TERMINATION for write in scenario.writes) == len(links.ends)
        kinds.update(link["kind"] for link in links.links.values())
        guarded += sum(port == config.link_port for setup in scenario.routers for port, _ in setup.guarded)
        wrong += sum(link["router"] != links.takers.get(circuit, link["router"])
                     for circuit, link in links.links.items())
        ends += len(links.ends)
        # A circuit's frames are for one router
        segments = [pair for setup in scenario.routers for pair in setup.segments]
        assert len(set(segments)) == len(segments)
    assert set(kinds) == set(LinkKind) and guarded and wrong and ends
