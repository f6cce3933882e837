"""Which multicast routes the kernel is given for a moment, and when."""

from polyrouter.host.mirror.sampling import LONGEST, PERIOD, POLL, Sampler
from polyrouter.host.tables.groups import MulticastKey

KEYS = [MulticastKey.of(0xEF010100 + k, 1, False) for k in range(100)]
COUNTS = dict.fromkeys(KEYS, 5)


def test_a_route_comes_back_when_a_packet_was_seen():
    sampler = Sampler(0.0)
    assert sampler.due == PERIOD
    assert sampler.step(PERIOD, KEYS[:2], COUNTS) == set(KEYS[:2]) == set(sampler.active)
    now = sampler.due
    assert now == PERIOD + POLL
    assert sampler.step(now, [], COUNTS) == set()
    assert sampler.step(now, [], COUNTS | {KEYS[0]: 6}) == {KEYS[0]}
    assert set(sampler.active) == {KEYS[1]} and sampler.due == now + POLL
    assert sampler.step(PERIOD + LONGEST, [KEYS[0]], COUNTS | {KEYS[0]: 6}) == {KEYS[1]}
    assert not sampler.active and sampler.due == 2 * PERIOD
    assert sampler.step(2 * PERIOD, KEYS[:2], COUNTS) == set(KEYS[:2])


def test_a_route_that_the_kernel_has_no_more():
    sampler = Sampler(0.0)
    sampler.step(PERIOD, KEYS[:3], COUNTS)
    assert sampler.step(PERIOD + POLL, [], {KEYS[0]: 5, KEYS[2]: 5}) == {KEYS[1]}
    assert sampler.step(PERIOD + POLL, [], {}) == {KEYS[0], KEYS[2]}
    assert sampler.due == 2 * PERIOD


def test_only_some_at_once_and_all_have_their_turn():
    sampler, now = Sampler(0.0), PERIOD
    seen: set[MulticastKey] = set()
    counts = dict(COUNTS)
    while True:
        sampler.step(now, [key for key in KEYS if key not in sampler.active], counts)
        assert len(sampler.active) <= 32
        seen |= set(sampler.active)
        if not sampler.active:
            break
        counts |= {key: counts[key] + 1 for key in sampler.active}
        now = sampler.due
    assert seen == set(KEYS) and now < PERIOD + 1
