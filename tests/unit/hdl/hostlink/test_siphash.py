"""SipHash-2-4 in hardware and its model, against the paper's vectors and against each other."""

import itertools
import random

import pytest
import siphashc
from polyrouter.hdl.hostlink.siphash import SIPHASH_WORD, SipHash
from polyrouter.hdl.layouts import pack
from polyrouter.sim.siphash import siphash24

from ..bench import simulate, sink, source, until

KEY = bytes(range(16))
#: Tags of 00, 01, 02, ... of these lengths under that key: the first of vectors.h of the authors, and the one of
#: appendix A of the paper.
VECTORS = {0: "310e0edd47db6f72", 1: "fd67dc93c539f874", 2: "5a4fa9d909806c0d", 7: "37d1018bf50002ab",
           8: "6224939a79f5f593", 15: "e545be4961ca29a1"}


@pytest.mark.parametrize("length", VECTORS)
def test_model_and_library_against_the_vectors(length):
    message, tag = bytes(range(length)), int.from_bytes(bytes.fromhex(VECTORS[length]), "little")
    assert siphash24(KEY, message) == tag == siphashc.siphash(KEY, message)


def test_appendix_a_of_the_paper():
    assert siphash24(KEY, bytes(range(15))) == 0xA129CA6149BE45E5


def test_the_model_against_the_library():
    rng = random.Random(1)
    for length in range(300):
        key, message = rng.randbytes(16), rng.randbytes(length)
        assert siphash24(key, message) == siphashc.siphash(key, message)


def run(messages, rates=(1.0, 1.0), times=None):
    """Tags of (key, message); the key changes when a message's first word is offered."""
    dut = SipHash()
    rng = random.Random(len(messages))
    tags = []
    taken, given = times or ([], [])

    async def feed(ctx):
        for number, (key, message) in enumerate(messages):
            ctx.set(dut.key, int.from_bytes(key, "little"))
            words = [pack(SIPHASH_WORD, {"data": int.from_bytes(message[k:k + 8], "little"),
                                         "last": k + 8 == len(message)}) for k in range(0, len(message), 8)]
            await source(dut.i, words, rng=rng, rate=rates[0], times=taken)(ctx)
            while len(tags) == number:
                await ctx.tick()

    simulate(dut, [feed, until(lambda: len(tags) == len(messages))],
             [sink(dut.o, tags, rng=rng, rate=rates[1], times=given)])
    return tags


def test_the_vector_of_whole_words():
    assert run([(KEY, KEY[:8])]) == [int.from_bytes(bytes.fromhex(VECTORS[8]), "little")]


@pytest.mark.parametrize("rates", [(1, 1), (0.3, 1), (0.8, 0.2)])
def test_random_messages(rates):
    rng = random.Random(3)
    # One key for all: a new one is only read when the tag before was taken.
    key = rng.randbytes(16)
    messages = [(key, rng.randbytes(8 * rng.choice([1, 1, 2, 3, 31, 32, 33, 64, rng.randint(1, 50)])))
                for _ in range(40)]
    assert run(messages, rates) == [siphash24(*message) for message in messages]


@pytest.mark.parametrize("seed", range(5))
def test_random_keys(seed):
    rng = random.Random(seed)
    key, message = rng.randbytes(16), rng.randbytes(24)
    assert run([(key, message)]) == [siphash24(key, message)]


def test_a_word_in_four_cycles_and_the_tag_13_after_the_last():
    taken, given = [], []
    run([(KEY, bytes(80))], times=(taken, given))
    assert {after - before for before, after in itertools.pairwise(taken)} == {4}
    assert given[0] - taken[-1] == 13
