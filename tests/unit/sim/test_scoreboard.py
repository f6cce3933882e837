"""The scoreboard must not let anything wrong pass."""

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import QueueStat, Reason
from polyrouter.sim.frames import ethernet, ipv4
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.scoreboard import Scoreboard
from polyrouter.sim.tablegen import requests, simple_scenario

CONFIG = CoreConfig(ports=2, routers=1, fib_words=64, adjacencies=8)


def board(*, may_drop: bool = False) -> tuple[Scoreboard, list[tuple[int, bytes]]]:
    """A scoreboard that awaits six frames, three from each ingress port to port 1, and those frames."""
    scenario = simple_scenario(CONFIG)

    def model() -> GoldenModel:
        result = GoldenModel(CONFIG)
        for frame in requests(scenario.writes, sequence=0, source=bytes(6), sync=True):
            result.host_receive(frame.to_bytes())
        return result

    scoreboard, reference = Scoreboard(model(), may_drop=may_drop), model()
    frames = []
    for number in range(6):
        port = number % 2
        frame = ethernet(scenario.routers[0].own[port], 0x060000000000, 0x0800,
                         ipv4(1, 11 << 24, bytes((number,)) * 30))
        scoreboard.enter(port, frame)
        (output,) = reference.receive(port, frame)
        frames.append((output.port, output.frame))
    return scoreboard, frames


GOOD = {(0, 0, Reason.FORWARDED): 3, (0, 1, Reason.FORWARDED): 3}


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (1, 3, 5, 0, 2, 4), (0, 2, 1, 4, 3, 5)])
def test_ingress_ports_may_overtake_each_other(order):
    scoreboard, frames = board()
    for number in order:
        scoreboard.leave(*frames[number])
    assert scoreboard.outstanding == 0 and scoreboard.received == 6
    scoreboard.finish()
    scoreboard.check_counters(GOOD)


@pytest.mark.parametrize("order", [(2, 0, 1, 3, 4, 5), (0, 1, 2, 3, 4), (0, 0, 1, 2, 3, 4, 5)])
def test_reordered_missing_and_repeated_frames(order):
    scoreboard, frames = board()
    for number in order:
        scoreboard.leave(*frames[number])
    with pytest.raises(AssertionError):
        scoreboard.finish()


def test_changed_frames_and_wrong_ports():
    for change in (lambda port, frame: (0, frame), lambda port, frame: (port, frame + b"\0"),
                   lambda port, frame: (port, frame[:-1] + b"\xee")):
        scoreboard, frames = board()
        scoreboard.leave(*change(*frames[0]))
        assert scoreboard.errors


@pytest.mark.parametrize("counters", [
    {}, {**GOOD, (0, 0, Reason.FORWARDED): 2}, {**GOOD, (0, 0, Reason.DROP_FCS): 1},
    {(1, 0, Reason.FORWARDED): 3, (0, 1, Reason.FORWARDED): 3}, {**GOOD, (0, 0, 31): 1},
])
def test_wrong_counters(counters):
    scoreboard, frames = board()
    for frame in frames:
        scoreboard.leave(*frame)
    scoreboard.finish()
    with pytest.raises(AssertionError, match="counters"):
        scoreboard.check_counters(counters)


def test_drops_must_be_counted_where_they_are_allowed():
    dropped = {(0, 0, Reason.FORWARDED): 2, (0, 0, Reason.DROP_QUEUE): 1, (0, 1, Reason.FORWARDED): 3}
    overflowed = {(0, 0, Reason.FORWARDED): 2, (1, 0, Reason.DROP_OVERFLOW): 1, (0, 1, Reason.FORWARDED): 3}
    lost = {(0, 0, Reason.FORWARDED): 2, (0, 1, Reason.FORWARDED): 3}
    other_port = {(0, 0, Reason.FORWARDED): 2, (0, 1, Reason.DROP_QUEUE): 1, (0, 1, Reason.FORWARDED): 3}
    for counters, good in (dropped, True), (overflowed, True), (lost, False), (other_port, False), (GOOD, False):
        scoreboard, frames = board(may_drop=True)
        for number in (0, 1, 3, 4, 5):
            scoreboard.leave(*frames[number])
        scoreboard.finish()
        assert [item.frame for _, item in scoreboard.missing] == [frames[2][1]]
        if good:
            scoreboard.check_counters(counters)
        else:
            with pytest.raises(AssertionError, match="counters"):
                scoreboard.check_counters(counters)


@pytest.mark.parametrize(("stat", "value", "good"), [
    (QueueStat.ENQUEUED, 6, True), (QueueStat.HIGH_WATER, 6, True), (QueueStat.HIGH_WATER, 0, False),
    (QueueStat.HIGH_WATER, 7, False), (QueueStat.ENQUEUED, 5, False), (QueueStat.DEPTH, 1, False),
    (QueueStat.UNDERFLOW, 1, False), (QueueStat.FREE_CELLS, CONFIG.cells - 1, False), (QueueStat.DROPPED, 1, False),
])
def test_queue_statistics(stat, value, good):
    scoreboard, frames = board()
    for frame in frames:
        scoreboard.leave(*frame)
    scoreboard.finish()
    stats = {(router, port, stat): 0 for router in range(2) for port in range(3) for stat in QueueStat}
    stats |= {(router, port, QueueStat.FREE_CELLS): CONFIG.cells for router in range(2) for port in range(3)}
    stats |= {(0, 1, QueueStat.ENQUEUED): 6, (0, 1, QueueStat.HIGH_WATER): 2, (0, 1, stat): value}
    if good:
        scoreboard.check_queues(stats, GOOD)
    else:
        with pytest.raises(AssertionError):
            scoreboard.check_queues(stats, GOOD)
