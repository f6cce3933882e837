"""Watchdog: random frames, timeouts and rearming, against what its description says."""

import random

import pytest
from polyrouter.hdl.watchdog import Watchdog

from .bench import simulate


@pytest.mark.parametrize("disables", [False, True])
@pytest.mark.parametrize("unit", [2, 16])
def test_random_frames(disables, unit):
    rng = random.Random(unit)
    dut = Watchdog(disables=disables, unit=unit)
    outcomes = set()

    async def main(ctx):
        armed = expired = False
        silent = 0              # cycles since the frame
        timeout = 0
        for _ in range(4000):
            # Changes together with a rearming, as the registers do it.
            rearm = rng.random() < 0.01
            if rearm:
                timeout = rng.randrange(5)
                ctx.set(dut.timeout, timeout)
            frame = rng.random() < 0.5 / (unit * (1 + timeout))
            ctx.set(dut.rearm, rearm)
            ctx.set(dut.frame, frame)
            *_, now_armed, now_expired, disable = await ctx.tick().sample(dut.armed, dut.expired, dut.disable)
            # What it shows is of the cycles before this one's inputs.
            assert now_armed == armed
            assert disable == (now_expired and disables)
            if expired or not armed or (timeout == 0 and not rearm):
                assert now_expired == expired
            elif silent < timeout * unit and not rearm:
                assert not now_expired
            elif silent > (timeout + 1) * unit and not rearm:
                assert now_expired
            expired = bool(now_expired)
            outcomes.add((armed, expired, frame, rearm))
            silent += 1
            if rearm:
                armed, expired, silent = True, False, 0
            elif frame and not expired:
                armed, silent = True, 0

    simulate(dut, [main])
    # It was alive, expired, and both ways back were tried, of which one is none.
    assert {(True, False, True, False), (True, True, True, False), (True, True, False, True)} <= outcomes


def test_before_the_first_frame_nothing_expires():
    dut = Watchdog(disables=True, unit=4)

    async def main(ctx):
        ctx.set(dut.timeout, 1)
        for _ in range(40):
            *_, expired, disable = await ctx.tick().sample(dut.expired, dut.disable)
            assert not expired and not disable

    simulate(dut, [main])


def test_a_frame_in_the_cycle_in_which_it_would_expire_counts():
    """Whatever the cycle: with a frame each ``timeout`` units it never expires."""
    dut = Watchdog(disables=False, unit=4)

    async def main(ctx):
        ctx.set(dut.timeout, 2)
        for phase in range(4):
            for _ in range(8):
                ctx.set(dut.frame, 1)
                await ctx.tick()
                ctx.set(dut.frame, 0)
                await ctx.tick().repeat(7)
                assert not ctx.get(dut.expired)
            await ctx.tick().repeat(1 + phase)

    simulate(dut, [main])
