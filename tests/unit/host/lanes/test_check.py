"""What is refused before anything is changed."""

import pytest
from polyrouter.host.lanes.check import check
from polyrouter.host.lanes.errors import LaneError
from polyrouter.host.lanes.trunk import Trunk
from polyrouter.host.link_spec import PortPolicySpec, VnicSpec


def vnic(number: int = 1, **fields) -> VnicSpec:
    values = {"name": f"v{number}", "lane": "sw", "switch": "s1", "interface": "eth0", "namespace": f"ns{number}",
              "outer": f"n1-v{number}", "mac": f"02:00:00:00:00:{number:02x}"}
    return VnicSpec(**(values | fields))


def test_what_is_right_is_accepted():
    check([vnic(1, max_bw=64_000, min_bw=64_000, mtu=9000, addresses=["10.0.0.1/24", "fd00::1/64"], vlan=4094,
                policy=PortPolicySpec(macs=["00:00:5e:00:01:01"])),
           vnic(2, max_bw=1_000_000_000, priority="high"), vnic(3, namespace="", router="r1", interface="eth7"),
           vnic(4, switch="s2", mac="02:00:00:00:00:01"), vnic(5, mtu=68, addresses=["10.0.0.5/24"])],
          [Trunk("s1", "t0"), Trunk("s1", "t1", vlan=4094), Trunk("s2", "t2")], {"r1": "/proc/1/ns/net"})


@pytest.mark.parametrize(("fields", "message"), [
    ({"lane": "hw"}, "lane is hw; the software lane takes those with lane 'sw' only"),
    ({"switch": ""}, "the end of a virtual wire; .* use lane 'hw'"),
    ({"interface": ""}, "'' can't be the name of its interface"),
    ({"interface": "a/b"}, "'a/b' can't be the name of its interface"),
    ({"outer": "sixteen-letters-"}, "can't be the name of its outer interface; use 1 to 15 characters"),
    ({"namespace": "", "router": "r9"}, "router 'r9' has no container that runs"),
    ({"mac": "02:00:00:00:01"}, "'02:00:00:00:01' is no MAC address of an interface"),
    ({"mac": "03:00:00:00:00:01"}, "is no MAC address of an interface; .* the first one even"),
    ({"mac": "00:00:00:00:00:00"}, "is no MAC address of an interface"),
    ({"policy": PortPolicySpec(macs=["x"])}, "'x' is no MAC address"),
    ({"addresses": ["10.0.0.300/24"]}, "use an address with its prefix length, like 10.0.0.1/24"),
    ({"mtu": 67}, "its MTU is 67; use 68 to 9000"),
    ({"mtu": 1279, "addresses": ["fd00::1/64"]}, "its MTU is 1279; use 1280 to 9000"),
    ({"mtu": 9001}, "its MTU is 9001"),
    ({"vlan": 4095}, "its VLAN is 4095; use 1 to 4094, or 0 for none"),
    ({"max_bw": 63_999}, "max_bw is 63999 bit/s; use 64000 to 1000000000"),
    ({"max_bw": 1_000_000_001}, "max_bw is 1000000001 bit/s"),
    ({"max_bw": 0}, "max_bw is 0 bit/s"),
    ({"min_bw": 2_000_000, "max_bw": 1_000_000}, "min_bw is 2000000 bit/s, above its max_bw of 1000000"),
    ({"priority": "urgent"}, "its priority is 'urgent'; use low, medium or high"),
])
def test_what_is_wrong_with_a_vnic_is_said(fields, message):
    with pytest.raises(LaneError, match=f"VNIC v1: .*{message}"):
        check([vnic(1, **fields)], [], {})


@pytest.mark.parametrize(("fields", "message"), [
    ({"name": "v1"}, "v1, v1: 2 VNICs have the name v1"),
    ({"outer": "n1-v1"}, "v1, v2: 2 have the outer interface n1-v1"),
    ({"namespace": "ns1"}, "v1, v2: 2 have the namespace and interface ns1, eth0"),
    ({"mac": "02:00:00:00:00:01"}, "v1, v2: 2 have the switch, VLAN and MAC address s1, 0, 02:00:00:00:00:01"),
])
def test_what_two_vnics_can_not_share(fields, message):
    with pytest.raises(LaneError, match=message):
        check([vnic(1), vnic(2, **fields)], [], {})


@pytest.mark.parametrize(("trunks", "message"), [
    ([Trunk("s1", "t0"), Trunk("s2", "t0")], "s1, s2: 2 have the trunk t0"),
    ([Trunk("s1", "t0"), Trunk("s1", "t1")], "t0, t1: 2 are trunks of the switch and VLAN s1, 0"),
    ([Trunk("s1", "t0", rate=1000)], "trunk t0: its rate is 1000 bit/s"),
    ([Trunk("s1", "t0", rate=1_000_000)], "min_bw of its VNICs make 1100000 bit/s, but its trunk t0 carries 1000000"),
])
def test_what_is_wrong_with_trunks_is_said(trunks, message):
    with pytest.raises(LaneError, match=message):
        check([vnic(1, min_bw=500_000), vnic(2, min_bw=600_000), vnic(3, switch="s2", min_bw=500_000)], trunks, {})
