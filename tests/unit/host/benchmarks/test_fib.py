import lzma

from polyrouter.host.benchmarks.fib import (
    TABLE,
    TABLE_IPV6,
    read_table,
    run_fib_bench,
    synthetic_table,
    synthetic_table_ipv6,
)

NAMES = ["ipv4_bits_per_route_dense", "ipv4_bits_per_route_sparse", "routes_per_second", "writes_per_update",
         "fences_per_update"]
NAMES_IPV6 = ["ipv6_bits_per_route_dense", "ipv6_bits_per_route_sparse", "ipv6_routes_per_second"]


def test_synthetic_table_is_the_same_every_time():
    table = synthetic_table(5000)
    assert table == synthetic_table(5000)
    assert len(set(table)) == 5000
    assert all(0 < length <= 24 and not prefix & (1 << 32 - length) - 1 for prefix, length in table)


def test_synthetic_ipv6_table_is_the_same_every_time():
    table = synthetic_table_ipv6(5000)
    assert table == synthetic_table_ipv6(5000)
    assert len(set(table)) == 5000
    assert all(29 <= length <= 48 and prefix >> 125 == 1 and not prefix & (1 << 128 - length) - 1
               for prefix, length in table)


def test_table_from_a_file(tmp_path):
    with lzma.open(tmp_path / TABLE, "wt") as out:
        out.writelines(f"10.{k // 256}.{k % 256}.0/24\n" for k in range(3000))
    with lzma.open(tmp_path / TABLE_IPV6, "wt") as out:
        out.writelines(f"2001:db8:{k:x}::/48\n" for k in range(3000))
    assert read_table(tmp_path / TABLE_IPV6)[257] == (0x20010DB80101 << 80, 48)
    table = read_table(tmp_path / TABLE)
    assert table[257] == (0x0A010100, 24)
    results = {result["name"]: result for result in run_fib_bench(tmp_path)}
    assert list(results) == NAMES + NAMES_IPV6
    assert results["ipv4_bits_per_route_dense"]["ok"] and results["ipv4_bits_per_route_dense"]["value"] < 30
    assert 1 <= results["writes_per_update"]["value"] < 20


def test_without_the_table_the_names_say_so(tmp_path):
    names = [result["name"] for result in run_fib_bench(tmp_path)]
    assert names == [f"{name}_synthetic" for name in NAMES + NAMES_IPV6]
