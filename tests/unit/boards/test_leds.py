# amaranth: UnusedElaboratable=no
# What is refused is not used.
"""Link LEDs: how long they are dark and lit, with random activity, link and wishes of the host."""

import random
from itertools import pairwise

import pytest
from polyrouter.boards.leds import LinkLeds
from polyrouter.hdl.config import ConfigError

from ..hdl.bench import simulate

CLOCK_HZ = 1e6


@pytest.mark.parametrize(("ports", "rate"), [(1, 0.02), (3, 0.1), (5, 0.9)])
def test_random_activity(ports, rate):
    """With a link, dark for exactly a blink, lit for at least one; each activity shows within two of them."""
    rng = random.Random(ports)
    blink = 16
    dut = LinkLeds(CLOCK_HZ, ports, blink_ms=blink * 1e3 / CLOCK_HZ)
    trace, activity = [], []

    async def main(ctx):
        ctx.set(dut.link, (1 << ports) - 1)
        await ctx.tick().repeat(2)
        for _ in range(2000):
            activity.append(sum((rng.random() < rate) << port for port in range(ports)))
            ctx.set(dut.activity, activity[-1])
            *_, leds = await ctx.tick().sample(dut.leds)
            trace.append(leds)

    simulate(dut, [main])
    for port in range(ports):
        levels = [leds >> port & 1 for leds in trace]
        starts = [k for k in range(1, len(levels)) if levels[k] != levels[k - 1]]
        runs = [(levels[k], after - k) for k, after in pairwise(starts)]
        assert len(runs) > 8
        assert {length for level, length in runs if level == 0} == {blink}
        assert min(length for level, length in runs if level == 1) >= blink
        falls = [k for k in starts if levels[k] == 0]
        pulses = [k for k, bits in enumerate(activity) if bits >> port & 1]
        for k in pulses:
            if k < len(levels) - 3 * blink:
                assert any(k < fall <= k + 2 * blink + 2 for fall in falls), k
        assert all(any(fall - 2 * blink - 2 <= k < fall for k in pulses) for fall in falls)


def test_without_activity_an_led_is_the_link_or_the_hosts():
    rng = random.Random(1)
    dut = LinkLeds(CLOCK_HZ, 4, blink_ms=0.02)

    async def main(ctx):
        for _ in range(200):
            link, override, value = (rng.getrandbits(4) for _ in range(3))
            ctx.set(dut.link, link)
            ctx.set(dut.override, override)
            ctx.set(dut.value, value)
            await ctx.tick()
            shown = ctx.get(dut.leds)
            assert [shown >> port & 1 for port in range(4)] == [
                (value if override >> port & 1 else link) >> port & 1 for port in range(4)]

    simulate(dut, [main])


def test_an_led_without_link_or_of_the_host_does_not_blink():
    dut = LinkLeds(CLOCK_HZ, 3, blink_ms=0.02)

    async def main(ctx):
        ctx.set(dut.activity, 7)
        ctx.set(dut.link, 2)
        ctx.set(dut.override, 6)
        ctx.set(dut.value, 4)
        await ctx.tick()
        for _ in range(200):
            *_, leds = await ctx.tick().sample(dut.leds)
            assert leds == 4

    simulate(dut, [main])


@pytest.mark.parametrize(("parameters", "message"), [
    ((1e6, 0, 50), "link LEDs are of at least one port, not 0"),
    ((1e6, 2, 1e-4), "a blink of 0.0001 ms is shorter than a cycle of a clock of 1000000.0 Hz"),
])
def test_refuses(parameters, message):
    clock_hz, ports, blink_ms = parameters
    with pytest.raises(ConfigError, match=message):
        LinkLeds(clock_hz, ports, blink_ms=blink_ms)
