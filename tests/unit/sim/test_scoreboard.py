"""The scoreboard must not let anything wrong pass."""

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import HostFrameType, QueueStat, Reason, TrafficClass
from polyrouter.sim.frames import ethernet, ipv4
from polyrouter.sim.golden import GoldenModel, Output
from polyrouter.sim.golden_packet import Hop
from polyrouter.sim.host_frames import HostFrame
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


# Several copies, routers and classes

def outputs(reference: GoldenModel, *copies: tuple[int, int, Reason, int, bool], serial: int = 0) -> list[Output]:
    """Copies of one frame from ingress port 0: egress port, router, reason, class, replicated; counted by the model."""
    result = []
    for port, router, reason, traffic_class, replicated in copies:
        frame = host_frame(serial, router, reason) if port == HOST else bytes([serial]) * 60
        result.append(reference._copy(Output(port, frame, (router, 0, reason), traffic_class, replicated)))
    return result


def host_frame(serial: int, router: int, reason: Reason) -> bytes:
    return HostFrame(HostFrameType.PUNT, bytes([serial]) * 60, router=router, reason=reason).to_bytes()


TWO = CoreConfig(ports=2, routers=2, fib_words=64, adjacencies=8)
HOST = 2
NORMAL, CONTROL = TrafficClass


def sent(*frames: list[tuple[int, int, Reason, int, bool]], may_drop: bool = False):
    """A scoreboard that awaits the copies of some frames, and each frame's outputs."""
    model = GoldenModel(TWO)
    scoreboard = Scoreboard(model, may_drop=may_drop)
    made = [outputs(model, *copies, serial=serial) for serial, copies in enumerate(frames)]
    for copies in made:
        scoreboard.expect(copies)
    return scoreboard, made


def leave(scoreboard: Scoreboard, *copies: Output) -> Scoreboard:
    for output in copies:
        scoreboard.leave(output.port, output.frame)
    return scoreboard


@pytest.mark.parametrize(("second", "may_overtake"), [
    ((0, 0, Reason.BRIDGED, NORMAL, False), False), ((0, 1, Reason.BRIDGED, NORMAL, False), True),
    ((0, 0, Reason.INJECTED, CONTROL, False), True), ((0, 0, Reason.SWITCHED, NORMAL, False), False),
])
def test_order_is_that_of_a_router_and_a_class(second, may_overtake):
    scoreboard, ((one,), (two,)) = sent([(0, 0, Reason.BRIDGED, NORMAL, False)], [second])
    leave(scoreboard, two, one)
    assert bool(scoreboard.errors) != may_overtake


def test_copies_of_group_frames_have_an_order_of_their_own():
    for replicated in True, False:
        scoreboard, ((one,), (two,)) = sent([(HOST, 0, Reason.PUNT_GROUP, CONTROL, True)],
                                            [(HOST, 0, Reason.PUNT_LOCAL, CONTROL, not replicated)])
        leave(scoreboard, two, one)
        assert bool(scoreboard.errors) != replicated


FLOOD = [(0, 0, Reason.BRIDGED, NORMAL, False), (1, 0, Reason.BRIDGED, NORMAL, False),
         (HOST, 0, Reason.PUNT_MIRROR, NORMAL, False)]
COUNTED = {(0, 0, Reason.BRIDGED): 2, (0, 0, Reason.PUNT_MIRROR): 1}


def test_each_copy_must_come_out_at_its_port():
    scoreboard, ((one, two, three),) = sent(FLOOD)
    assert scoreboard.outstanding == 3 and scoreboard.outstanding_bytes == 60 + 60 + 92
    assert [scoreboard.outstanding_of(frozenset(routers)) for routers in ((), (0,), (1,), (0, 1))] == [0, 3, 0, 3]
    leave(scoreboard, three, one, two).finish()
    scoreboard.check_counters(COUNTED)
    scoreboard, ((one, two, three),) = sent(FLOOD)
    assert leave(scoreboard, one, one).errors


@pytest.mark.parametrize(("missing", "counters", "good"), [
    ((), COUNTED, True),
    ((0,), {(0, 0, Reason.BRIDGED): 1, (0, 0, Reason.DROP_QUEUE): 1, (0, 0, Reason.PUNT_MIRROR): 1}, True),
    ((0,), COUNTED, False),
    ((2,), {(0, 0, Reason.BRIDGED): 2, (0, 0, Reason.DROP_PUNT_QUEUE): 1}, True),
    ((2,), {(0, 0, Reason.BRIDGED): 2, (0, 0, Reason.DROP_QUEUE): 1}, False),
    # All copies: refused each, or the frame at the ingress port
    ((0, 1, 2), {(0, 0, Reason.DROP_QUEUE): 2, (0, 0, Reason.DROP_PUNT_QUEUE): 1}, True),
    ((0, 1, 2), {(2, 0, Reason.DROP_OVERFLOW): 1}, True),
    ((0, 1, 2), {}, False), ((0, 1, 2), {(0, 0, Reason.DROP_QUEUE): 4}, False),
    # Only some of them cannot be lost at the ingress port
    ((0, 1), {(2, 0, Reason.DROP_OVERFLOW): 1, (0, 0, Reason.PUNT_MIRROR): 1}, False),
])
def test_copies_that_find_no_room(missing, counters, good):
    scoreboard, (copies,) = sent(FLOOD, may_drop=True)
    leave(scoreboard, *(output for number, output in enumerate(copies) if number not in missing)).finish()
    if good:
        scoreboard.check_counters(counters)
    else:
        with pytest.raises(AssertionError, match="counters"):
            scoreboard.check_counters(counters)


