"""The tables of boards in a page, from results of builds."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest
from polyrouter.boards.flow.build import BuildResult
from polyrouter.boards.flow.placement import Placement
from polyrouter.boards.flow.timing import ClockTiming
from polyrouter.boards.registry import board_named
from polyrouter.host.benchmarks.boards import line_mpps, verdict
from polyrouter.host.benchmarks.boards_report import Built, boards_table, fill_page, main, rows_of
from polyrouter.sim.dataplane.measure import Throughput

VERSA = replace(board_named("versa_ecp5"), core_hz=62.5e6)
KC705 = board_named("kc705_ethfmc")
DAY = date(2026, 11, 5)


def built(board, *core_mhz: float, problem: str = "") -> BuildResult:
    config = board.config(board.host_link)
    placements = tuple(Placement(seed, (ClockTiming("core", mhz, board.core_hz / 1e6), ClockTiming("rx", 130.0, 125.0)),
                                 problem, {}, 120.0) for seed, mhz in enumerate(core_mhz, 1))
    used = {"luts": 21_924, "registers": 20_000, "block_rams": 54, "dsps": 3} if placements else {
        "luts": 20_380, "registers": 7, "block_rams": 89, "dsps": 12}
    return BuildResult(board.name, board.device.name, "authenticated", config.as_dict(), used, placements, 60.0, "")


def test_rows():
    line = {"ok": True, "value": 2.976, "bar": 2.974}
    table = boards_table([(VERSA, Built(built(VERSA, 71.06, 65.0), line, DAY)), (KC705, Built(built(KC705), None, DAY)),
                          (board_named("ecpix5"), None)]).splitlines()
    sizes = VERSA.config(VERSA.host_link)
    assert (f"| `versa_ecp5` | 2 | authenticated | {sizes.routers} | {sizes.fib_words:,} | {sizes.adjacencies:,} | "
            f"{sizes.filter_rules:,} | {sizes.mac_rows:,} | {sizes.buffer_bytes // 1024} |") in table
    assert ("| `versa_ecp5` | 21,924 (50 %) | 20,000 | 54 (50 %) | 3 | 65.0 of 62.5 MHz | 130.0 of 125 MHz | "
            "2 of 2 keep them | yes: 2.98 of 2.97 Mpps | 3 | 2026-11-05 |") in table
    assert ("| `kc705_ethfmc` | 20,380 (10 %) | 7 | 89 (10 %) | 12 | Vivado only | Vivado only |  | not measured | 1 "
            "| 2026-11-05 |") in table
    assert table[-1] == "Not built for this table: `ecpix5`."


def test_a_seed_that_misses():
    line = {"ok": False, "value": 1.0, "bar": 2.974}
    table = boards_table([(VERSA, Built(built(VERSA, 60.0, problem="too slow"), line, DAY))])
    assert "60.0 of 62.5 MHz" in table and "0 of 1 keep them" in table and "**no**: 1.00 of 2.97 Mpps" in table


def test_a_page_is_filled_from_a_folder(tmp_path):
    page, folder = tmp_path / "boards.md", tmp_path / "boards"
    page.write_text("before\n<!-- boards -->\nold\n<!-- end -->\nafter\n")
    (folder / "versa_ecp5").mkdir(parents=True)
    (folder / "versa_ecp5" / "result.json").write_text(json.dumps(built(VERSA, 71.0).as_dict()))
    (folder / "line_rate.json").write_text(json.dumps({"results": [
        {"name": "versa_ecp5", "ok": True, "value": 2.976, "bar": 2.974}]}))
    main(page, folder)
    text = page.read_text()
    assert text.startswith("before\n<!-- boards -->\n| board |") and text.endswith("<!-- end -->\nafter\n")
    assert "71.0 of 62.5 MHz" in text and "yes: 2.98" in text and "old" not in text
    with pytest.raises(ValueError, match="there must be one place"):
        fill_page("nothing", "")


def test_rows_of_boards_that_are_not_built_again_stay(tmp_path):
    """Whatever else is in the folder, only the rows of the board that is named change; of one that fails they go."""
    page = tmp_path / "boards.md"
    page.write_text("before\n<!-- boards -->\nold\n<!-- end -->\nafter\n")
    assert rows_of(page.read_text()) == {}
    for board, day, mhz in ((VERSA, 3, 71.0), (KC705, 4, None), (VERSA, 5, 66.5)):
        before = rows_of(page.read_text())
        (tmp_path / board.name).mkdir(exist_ok=True)
        result = tmp_path / board.name / "result.json"
        (tmp_path / "line_rate.json").write_text(json.dumps({"results": [
            {"name": board.name, "ok": True, "value": 2.976, "bar": 2.974}]}))
        result.write_text(json.dumps(built(board, *[mhz] if mhz else []).as_dict()))
        os.utime(result, (datetime(2026, 11, day, 12).timestamp(),) * 2)
        main(page, tmp_path, board.name)
        rows = rows_of(page.read_text())
        assert rows[board.name][1].endswith(f"| 2026-11-0{day} |") and "2.98" in rows[board.name][1]
        assert {name: row for name, row in rows.items() if name != board.name} == {
            name: row for name, row in before.items() if name != board.name}
    assert set(rows) == {"versa_ecp5", "kc705_ethfmc"}
    assert rows["kc705_ethfmc"][1].endswith("| 2026-11-04 |")
    assert "66.5 of 62.5 MHz" in page.read_text() and "71.0 of" not in page.read_text()
    assert page.read_text().count("`versa_ecp5`") == 2
    (tmp_path / "versa_ecp5" / "result.json").unlink()
    main(page, tmp_path, "versa_ecp5")
    assert set(rows_of(page.read_text())) == {"kc705_ethfmc"}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"results": 3}', '{"results": [{}]}', b"\xff\xfe"])
def test_a_line_rate_that_can_not_be_read_was_not_measured(tmp_path, capsys, content):
    """The placements took hours: their row is written all the same, and it is said what is missing."""
    page = tmp_path / "boards.md"
    page.write_text("<!-- boards -->\n<!-- end -->\n")
    (tmp_path / "versa_ecp5").mkdir()
    (tmp_path / "versa_ecp5" / "result.json").write_text(json.dumps(built(VERSA, 71.0).as_dict()))
    (tmp_path / "line_rate.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    main(page, tmp_path)
    assert "71.0 of 62.5 MHz" in page.read_text() and "| not measured |" in page.read_text()
    assert re.match(rf"{tmp_path}/line_rate.json has no results of 'polyrouter bench boards --json' .*: the line rates "
                    "count as not measured\n$", capsys.readouterr().err)


@pytest.fixture
def report(tmp_path):
    """``make boards-report`` with builds that are done, and a bench that prints something and ends with a code."""
    repository = Path(__file__).parents[4]
    shutil.copy(repository / "Makefile", tmp_path)
    polyrouter = """case "$1 $2" in
