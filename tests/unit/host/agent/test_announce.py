"""What a segment is told of a router that comes: as the standards' own fields say."""

from polyrouter.host.agent.announce import announcements, probe
from polyrouter.host.spec import PortSpec
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

MAC = "02:00:00:00:00:07"


def frames(*addresses):
    return announcements(PortSpec(port=0, name="eth0", outer="o", mac=MAC, addresses=list(addresses), mtu=1500,
                                  guard=False, peers=[]))


def test_one_for_each_address():
    first, second = frames("10.0.0.1/24", "2001:db8::1/64")
    arp = Ether(first)
    assert (arp.src, arp.dst, len(first)) == (MAC, "ff:ff:ff:ff:ff:ff", 60)
    assert (arp[ARP].op, arp[ARP].hwsrc, arp[ARP].psrc, arp[ARP].pdst) == (1, MAC, "10.0.0.1", "10.0.0.1")
    advertisement = Ether(second)
    assert advertisement.dst == "33:33:00:00:00:01"
    assert (advertisement[IPv6].dst, advertisement[IPv6].hlim) == ("ff02::1", 255)
    told = advertisement[ICMPv6ND_NA]
    assert (told.tgt, told.R, told.S, told.O) == ("2001:db8::1", 1, 0, 1)
    assert advertisement[ICMPv6NDOptDstLLAddr].lladdr == MAC
    checksum = told.cksum
    del advertisement[ICMPv6ND_NA].cksum
    assert Ether(bytes(advertisement))[ICMPv6ND_NA].cksum == checksum


def test_a_port_without_address_is_told_of_too():
    frame, = frames()
    assert Ether(frame).src == MAC and len(frame) == 60


def test_a_probe_is_the_port_s_own_and_asks_for_nothing():
    port = PortSpec(port=0, name="eth0", outer="o", mac=MAC, addresses=[], mtu=1500, guard=False, peers=[])
    plain, tagged = Ether(probe(port)), Ether(probe(port.model_copy(update={"vlan": 7})))
    assert (plain.src, plain.dst, plain.type, len(plain)) == (MAC, MAC, 0x9000, 60)
    assert (tagged[Dot1Q].vlan, tagged[Dot1Q].type, len(tagged)) == (7, 0x9000, 60)
