"""Two users of one SipHash: each gets its own tags, in order, whatever the other one does."""

import random

import pytest
from polyrouter.hdl.hostlink.sharedhash import SharedHash
from polyrouter.hdl.hostlink.siphash import SIPHASH_WORD
from polyrouter.hdl.layouts import pack
from polyrouter.sim.siphash import siphash24

from ..bench import simulate, sink, source, until

KEY = bytes(range(16))


def words_of(message):
    return [pack(SIPHASH_WORD, {"data": int.from_bytes(message[k:k + 8], "little"), "last": k + 8 == len(message)})
            for k in range(0, len(message), 8)]


def run(messages, rates=(1.0, 1.0), order=None):
    """Tags that each user gets for its messages; ``order`` gets whose came when."""
    dut, rng = SharedHash(), random.Random(7)
    tags = [[], []]

    def user(number):
        async def testbench(ctx):
            ctx.set(dut.key, int.from_bytes(KEY, "little"))
            for message in messages[number]:
                await source(dut.users[number].words, words_of(message), rng=rng, rate=rates[0])(ctx)
                await sink(dut.users[number].tag, tags[number], rng=rng, rate=rates[1],
                           count=len(tags[number]) + 1)(ctx)
                if order is not None:
                    order.append(number)
        return testbench

    done = until(lambda: all(len(tags[k]) == len(messages[k]) for k in range(2)))
    simulate(dut, [user(0), user(1), done])
    return tags


@pytest.mark.parametrize("rates", [(1, 1), (0.3, 1), (0.7, 0.2)])
def test_random_messages_of_both(rates):
    rng = random.Random(11)
    messages = [[rng.randbytes(8 * rng.choice([1, 1, 2, 5, 20])) for _ in range(25)] for _ in range(2)]
    assert run(messages, rates) == [[siphash24(KEY, message) for message in own] for own in messages]


@pytest.mark.parametrize("number", range(2))
def test_one_alone(number):
    messages = [[], []]
    messages[number] = [bytes([k]) * 16 for k in range(5)]
    assert run(messages)[number] == [siphash24(KEY, message) for message in messages[number]]


def test_in_turn():
    order = []
    run([[bytes(64)] * 10, [bytes(8)] * 10], order=order)
    assert order in ([0, 1] * 10, [1, 0] * 10)
