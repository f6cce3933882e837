"""What a run of nextpnr is taken for."""

import json

from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.flow.placement import Placement, placement_of

CLOCKS = {"sync": 62.5e6, "eth": 125e6}
USED = {"TRELLIS_COMB": {"used": 7, "available": 10}, "JTAGG": {"used": 0, "available": 1}}


@given(st.floats(1, 300), st.floats(1, 300))
def test_the_worst_clock_decides(core, eth):
    report = {"fmax": {"core": {"achieved": core, "constraint": 62.5}, "eth": {"achieved": eth, "constraint": 125.0}},
              "utilization": USED}
    found = placement_of(3, report, "", CLOCKS, 1.5)
    assert bool(found.problem) == (core < 62.5 or eth < 125)
    assert found.clocks[0].mhz / found.clocks[0].wanted_mhz == min(core / 62.5, eth / 125)
    assert (found.margin >= 1) == (not found.problem)
    assert found.used == {"TRELLIS_COMB": (7, 10)}
    assert Placement.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    assert placement_of(3, report, "", CLOCKS, 1.5, empty=2).used == {"TRELLIS_COMB": (5, 10)}


def test_an_ignored_constraint_is_a_problem():
    report = {"fmax": {"core": {"achieved": 99.0, "constraint": 62.5}, "eth": {"achieved": 199.0, "constraint": 125.0}},
              "utilization": USED}
    found = placement_of(1, report, "Warning: ignoring clock constraint on x", CLOCKS, 1.0)
    assert "a constraint was ignored" in found.problem and found.margin == 0
