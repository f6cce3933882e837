"""The whole authenticated link in front of a control engine, with the host's driver at the other end of the cable."""

import random

import pytest
from polyrouter.hdl.hostlink.layouts import LinkEvent
from polyrouter.hdl.layouts import Register
from polyrouter.sim.auth_frames import BOARD_MAC, DATA, HELLO, TO_BOARD, TO_HOST, WELCOME, AuthFrame

from ..bench import WIDTHS
from .board_bench import TYPE, Bench
from .link_bench import CONFIG, HOST_MAC, KEY

NONCE = 0x1122334455667788


async def welcome(ctx, bench, count=1):
    while bench.transport.counters.welcomes < count:
        await ctx.tick()


def epoch_of(ctx, bench):
    return ctx.get(bench.board.control.registers[Register.EPOCH])


def set_epoch(driver, value):
    driver.epoch = value


@pytest.mark.parametrize("width", WIDTHS)
def test_the_driver_reads_and_writes_what_is_behind_the_link(width):
    """Its own answers are authentic, and nothing is lost, repeated or refused."""
    async def script(ctx, bench):
        await welcome(ctx, bench)
        info = await bench.call(ctx, bench.driver.info)
        assert info.config.ports == CONFIG.ports and info.config.data_width == width
        for value in (1, 2**64 - 1, 0x0123456789ABCDEF):
            await bench.call(ctx, set_epoch, bench.driver, value)
            assert epoch_of(ctx, bench) == value == await bench.call(ctx, lambda: bench.driver.epoch)

    bench = Bench(script, nonce=NONCE, width=width)
    counters = bench.transport.counters
    assert bench.counts == {LinkEvent.ACCEPTED: counters.sent, LinkEvent.GREETED: counters.hellos}
    assert counters.received >= 8 and counters.welcomes == 1
    assert counters.forged == counters.replayed == counters.foreign == counters.unsent == 0


def attacks(frame, bench):
    """All that somebody on the wire can do with a frame that was just sent, and with those from the board."""
    rng = bench.rng
    bit = rng.randrange(16 * 8, 8 * len(frame))
    sequence = int.from_bytes(frame[16:24], "little")
    yield frame if frame[15] == DATA else frame[:-1]                                        # replayed, or cut
    yield (int.from_bytes(frame, "little") ^ 1 << bit).to_bytes(len(frame), "little")       # one bit flipped
    yield frame[:16] + (sequence + 1).to_bytes(8, "little") + frame[24:]                    # a later number
    yield frame + bytes(8)
    if bench.to_host:                                                                       # reflected
        answer = rng.choice(bench.to_host)
        yield BOARD_MAC + answer[6:]
        yield BOARD_MAC + HOST_MAC + answer[12:]
    # Another key or nonce; another version or kind; too short; from a group address.
    body = frame[32:]
    later = AuthFrame(DATA, sequence + 1, body)
    yield later.to_bytes(KEY[::-1], bench.judge.nonce)
    yield later.to_bytes(KEY, bench.judge.nonce ^ 1 << rng.randrange(64))
    yield AuthFrame(DATA, sequence + 1, body, version=2).to_bytes(KEY, bench.judge.nonce)
    yield AuthFrame(WELCOME, sequence + 1, body).to_bytes(KEY, bench.judge.nonce, rng.choice([TO_BOARD, TO_HOST]))
    yield later.to_bytes(KEY, bench.judge.nonce)[:63]
    yield AuthFrame(DATA, sequence + 1, body, source=b"\1" + bytes(5)).to_bytes(KEY, bench.judge.nonce)
    # Not the link's: other address, other type.
    yield bytes([2]) * 6 + frame[6:]
    yield frame[:12] + b"\x08\x00" + frame[14:]


@pytest.mark.parametrize("width", [32, 64])
def test_what_others_send_changes_nothing_and_is_counted_exactly(width):
    """Meanwhile the driver works as if there were nobody else, and so does the data port."""
    rng = random.Random(3)
    core = [rng.randbytes(12) + b"\x08\x00" + rng.randbytes(rng.randrange(40, 300)) for _ in range(40)]
    values = [rng.getrandbits(64) for _ in range(2)]

    async def script(ctx, bench):
        await welcome(ctx, bench)
        for value in values:
            await bench.call(ctx, set_epoch, bench.driver, value)
            await bench.sent(ctx)
            assert epoch_of(ctx, bench) == value == await bench.call(ctx, lambda: bench.driver.epoch)
        await bench.sent(ctx)
        while len(bench.sent_by_core) < len(core):
            await ctx.tick()

    bench = Bench(script, nonce=NONCE, attack=attacks, core=core, width=width)
    counters = bench.transport.counters
    assert bench.counts[LinkEvent.ACCEPTED] == counters.sent >= 2 * len(values)
    assert bench.counts[LinkEvent.GREETED] == counters.hellos == 1
    assert bench.counts[LinkEvent.REPLAYED] == counters.sent
    assert bench.counts[LinkEvent.FORGED] > 5 * counters.sent and bench.counts[LinkEvent.FOREIGN] >= 4 * counters.sent
    assert bench.counts[LinkEvent.OVERFLOW] == 0
    assert counters.forged == counters.replayed == counters.foreign == 0
    assert bench.sent_by_core == core
    assert bench.to_core == bench.others and len(bench.others) == 2 * (counters.sent + counters.hellos)


def test_a_board_that_was_started_again():
    """Nothing of before is worth anything, the host finds out by itself, and goes on."""
    recorded = []

    def record(frame, bench):
        recorded.append(frame)
        return ()

    async def script(ctx, bench):
        await welcome(ctx, bench)
        await bench.call(ctx, set_epoch, bench.driver, 77)
        before = [frame for frame in recorded if frame[15] == DATA]
        await bench.restart(ctx, NONCE + 1)
        refused = bench.counts[LinkEvent.FORGED]
        bench.waiting += before
        await bench.sent(ctx)
        assert bench.counts[LinkEvent.FORGED] == refused + len(before)
        assert epoch_of(ctx, bench) == 0
        while bench.transport.counters.welcomes < 2:
            bench.transport.send(bytes(40))     # nobody answers to that
            await ctx.tick().repeat(500)
        await bench.call(ctx, bench.driver.sync)
        await bench.call(ctx, set_epoch, bench.driver, 78)
        bench.waiting += before
        await bench.sent(ctx)
        assert epoch_of(ctx, bench) == 78 == await bench.call(ctx, lambda: bench.driver.epoch)

    bench = Bench(script, nonce=NONCE, attack=record)
    assert bench.counts[LinkEvent.REPLAYED] == bench.counts[LinkEvent.FOREIGN] == 0
    assert any(frame[15] == HELLO for frame in recorded) and all(frame[12:14] == TYPE for frame in recorded)


def test_a_host_with_another_key_is_nobody():
    """It is not even answered, and what it sends by a nonce that it knows is forged."""
    stranger = bytes(range(1, 17))
    hello = AuthFrame(HELLO, 5, bytes(32)).to_bytes(stranger, 0)
    frames = [hello, *(AuthFrame(DATA, 1 << 62, bytes(64)).to_bytes(stranger, nonce) for nonce in (0, NONCE))]

    async def script(ctx, bench):
        await welcome(ctx, bench)
        answered = len(bench.to_host)
        bench.waiting += frames
        await bench.sent(ctx)
        await ctx.tick().repeat(500)
        assert len(bench.to_host) == answered
        await bench.call(ctx, set_epoch, bench.driver, 5)   # the number 2**62 was not taken over

    assert Bench(script, nonce=NONCE).counts[LinkEvent.FORGED] == len(frames)
