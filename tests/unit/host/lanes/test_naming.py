"""Names, marks and memos."""

import pytest
from polyrouter.host.lanes.naming import Memo, bridge_name, group_of, ifb_name, inner_name, table_name


def test_names_fit_and_differ():
    names = {bridge_name(owner, switch, vlan) for owner in ("n1", "n2") for switch in ("s1", "s2") for vlan in (0, 5)}
    names |= {make(outer) for make in (ifb_name, inner_name) for outer in ("n1-v1", "n1-v2")}
    assert len(names) == 12
    assert all(len(name) <= 15 for name in names)


def test_each_owner_has_a_mark_of_its_own():
    groups = {group_of(f"node{number}") for number in range(500)}
    assert len(groups) == 500
    # Group 0 is everybody's, and the kernel's number is signed.
    assert all(0 < group < 1 << 31 for group in groups)
    assert table_name("n1") != table_name("n2")


def test_a_memo_is_read_back():
    memo = Memo("ns1", "02:00:00:00:00:01", ["ns1", "ns2"])
    assert Memo.parse(str(memo)) == memo
    assert len(str(Memo("/proc/4194304/ns/net", "02:00:00:00:00:01"))) < 255


@pytest.mark.parametrize("alias", [None, "", "uplink", "{}", "[]", "1", '{"namespace":"a","mac":"b","made":1}'])
def test_other_aliases_are_no_memos(alias):
    assert Memo.parse(alias) is None
