"""Interleavings against all that can be made of a few queues."""

from collections import deque
from itertools import permutations
from random import Random
from typing import NamedTuple

import pytest
from polyrouter.sim.interleaving import Interleaving


class Item(NamedTuple):
    frame: bytes
    number: int = 0


def of(*queues: bytes) -> Interleaving[int, Item]:
    """A queue for each argument, a frame for each of its bytes."""
    result = Interleaving[int, Item]()
    for order, queue in enumerate(queues):
        for number, byte in enumerate(queue):
            result.put(order, Item(bytes((byte,)), number))
    return result


def is_interleaving(frames: tuple[int, ...], queues: tuple[bytes, ...]) -> bool:
    """The same by trying everything."""
    if not frames:
        return True
    return any(queue and queue[0] == frames[0]
               and is_interleaving(frames[1:], (*queues[:k], queue[1:], *queues[k + 1:]))
               for k, queue in enumerate(queues))


@pytest.mark.parametrize("queues", [(b"ab", b"ac"), (b"aab", b"ab"), (b"ab", b"ba"), (b"abc",), (b"a", b"a", b"ab")])
def test_exactly_the_interleavings_are_taken(queues):
    verdicts = set()
    for frames in set(permutations(b"".join(queues))):
        board = of(*queues)
        good = all(board.take(bytes((frame,))) for frame in frames)
        assert good == is_interleaving(frames, queues), frames
        assert (not board.waiting) == good
        verdicts.add(good)
    assert True in verdicts


def test_a_later_frame_tells_which_of_two_it_was():
    board = of(b"ab", b"ac")
    assert board.take(b"a") and board.take(b"c") and not board.take(b"c")
    assert [item.frame for item in board.waiting] == [b"a", b"b"] and [item.frame for item in board.heads] == [b"a"]
    board = of(b"ab", b"ac")
    assert board.take(b"a") and sum(item.frame == b"a" for item in board.may_wait) == 2
    assert board.take(b"b") and [item.frame for item in board.waiting] == [b"a", b"c"]


def test_items_may_be_put_in_between():
    rng = Random(1)
    for _ in range(50):
        board, plain = Interleaving[int, Item](), {0: deque(), 1: deque()}
        for number in range(60):
            order = rng.randrange(2)
            if rng.random() < 0.55:
                item = Item(rng.choice((b"x", number.to_bytes(2, "big"))))
                board.put(order, item)
                plain[order].append(item)
            elif plain[order]:
                assert board.take(plain[order].popleft().frame)
            assert len(board.waiting) == len(plain[0]) + len(plain[1])


def test_what_is_skipped_is_told():
    board = of(b"abcd", b"e")
    assert board.skip_to(b"c") == [Item(b"a", 0), Item(b"b", 1)]
    assert board.skip_to(b"a") is None and board.skip_to(b"d") == [] and board.take(b"e")
    assert board.waiting == board.heads == []
    board.put(0, Item(b"f"))
    board.clear()
    assert board.waiting == [] and not board.take(b"f")
