"""Quotas against the rule of the specification, with frames, cells that come back and writes of rows."""

import random
from collections import deque

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import QUOTA_ROW, pack, unpack
from polyrouter.hdl.quotas import Quotas

from .bench import access, simulate


class Model:
    def __init__(self, routers):
        self.held = [0] * (routers + 1)
        self.rows = [{"reserved": 0, "limited": 0, "limit": 0} for _ in range(routers + 1)]

    def used(self):
        return sum(max(0, h - row["reserved"]) for h, row in zip(self.held, self.rows, strict=True))

    def accepts(self, router, need, shared):
        row, held = self.rows[router], self.held[router]
        if row["limited"] and held + need > row["limit"]:
            return False
        return need <= max(0, row["reserved"] - held) + max(0, shared - self.used())


@pytest.mark.parametrize("seed", range(3))
def test_follows_the_rule(seed):
    rng = random.Random(seed)
    config = CoreConfig(routers=3, buffer_bytes=8192)
    dut = Quotas(config)
    model = Model(config.routers)
    accepted = deque()
    answers = []

    async def asks(ctx):
        """Frames and writes of rows, one after the other, so that the model knows their order."""
        ctx.set(dut.shared_cells, shared := config.cells)
        for _ in range(400):
            if rng.random() < 0.05:
                shared = rng.randrange(config.cells + 1)
                ctx.set(dut.shared_cells, shared)
            if rng.random() < 0.15:
                router = rng.randrange(config.routers + 1)
                row = {"reserved": rng.choice([0, 5, 30]), "limited": rng.getrandbits(1),
                       "limit": rng.choice([0, 7, 40])}
                await access(ctx, dut.table, router, pack(QUOTA_ROW, row))
                model.rows[router] = row
                assert unpack(QUOTA_ROW, await access(ctx, dut.table, router)) == row
            router, need, allow = rng.randrange(config.routers + 1), rng.choice([1, 1, 2, 3, 24]), rng.random() < 0.9
            ctx.set(dut.take, 1)
            ctx.set(dut.take_router, router)
            while not (await ctx.tick().sample(dut.take_ready))[2]:
                pass
            ctx.set(dut.take, 0)
            ctx.set(dut.need, need)
            ctx.set(dut.allow, allow)
            await ctx.tick().repeat(2)
            *_, decide, accept = await ctx.tick().sample(dut.decide, dut.accept)
            assert decide
            wanted = allow and model.accepts(router, need, shared)
            answers.append(accept)
            assert accept == wanted
            if accept:
                model.held[router] += need
                accepted.append((router, need))
            # Give some back. What was accepted before counts from the end of the access on.
            while accepted and rng.random() < (0.4 if sum(model.held) < config.cells // 2 else 0.7):
                accepted.rotate(rng.randrange(len(accepted)))
                router, count = accepted.popleft()
                ctx.set(dut.give.payload.router, router)
                ctx.set(dut.give.payload.count, count)
                ctx.set(dut.give.valid, 1)
                while not (await ctx.tick().sample(dut.give.ready))[2]:
                    pass
                ctx.set(dut.give.valid, 0)
                model.held[router] -= count
                if rng.random() < 0.5:
                    await ctx.tick().repeat(rng.randrange(1, 5))

    simulate(dut, [asks])
    assert 100 < sum(answers) < 390


def test_asking_giving_and_writing_take_turns():
    config = CoreConfig(routers=2)
    dut = Quotas(config)
    taken, given, written = [], [], []

    async def asks(ctx):
        ctx.set(dut.shared_cells, config.cells)
        ctx.set(dut.take, 1)
        ctx.set(dut.need, 1)
        ctx.set(dut.allow, 1)
        ctx.set(dut.give.payload.count, 1)
        ctx.set(dut.give.valid, 1)
        for cycle in range(90):
            *_, take, give = await ctx.tick().sample(dut.take_ready, dut.give.ready)
            taken.extend([cycle] * take)
            given.extend([cycle] * give)

    async def writes(ctx):
        for _ in range(8):
            await access(ctx, dut.table, 1, 5)
            written.append(0)

    simulate(dut, [asks, writes])
    assert len(taken) + len(given) + len(written) == 30
    assert len(written) == 8 and abs(len(taken) - len(given)) <= 1
