"""Tables of results in a Markdown page."""

import json

from polyrouter.host.benchmarks.document import fill_tables, main, table

RESULT = {"results": [
    {"name": "speed", "value": 5.951, "unit": "Mpps", "bar": 5.95, "ok": True},
    {"name": "lost", "value": 12345, "unit": "frames", "bar": 0, "ok": False},
    {"name": "routes", "value": 3.0, "unit": "routes", "bar": None, "ok": True},
    {"name": "broken", "value": None, "unit": "x", "bar": 2.0, "ok": False, "error": "g++ failed\nmore"},
]}


def test_rows():
    assert table(RESULT) == (
        "| result | bar | figure | unit | met |\n|---|---|---|---|---|\n"
        "| `speed` | 5.95 | 5.951 | Mpps | yes |\n"
        "| `lost` | 0 | 12,345 | frames | **no** |\n"
        "| `routes` |  | 3 | routes |  |\n"
        "| `broken` | 2 | g++ failed | x | **no** |\n")
    no_bars = table({"results": [{"name": "luts", "value": 10, "unit": "luts"}]})
    assert no_bars.splitlines()[-1] == "| `luts` | 10 | luts |"


def test_cores_are_next_to_each_other():
    rows = [{"core": core, "figure": figure, "name": "x", "value": value, "unit": "blocks"}
            for core, figure, value in (
                ("ecp5, 8", "all", 1200), ("ecp5, 8", "all[others]", 3), ("ecp5, 8", "all[fib]", 7),
                ("ecp5, 8", "luts", 5), ("xc7, 8", "all", 9), ("xc7, 8", "all[queue]", 1))]
    assert table({"results": rows}) == (
        "| result | ecp5, 8 | xc7, 8 | unit |\n|---|---|---|---|\n"
        "| `all` | 1,200 | 9 | blocks |\n"
        "| `all[fib]` | 7 |  | blocks |\n| `all[queue]` |  | 1 | blocks |\n| `all[others]` | 3 |  | blocks |\n"
        "| `luts` | 5 |  | blocks |\n")


def test_only_tables_that_have_results_change(tmp_path):
    page = "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\nkept\n<!-- end -->\nc\n"
    assert fill_tables(page, lambda _: None) == page
    (tmp_path / "page.md").write_text(page)
    (tmp_path / "one.json").write_text(json.dumps(RESULT))
    (tmp_path / "two.json").write_text("")
    for _ in range(2):
        main(tmp_path / "page.md", tmp_path)
        assert (tmp_path / "page.md").read_text() == page.replace("old\n", table(RESULT))
