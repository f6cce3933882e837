"""Place and route: a router that makes no progress is stopped."""

import json
from types import SimpleNamespace

import pytest
from polyrouter.boards.flow.ecp5 import NEXTPNR_VARIABLE, Ecp5Flow
from polyrouter.boards.flow.tools import FlowError, Tools
from polyrouter.boards.registry import board_named

#: Prints rounds of the router, with so many wires wanted in each.
_ROUTER = """#!/bin/sh
[ "$1" = --version ] && exit
echo "$@" > arguments
echo 'Info: Running router2...'
round=0
echo 'Info: Routing 100 arcs.'
for wanted in WANTED; do
    round=$((round + 1))
    case "$*" in
    *router2*) echo "Info:     iter=$round wires=5 overused=$wanted overuse=7 archfail=NA" ;;
    *) echo "Info:    ${round}00 |        9         89 |    1    99 | $wanted|       0.90     158.95|" ;;
    esac
done
echo '{"fmax": {}, "utilization": {"TRELLIS_COMB": {"used": 9, "available": 20}}}' > report.json
: > nextpnr.log
"""


def place(tmp_path, monkeypatch, wanted: list[int], *, crowded: bool = False, empty: int = 4):
    program = tmp_path / "nextpnr"
    program.write_text(_ROUTER.replace("WANTED", " ".join(map(str, wanted))))
    program.chmod(0o755)
    monkeypatch.setenv(NEXTPNR_VARIABLE, str(program))
    told: list[str] = []
    top = SimpleNamespace(inner=SimpleNamespace(signature=SimpleNamespace(members={})), clocks=dict)
    flow = Ecp5Flow(board_named("versa_ecp5"), top, tmp_path, told.append)
    flow._files["top.lpf"] = ""
    (tmp_path / "synthesis").mkdir()
    (tmp_path / "synthesis" / "top.json").write_text("{}")
    result = {"seconds": 1.0, "empty": empty, "crowded": crowded}
    (tmp_path / "synthesis" / "result.json").write_text(json.dumps(result))
    with Tools() as tools:
        return told, flow.place(3, tools)


def test_rounds_are_told_and_what_is_to_stay_empty_is_not_counted(tmp_path, monkeypatch):
    told, placement = place(tmp_path, monkeypatch, [20, 10, 0])
    assert placement.used == {"TRELLIS_COMB": (5, 20)}
    assert [line for line in told if "round" in line] == [
        f"place and route, seed 3: round {number}, {wanted} wires are wanted by several nets"
        for number, wanted in ((1, 20), (2, 10), (3, 0))]


@pytest.mark.parametrize("crowded, empty, placer, router", [
    (False, 4, "static", "router2"), (False, 0, "static", "router1"), (True, 0, "heap", "router1")])
def test_a_device_that_is_nearly_full_is_placed_and_routed_by_others(tmp_path, monkeypatch, crowded, empty, placer,
                                                                     router):
    place(tmp_path, monkeypatch, [0], crowded=crowded, empty=empty)
    assert f"--placer {placer} --router {router} --seed 3" in (tmp_path / "seed-3" / "arguments").read_text()


def test_steps_of_the_other_router_are_told_and_bounded(tmp_path, monkeypatch):
    told, placement = place(tmp_path, monkeypatch, [20, 3, 0], empty=0)
    assert not placement.problem
    assert [line for line in told if "step" in line] == [
        f"place and route, seed 3: step {number}, {left} connections are left"
        for number, left in ((100, 20), (200, 3), (300, 0))]
    (tmp_path / "more").mkdir()
    with pytest.raises(FlowError, match="seed 3 failed: after 1100 steps of the router for 100 connections, 1 are "
                                        "still not made; make the core smaller"):
        place(tmp_path / "more", monkeypatch, [1] * 12, empty=0)


def test_settings_that_are_no_options_are_in_the_netlist(tmp_path):
    """The key of a module from which nextpnr takes them (its JSON front end)."""
    file = tmp_path / "top.json"
    file.write_text(json.dumps({"modules": {"top": {"ports": {}, "cells": {}, "netnames": {}}}}))
    Ecp5Flow(board_named("versa_ecp5"), SimpleNamespace(inner=SimpleNamespace(
        signature=SimpleNamespace(members={}))), tmp_path, lambda _: None)._finish(file)
    settings = json.loads(file.read_text())["modules"]["top"]["settings"]
    assert settings == {"router2/bbMargin/x": 10, "router2/bbMargin/y": 10, "router2/estimateWeight": "0.7"}


def test_no_progress_is_stopped(tmp_path, monkeypatch):
    with pytest.raises(FlowError, match="seed 3 failed: after 150 rounds of the router, 12 wires are still wanted by "
                                        "several nets; make the core smaller"):
        place(tmp_path, monkeypatch, [12] * 200)
    assert not [path for path in tmp_path.iterdir() if "seed" in path.name]


def test_wires_that_do_not_become_fewer_are_stopped_at_once(tmp_path, monkeypatch):
    with pytest.raises(FlowError, match="in round 18 of the router, 901 wires are wanted by several nets, no fewer "
                                        "than 15 rounds before; make the core smaller"):
        place(tmp_path, monkeypatch, [5000, 2000, 900, *range(2000, 860, -90), 880, 901, 10, 0])


def test_few_wires_may_come_and_go(tmp_path, monkeypatch):
    _, placement = place(tmp_path, monkeypatch, [5000, 2000, 1, *[20, 199] * 20, 0])
    assert not placement.problem


def test_a_nextpnr_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv(NEXTPNR_VARIABLE, "/nowhere/nextpnr-ecp5")
    with pytest.raises(FlowError, match="/nowhere/nextpnr-ecp5 is not installed: POLYROUTER_NEXTPNR must be the path"):
        Ecp5Flow(board_named("versa_ecp5"), SimpleNamespace(inner=SimpleNamespace(
            signature=SimpleNamespace(members={}))), tmp_path, print).place(1, Tools())
