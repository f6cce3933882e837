import lzma

from polyrouter.host.benchmarks.fib import TABLE, read_table, run_fib_bench, synthetic_table

NAMES = ["ipv4_bits_per_route_dense", "ipv4_bits_per_route_sparse", "routes_per_second", "writes_per_update",
         "fences_per_update"]


def test_synthetic_table_is_the_same_every_time():
    table = synthetic_table(5000)
    assert table == synthetic_table(5000)
    assert len(set(table)) == 5000
    assert all(0 < length <= 24 and not prefix & (1 << 32 - length) - 1 for prefix, length in table)


def test_table_from_a_file(tmp_path):
    with lzma.open(tmp_path / TABLE, "wt") as out:
        out.writelines(f"10.{k // 256}.{k % 256}.0/24\n" for k in range(3000))
    table = read_table(tmp_path / TABLE)
    assert table[257] == (0x0A010100, 24)
    results = {result["name"]: result for result in run_fib_bench(tmp_path)}
    assert list(results) == NAMES
    assert results["ipv4_bits_per_route_dense"]["ok"] and results["ipv4_bits_per_route_dense"]["value"] < 30
    assert 1 <= results["writes_per_update"]["value"] < 20


def test_without_the_table_the_names_say_so(tmp_path):
    assert [result["name"] for result in run_fib_bench(tmp_path)] == [f"{name}_synthetic" for name in NAMES]
