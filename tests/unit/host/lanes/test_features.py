"""What the kernel lacks is found out and named."""

import pytest
from polyrouter.host.lanes import features, software
from polyrouter.host.lanes.errors import LaneError
from polyrouter.host.lanes.features import FEATURES, missing_features
from polyrouter.host.link_spec import VnicSpec
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

pytestmark = pytest.mark.root


def test_nothing_is_left_of_the_attempts():
    with IPRoute() as route:
        before = {link.get("ifname") for link in route.get_links()}
        missing = missing_features()
        assert set(missing) <= set(FEATURES)
        assert {link.get("ifname") for link in route.get_links()} == before


def test_a_qdisc_that_the_kernel_refuses_is_named(monkeypatch):
    def refuse(*_: object) -> None:
        raise NetlinkError(2, "Specified qdisc kind is unknown")

    monkeypatch.setattr(features, "ensure_bucket", refuse)
    missing = missing_features()
    assert missing["tc tbf"] == "No such file or directory"
    # The others are tried all the same.
    assert set(missing) - {"tc tbf"} == set(missing_without_change(monkeypatch))


def missing_without_change(monkeypatch) -> dict[str, str]:
    monkeypatch.undo()
    return missing_features()


def test_vnics_are_refused_if_they_need_what_is_missing(monkeypatch):
    missing = dict.fromkeys(("ifb", "tc htb"), "Operation not supported")
    monkeypatch.setattr(software, "missing_features", lambda: missing)
    lane = software.SoftwareLane("prl-no-fabric", "n1")
    vnic = VnicSpec(name="v1", lane="sw", switch="s1", interface="eth0", namespace="prl-none", outer="n1-v1",
                    mac="02:00:00:00:00:01")
    with pytest.raises(LaneError, match=r"lacks ifb for max_bw, of v1 \(Operation not supported\): modprobe ifb"):
        lane.apply([vnic.model_copy(update={"max_bw": 64_000})])
    for fields in ({"min_bw": 64_000}, {"priority": "low"}):
        with pytest.raises(LaneError, match="lacks tc htb for min_bw and priority, of v1"):
            lane.apply([vnic.model_copy(update=fields)])
    # One that asks for neither gets further: to the fabric, which is not there.
    with pytest.raises(FileNotFoundError):
        lane.apply([vnic])
