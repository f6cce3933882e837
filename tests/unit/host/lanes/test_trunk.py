"""How VNICs share a trunk."""

from polyrouter.host.lanes.limits import Share
from polyrouter.host.lanes.trunk import shares_of
from polyrouter.host.link_spec import VnicSpec


def vnic(**fields) -> VnicSpec:
    return VnicSpec(name="v", lane="sw", switch="s", interface="eth0", namespace="n", outer="o",
                    mac="02:00:00:00:00:01", **fields)


def test_no_classes_if_nobody_asks_for_more_than_the_others():
    assert shares_of({}, {}) == {}
    assert shares_of({5: vnic(), 6: vnic(max_bw=64_000)}, {5: 3}) == {}


def test_one_that_asks_gives_all_a_class():
    assert shares_of({5: vnic(), 6: vnic(min_bw=64_000), 7: vnic(priority="high")}, {}) == {
        5: Share(3, 0, "medium"), 6: Share(4, 64_000, "medium"), 7: Share(5, 0, "high")}


def test_classes_keep_their_numbers():
    members = {5: vnic(), 6: vnic(priority="low"), 9: vnic()}
    shares = shares_of(members, {5: 4, 9: 3, 12: 5})
    assert {index: share.minor for index, share in shares.items()} == {5: 4, 9: 3, 6: 5}