@pytest.mark.parametrize(("counters", "good"), [
    ({(0, 0, Reason.DROP_PUNT_QUEUE): 1, (1, 0, Reason.DROP_PUNT_QUEUE): 1}, True),
    ({(2, 0, Reason.DROP_PUNT_QUEUE): 1}, True), ({(2, 0, Reason.DROP_OVERFLOW): 1}, True),
    ({(2, 0, Reason.DROP_QUEUE): 1}, False), ({(2, 0, Reason.DROP_PUNT_QUEUE): 3}, False),
])
def test_group_frames_that_find_no_room(counters, good):
    scoreboard, _ = sent([(HOST, router, Reason.PUNT_GROUP, CONTROL, True) for router in (0, 1)], may_drop=True)
    scoreboard.finish()
    if good:
        scoreboard.check_counters(counters)
    else:
        with pytest.raises(AssertionError, match="counters"):
            scoreboard.check_counters(counters)


@pytest.mark.parametrize(("hits", "good"), [
    ({6: 1, 7: 60}, True), ({6: 1}, True), ({}, True), ({6: 2, 7: 60}, False), ({6: 1, 7: 0}, False), ({8: 1}, False)])
def test_hits(hits, good):
    scoreboard, _ = sent()
    scoreboard.model.tables.count_hit(3, 60)
    if good:
        scoreboard.check_hits(hits)
    else:
        with pytest.raises(AssertionError, match="hit"):
            scoreboard.check_hits(hits)


@pytest.mark.parametrize(("changes", "counters", "good"), [
    ({}, {(0, 0, Reason.DROP_QUEUE): 1}, True),
    ({}, {(1, 0, Reason.DROP_QUEUE): 1}, False),                                # another router's
    ({(0, 0, QueueStat.DROPPED): 0, (1, 0, QueueStat.DROPPED): 1}, {(0, 0, Reason.DROP_QUEUE): 1}, False),
    ({(0, 0, QueueStat.DROPPED): 0, (0, 1, QueueStat.DROPPED): 1}, {(0, 0, Reason.DROP_QUEUE): 1}, False),
    ({(0, 0, QueueStat.DROPPED): 0}, {}, False),
    ({(0, 0, QueueStat.DROPPED): 0}, {(2, 0, Reason.DROP_OVERFLOW): 1}, True),
    ({(1, 1, QueueStat.ENQUEUED): 0, (0, 1, QueueStat.ENQUEUED): 2}, {(0, 0, Reason.DROP_QUEUE): 1}, False),
    ({(2, 1, QueueStat.DEPTH): 1}, {(0, 0, Reason.DROP_QUEUE): 1}, False),
])
def test_queues_of_routers(changes, counters, good):
    """Router 0 loses its frame to port 0, which is all there is of it, router 1's comes out of port 1."""
    scoreboard, (_, (two,)) = sent([(0, 0, Reason.BRIDGED, NORMAL, False)], [(1, 1, Reason.BRIDGED, NORMAL, False)],
                                   may_drop=True)
    leave(scoreboard, two).finish()
    stats = {(router, port, stat): TWO.cells if stat == QueueStat.FREE_CELLS else 0
             for router in range(3) for port in range(3) for stat in QueueStat}
    stats |= {(1, 1, QueueStat.ENQUEUED): 1, (1, 1, QueueStat.HIGH_WATER): 1, (0, 0, QueueStat.DROPPED): 1, **changes}
    if good:
        scoreboard.check_queues(stats, counters)
    else:
        with pytest.raises(AssertionError):
            scoreboard.check_queues(stats, counters)


def routed_by_link(*paths: tuple[Hop, ...]) -> Scoreboard:
    """A scoreboard that awaits a copy for each way through the link port, at port 0, all of router 0."""
    scoreboard = Scoreboard(GoldenModel(CONFIG))
    for number, path in enumerate(paths):
        scoreboard.expect([Output(0, bytes((number,)) * 60, (0, 1, Reason.BRIDGED), TrafficClass.NORMAL, path=path)])
    return scoreboard


ONE, OTHER = (Hop(0, 3, TrafficClass.NORMAL),), (Hop(0, 3, TrafficClass.CONTROL),)


@pytest.mark.parametrize(("paths", "good"), [
    ((ONE, ONE), False), ((ONE, OTHER), True), ((ONE, ()), True), ((ONE, ONE + OTHER), True),
    ((ONE + OTHER, ONE + OTHER), False),
])
def test_only_those_that_went_the_same_way_keep_their_order(paths, good):
    scoreboard = routed_by_link(*paths)
    for number in (1, 0):
        scoreboard.leave(0, bytes((number,)) * 60)
    assert (scoreboard.outstanding == 0) == good
    assert bool(scoreboard.errors) != good


def test_frames_wait_for_all_routers_on_their_way():
    scoreboard = routed_by_link(ONE, ())
    assert scoreboard.outstanding_of(frozenset({0})) == 2
    assert scoreboard.outstanding_of(frozenset({3, 4})) == 1
    assert scoreboard.outstanding_of(frozenset({4})) == 0


def test_copies_that_are_alike_are_told_apart_by_what_follows():
    """One copy by the link port and one that is not, with a frame behind it that overtakes the first one."""
    scoreboard = Scoreboard(GoldenModel(CONFIG))
    same, after = bytes(60), bytes((1,)) * 60
    for frame, path in (same, ONE), (same, ()), (after, ()):
        scoreboard.expect([Output(0, frame, (0, 1, Reason.BRIDGED), TrafficClass.NORMAL, path=path)])
    for frame in same, after, same:
        scoreboard.leave(0, frame)
    assert scoreboard.outstanding == 0
    scoreboard.finish()
