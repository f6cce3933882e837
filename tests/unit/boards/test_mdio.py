# amaranth: UnusedElaboratable=no
# What is refused is not used.
"""MDIO master against a bus model of IEEE 802.3 clause 22, which watches every edge."""

import random

import pytest
from polyrouter.boards.mdio import MDC_HZ, MdioMaster, half_period
from polyrouter.hdl.config import ConfigError
from polyrouter.hdl.layouts import pack, unpack
from polyrouter.hdl.mdio import MDIO_COMMAND, MDIO_RESPONSE
from polyrouter.sim.mdio_phy import Clause22Phy, MdioBus

from ..hdl.bench import sink, source
from .bench import simulate


@pytest.mark.parametrize("clock_hz", [8e6, 25e6, *(pytest.param(hz, marks=pytest.mark.slow) for hz in (62.5e6, 125e6))])
def test_random_accesses(clock_hz):
    rng = random.Random(clock_hz)
    addresses = rng.sample(range(32), 3)
    phys = {address: Clause22Phy(rng.getrandbits(32), gigabit=k != 1) for k, address in enumerate(addresses)}
    bus = MdioBus(phys, rng=rng)
    # What each access must give, from phys of the same kind.
    twins = {address: Clause22Phy(phy.identifier, gigabit=phy.gigabit) for address, phy in phys.items()}
    commands, expected = [], []
    for _ in range(24):
        command = {"write": rng.getrandbits(1), "phy": rng.choice([*addresses, *addresses, rng.randrange(32)]),
                   "register": rng.choice([0, 1, 2, 3, 4, 9, rng.randrange(32)]), "data": rng.getrandbits(16)}
        twin = twins.get(command["phy"])
        if command["write"]:
            expected.append({"ok": 1, "data": None})
            if twin is not None:
                twin.write(command["register"], command["data"])
        elif twin is None:
            expected.append({"ok": 0, "data": 0xFFFF})      # the pull-up
        else:
            expected.append({"ok": 1, "data": twin.read(command["register"])})
        commands.append(command)
    dut = MdioMaster(clock_hz)
    answers = []
    simulate(dut, clock_hz, [
        source(dut.i, [pack(MDIO_COMMAND, command) for command in commands], rng=rng, rate=0.3),
        sink(dut.o, answers, rng=rng, rate=0.2, count=len(commands)),
    ], bus=dut.bus, model=bus)
    answers = [unpack(MDIO_RESPONSE, answer) for answer in answers]
    assert [answer["ok"] for answer in answers] == [answer["ok"] for answer in expected]
    assert [answer["data"] for answer, right in zip(answers, expected, strict=True) if right["data"] is not None] == [
        right["data"] for right in expected if right["data"] is not None]
    assert [(frame.write, frame.phy, frame.register) for frame in bus.frames] == [
        (bool(command["write"]), command["phy"], command["register"]) for command in commands]
    assert {frame.data for frame in bus.frames if frame.write} == {
        command["data"] for command in commands if command["write"]}


@pytest.mark.parametrize("clock_hz", [2e6, 25e6, 62.5e6, 66e6, 125e6])
def test_mdc_is_no_faster_than_asked(clock_hz):
    half = half_period(clock_hz)
    assert clock_hz / (2 * half) <= MDC_HZ
    # The PHY's bit is there 300 ns after the edge, and goes through the synchronizer before the next one.
    assert 2 * half / clock_hz >= 300e-9 + 3 / clock_hz - 1e-12
    assert half_period(clock_hz, 1e6) >= half


@pytest.mark.parametrize("parameters", [(0, 1e6), (1e6, -1)])
def test_frequencies_that_are_none(parameters):
    with pytest.raises(ConfigError, match="_hz must be positive, not"):
        MdioMaster(*parameters)
