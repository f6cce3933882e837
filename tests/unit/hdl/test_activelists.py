"""Active lists against Python lists."""

import random

import pytest
from polyrouter.hdl.activelists import ActiveLists, Turn
from polyrouter.hdl.config import CoreConfig

from .bench import simulate


@pytest.mark.parametrize("seed", range(3))
def test_random_changes(seed):
    rng = random.Random(seed)
    config = CoreConfig(ports=2, routers=5)
    dut = ActiveLists(config)
    ports = config.all_ports
    model = {(port, c): [] for port in range(ports) for c in range(2)}
    fresh = {}
    longest = []

    async def changes(ctx):
        for _ in range(800):
            port = rng.randrange(ports)
            ctx.set(dut.port, port)
            rows = [router * ports + port for router in range(config.routers + 1)]
            if rng.random() < 0.5:
                row = rng.choice(rows)
                bits = sum(1 << c for c in range(2) if row not in model[port, c] and rng.random() < 0.7)
                ctx.set(dut.row, row)
                ctx.set(dut.append, bits)
                await ctx.tick()
                ctx.set(dut.append, 0)
                for c in range(2):
                    if bits >> c & 1:
                        if not model[port, c]:
                            fresh[port, c] = 1
                        model[port, c].append(row)
            else:
                c = rng.randrange(2)
                if not model[port, c]:
                    continue
                ctx.set(dut.peek, 1)
                ctx.set(dut.peek_class, c)
                await ctx.tick()
                ctx.set(dut.peek, 0)
                turn = rng.choice(list(Turn))
                ctx.set(dut.serve, 1)
                ctx.set(dut.serve_class, c)
                ctx.set(dut.turn, turn)
                await ctx.tick()
                ctx.set(dut.serve, 0)
                first = model[port, c].pop(0)
                if turn == Turn.STAY:
                    model[port, c].insert(0, first)
                elif turn == Turn.ROTATE:
                    model[port, c].append(first)
                fresh[port, c] = int(turn != Turn.STAY)
            for (port, c), rows in model.items():
                assert ctx.get(dut.filled[port]) >> c & 1 == bool(rows)
                if rows:
                    assert ctx.get(dut.head[port][c]) == rows[0]
                    assert ctx.get(dut.fresh[port]) >> c & 1 == fresh[port, c]
            longest.append(max(map(len, model.values())))

    simulate(dut, [changes])
    assert max(longest) == config.routers + 1