"board list") echo '[{"name": "versa_ecp5"}, {"name": "kc705_ethfmc"}]';;
"bench boards") printf %s "$PRINTED"; exit "$CODE";;
esac"""
    for name, program in (("tools/bootstrap", ""), ("bin/python", f'exec {sys.executable} "$@"'),
                          ("bin/polyrouter", polyrouter)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{program}\n")
        path.chmod(0o755)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "boards.md").write_text("<!-- boards -->\n<!-- end -->\n")
    for board, mhz in (VERSA, [71.0]), (KC705, []):
        folder = tmp_path / "build" / "boards" / board.name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(built(board, *mhz).as_dict()))

    def make(printed: str, code: int, *arguments: str) -> tuple[int, dict[str, str]]:
        ran = subprocess.run(["make", "BIN=bin", "boards-report", *arguments], cwd=tmp_path, check=False,
                             env={**os.environ, "MAKEFLAGS": "", "PRINTED": printed, "CODE": str(code)})
        rows = rows_of((tmp_path / "docs" / "boards.md").read_text())
        return ran.returncode, {name: figures.split(" | ")[8] for name, (_, figures) in rows.items()}
    return make


def rates(ok: bool, *names: str) -> str:
    return json.dumps({"results": [{"name": name, "ok": ok, "value": 2.976, "bar": 2.974} for name in names]})


def test_the_report_has_what_was_measured(report, tmp_path):
    assert report(rates(True, "versa_ecp5", "kc705_ethfmc"), 0) == (0, {
        "versa_ecp5": "yes: 2.98 of 2.97 Mpps", "kc705_ethfmc": "yes: 2.98 of 2.97 Mpps"})
    # A bar that is missed: make fails, but the figure is there. The other board's row keeps its own.
    assert report(rates(False, "versa_ecp5"), 1, "BOARD=versa_ecp5") == (2, {
        "versa_ecp5": "**no**: 2.98 of 2.97 Mpps", "kc705_ethfmc": "yes: 2.98 of 2.97 Mpps"})
    assert [path.name for path in (tmp_path / "build" / "boards").glob("line_rate*")] == ["line_rate.json"]


@pytest.mark.parametrize("printed", ["", '{"results": [{"name": "versa'])
def test_the_report_of_a_bench_that_fails_has_the_builds(report, tmp_path, printed):
    """And no verdict of an earlier bench, which was on another core."""
    report(rates(True, "versa_ecp5", "kc705_ethfmc"), 0)
    assert report(printed, 1, "BOARD=versa_ecp5") == (2, {
        "versa_ecp5": "not measured", "kc705_ethfmc": "yes: 2.98 of 2.97 Mpps"})
    assert not list((tmp_path / "build" / "boards").glob("line_rate*"))


@pytest.mark.parametrize("mpps,lost,wrong,ok", [(2.9761, 0, 0, True), (2.97, 0, 0, False), (2.9761, 1, 0, False),
                                                (2.9761, 0, 1, False)])
def test_line_rate_is_every_frame_as_it_should_be(mpps, lost, wrong, ok):
    row = verdict("versa_ecp5", 2, Throughput(32, 100, 1.0, 1000, mpps, lost, wrong))
    assert (row["ok"], row["bar"]) == (ok, 2.975)
    assert line_mpps(2) == pytest.approx(2 * 125 / 84)
