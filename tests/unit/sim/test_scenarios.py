"""Random scenarios and frames, through the golden model alone: everything that can become of a frame does."""

from collections import Counter
from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import HostFrameType, Reason, RouterMode, Table
from polyrouter.sim.frames import FrameGenerator
from polyrouter.sim.golden import GoldenModel, Output
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.packets import segment
from polyrouter.sim.random_tables import random_scenario
from polyrouter.sim.tablegen import IPV6_ROOT, simple_scenario
from polyrouter.sim.workload import forwarding_frames
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from .board import HOST, load

#: What only full buffers make of a frame.
ONLY_WITHOUT_ROOM = {Reason.DROP_OVERFLOW, Reason.DROP_QUEUE, Reason.DROP_PUNT_QUEUE}
CONFIGS = [
    CoreConfig(routers=8), CoreConfig(ports=1, routers=1, data_width=32, fib_words=1024, adjacencies=16),
    CoreConfig(ports=8, routers=16, data_width=128, fib_words=8192, adjacencies=512),
    CoreConfig(ports=3, routers=5, data_width=256, fib_words=2048, adjacencies=64, max_frame=9018, cell_bytes=128),
    CoreConfig(ports=2, routers=3, filter_rules=0, mac_rows=0, policers=1),
]


def traffic(config: CoreConfig, seed: int, count: int) -> tuple[GoldenModel, list[tuple[list[Output], int]]]:
    """A model after many frames; outputs of each, and how many events it was."""
    rng = Random(seed)
    scenario = random_scenario(config, rng)
    model, results = GoldenModel(config), []
    load(model, scenario.writes)
    generator = FrameGenerator(scenario, rng, short_frames=True)
    for number, (port, frame, error) in enumerate(generator.frames(count)):
        events = sum(model.counters.values())
        outputs = model.receive(port, frame, error)
        results.append((outputs, sum(model.counters.values()) - events))
        if number % 8 == 0:
            events = sum(model.counters.values())
            outputs = model.host_receive(generator.host_frame(HOST))
            results.append((outputs, sum(model.counters.values()) - events))
    return model, results


def test_every_reason_is_reached():
    reached, rules, bytes_per_rule = Counter[Reason](), 0, 0
    missing_of_a_seed = []
    for seed in range(5):
        model, _ = traffic(CoreConfig(routers=8), seed, 3000)
        counted = Counter[Reason]()
        for (_, _, reason), count in model.counters.items():
            counted[Reason(reason)] += count
        missing_of_a_seed.append(set(Reason) - set(counted) - ONLY_WITHOUT_ROOM)
        reached += counted
        rules += len(model.tables.hits) // 2
        bytes_per_rule = max([bytes_per_rule, *model.tables.hits.values()])
    assert set(Reason) - set(reached) == ONLY_WITHOUT_ROOM
    assert min(reached.values()) >= 10, reached.most_common()[-5:]
    # Rare ones may be missing for a seed, but most of what can happen must
    assert max(len(missing) for missing in missing_of_a_seed) <= 4, missing_of_a_seed
    assert rules > 25 and bytes_per_rule > 1000


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seed", range(3))
def test_every_copy_is_counted_once(config, seed):
    model, results = traffic(config, seed, 400)
    for outputs, events in results:
        dropped = events - len(outputs)
        # Only a mirrored drop is counted besides its copy
        mirrored = len(outputs) == 1 and outputs[0].event[2] == Reason.PUNT_MIRROR
        assert dropped == (not outputs) or (dropped == 1 and mirrored)
        ports = [output.port for output in outputs if output.port != config.host_port]
        assert len(set(ports)) == len(ports)
        for output in outputs:
            assert 0 <= output.port <= config.host_port
            if output.port == config.host_port:
                punted = HostFrame.from_bytes(output.frame)
                assert punted.type == HostFrameType.PUNT and punted.length == len(punted.payload)
                assert (punted.router, punted.port, punted.reason) == output.event
    assert all(router <= config.routers and port <= config.host_port for router, port, _ in model.counters)


def test_same_seed_same_traffic():
    first, second = (traffic(CoreConfig(routers=4), 3, 200)[1] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("config", CONFIGS)
def test_scenarios_use_what_there_is(config):
    modes, tables, multicast, segments = set(), set(), 0, set()
    for seed in range(30):
        scenario = random_scenario(config, Random(seed))
        modes |= {router.mode for router in scenario.routers}
        tables |= {write.table for write in scenario.writes}
        multicast += sum(bool(router.groups) for router in scenario.routers)
        pairs = [pair for router in scenario.routers for pair in router.segments]
        assert len(set(pairs)) == len(pairs), "a port's VLAN with two owners"
        segments.update(pairs)
        entries = [entry for router in scenario.routers for entry in router.vmac_entries()]
        assert len(entries) <= 0.6 * config.vmac_slots
    if config.routers >= 3:
        assert modes >= set(RouterMode)
    expected = {Table.REGISTER, Table.VMAC, Table.CONTEXT, Table.PORT, Table.FIB, Table.ADJACENCY, Table.SHAPER}
    if config == CONFIGS[0]:
        expected |= {Table.FILTER, Table.ACTION, Table.POLICER, Table.MAC}
        assert modes == {*RouterMode, 3}
    assert tables >= expected and multicast and segments


def test_simple_scenario_forwards_everything():
    config = CoreConfig(routers=3)
    scenario = simple_scenario(config)
    model = GoldenModel(config)
    load(model, scenario.writes)
    for port, frame, _ in forwarding_frames(scenario, 60):
        (output,) = model.receive(port, frame)
        assert output.port == (port + 1) % config.ports
    assert {key[2] for key in model.counters} == {Reason.FORWARDED}
    assert all(router.context["ipv6_root"] == IPV6_ROOT for router in scenario.routers)


@pytest.mark.parametrize(("protocol", "is_ipv6"), [(1, False), (6, False), (17, False), (6, True), (17, True),
                                                   (58, True)])
@pytest.mark.parametrize("length", [0, 1, 7, 100])
def test_segments_are_those_of_scapy(protocol, is_ipv6, length):
    payload = bytes(range(length))
    source, destination = (0xFD00 << 112 | 5, 0xFD00 << 112 | 9) if is_ipv6 else (0x0A000001, 0x0A000002)
    made = segment(protocol, source, destination, (128, 3), payload, ipv6=is_ipv6)
    network = IPv6(src="fd00::5", dst="fd00::9", nh=protocol) if is_ipv6 else IP(src="10.0.0.1", dst="10.0.0.2",
                                                                                 proto=protocol)
    parsed = network.__class__(bytes(network / made))
    for layer in parsed.layers()[1:]:
        for name in "chksum", "cksum":
            if name in parsed[layer].fields and layer not in (IP, IPv6):
                delattr(parsed[layer], name)
    again = network.__class__(bytes(parsed))
    assert bytes(again.payload) == made
    assert {1: ICMP, 6: TCP, 17: UDP}.get(protocol, IPv6) in again
