"""A move's timeline: each stage and step has its bar, in order, as long as it took."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from polyrouter.host.migration.move import Stage
from polyrouter.host.migration.picture import draw

SVG = "{http://www.w3.org/2000/svg}"


def moved(**changes):
    stages = {stage.value: 100.0 * (index + 1) for index, stage in enumerate(Stage)}
    return {"what": "moved", "router": "red-<west>", "to": "east", "total_ms": 2100.0, "freeze_ms": 350.0,
            "stages_ms": stages, "steps_ms": {"dump": 250.0, "restore": 100.0, "restore: network": 20.0}, **changes}


def test_bars_follow_each_other():
    top = ElementTree.fromstring(draw([{"what": "stage", "stage": "copy"}, moved(total_ms=1.0), moved()]))
    bars = [{name: float(bar.get(name)) for name in ("x", "y", "width")} for bar in list(top.iter(f"{SVG}rect"))[1:]]
    assert len(bars) == len(Stage) + 2
    for group in (bars[:len(Stage)], bars[len(Stage):]):
        assert [bar["y"] for bar in group] == sorted(bar["y"] for bar in group)
        for before, after in pairwise(group):
            assert after["x"] == pytest.approx(before["x"] + before["width"], abs=0.2)
        assert all(bar["x"] + bar["width"] < 960 for bar in group)
    assert bars[1]["width"] == pytest.approx(2 * bars[0]["width"], abs=0.2)
    texts = [text.text for text in top.iter(f"{SVG}text")]
    assert "red-<west> moves to east: 2100 ms" in texts[0] and "stop-and-copy" in texts
    assert "restore, network: 20 ms" in texts[-1]


def test_no_move():
    with pytest.raises(ValueError, match="have no move"):
        draw([{"what": "changed"}])
