"""Decoder, on messages that a kernel (Linux 6.18) sent upon the commands in the comments."""

import socket
import struct
from ipaddress import ip_address

import pytest
from polyrouter.host.mirror.netlink import (
    Address,
    Event,
    Hop,
    Link,
    Neighbour,
    NextHopObject,
    Route,
    decode,
    neighbour_use_request,
)
from polyrouter.host.tables.prefix import Prefix
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg


def ip(text: str) -> int:
    return int(ip_address(text))


def six(gateway: str, weight: int = 1) -> Hop:
    return Hop(3, ip(gateway), 0, False, True, weight)


NEW = 0x600
MESSAGES = {
    # route add 20.0.0.0/24 via 10.0.0.2 metric 20
    "plain": (
        "44000000180000065f53036be546000002180000fe0300010000000008000f00fe000000080001001400000008000600"
        "14000000080005000a0000020800040002000000",
        [Event(True, Route(254, Prefix.parse("20.0.0.0/24"), 0, 20, 1, (Hop(2, ip("10.0.0.2")),)), NEW)]),
    # route del 20.0.0.0/24
    "delete": (
        "44000000190000005f53036be646000002180000fe0300010000000008000f00fe000000080001001400000008000600"
        "14000000080005000a0000020800040002000000",
        [Event(False, Route(254, Prefix.parse("20.0.0.0/24"), 0, 20, 1, (Hop(2, ip("10.0.0.2")),)))]),
    # route add 20.0.1.0/24 nexthop via 10.0.0.2 nexthop via 10.0.0.3 dev eth0
    "multipath": (
        "50000000180000065f53036be746000002180000fe0300010000000008000f00fe000000080001001400010024000900"
        "1000000002000000080005000a0000021000000002000000080005000a000003",
        [Event(True, Route(254, Prefix.parse("20.0.1.0/24"), 0, 0, 1,
            (Hop(2, ip("10.0.0.2")), Hop(2, ip("10.0.0.3")))), NEW)]),
    # route add blackhole 20.0.2.0/24
    "blackhole": (
        "2c000000180000065f53036be846000002180000fe0300060000000008000f00fe0000000800010014000200",
        [Event(True, Route(254, Prefix.parse("20.0.2.0/24"), 0, 0, 6, ()), NEW)]),
    # nexthop add id 7 via 10.0.0.7 dev eth0
    "next hop": (
        "30000000680005065f53036be946000002fd00000000000008000100070000000800050002000000080006000a000007",
        [Event(True, NextHopObject(7, Hop(2, ip("10.0.0.7"))), 0x605)]),
    # nexthop add id 8 blackhole
    "next hop blackhole": (
        "24000000680005065f53036bea4600000200000000000000080001000800000004000400",
        [Event(True, NextHopObject(8, None, (), True), 0x605)]),
    # nexthop add id 70 group 7/9
    "next hop group": (
        "44000000680005065f53036bec4600000000000000000000080001004600000006000300000000001400020007000000"
        "00000000090000000000000008000e0000000080",
        [Event(True, NextHopObject(70, None, ((7, 1), (9, 1))), 0x605)]),
    # route add 20.0.3.0/24 nhid 70
    "route by object": (
        "58000000180000065f53036bed46000002180000fe0300010000000008000f00fe000000080001001400030008001e00"
        "46000000240009001000000002000000080005000a0000071000000002000000080005000a000009",
        [Event(True, Route(254, Prefix.parse("20.0.3.0/24"), 0, 0, 1,
            (Hop(2, ip("10.0.0.7")), Hop(2, ip("10.0.0.9"))), 70), NEW)]),
    # neigh add 10.0.0.2 lladdr 02:00:00:00:00:99 dev eth0
    "neighbour": (
        "4c0000001c00000000000000ee460000020000000200000080000001080001000a0000020a0002000200000000990000"
        "08000400000000001400030000000000000000000000000001000000",
        [Event(True, Neighbour(2, ip("10.0.0.2"), 0x80, 0x020000000099))]),
    # neigh del 10.0.0.2 dev eth0: two messages
    "neighbour gone": (
        "400000001c00000000000000ef460000020000000200000020000001080001000a000002080004000000000014000300"
        "00000000000000000000000001000000400000001d000000000000000000000002000000020000002000000108000100"
        "0a00000208000400000000001400030000000000000000000000000000000000",
        [Event(True, Neighbour(2, ip("10.0.0.2"), 0x20, None)),
         Event(False, Neighbour(2, ip("10.0.0.2"), 0x20, None))]),
    # route add 20.0.4.0/24 via inet6 fe80::1 dev eth0
    "gateway of the other family": (
        "4c000000180000065f53036bf046000002180000fe0300010000000008000f00fe000000080001001400040016001200"
        "0a00fe80000000000000000000000000000100000800040002000000",
        [Event(True, Route(254, Prefix.parse("20.0.4.0/24"), 0, 0, 1, (Hop(2, ip("fe80::1"), 0, False, True),)), NEW)]),
    # addr add 10.9.0.1/30 dev eth0: the address, and three routes
    "address": (
        "50000000140000005f53036bf1460000021e800002000000080001000a090001080002000a0900010900030065746830"
        "00000000080008008000000014000600ffffffffffffffffe78d0500e78d05003c000000180000060000000000000000"
        "02200000ff02fe020000000008000f00ff000000080001000a090001080007000a09000108000400020000003c000000"
        "180000060000000000000000021e0000fe02fd010000000008000f00fe000000080001000a090000080007000a090001"
        "08000400020000003c00000018000006000000000000000002200000ff02fd030000000008000f00ff00000008000100"
        "0a090003080007000a0900010800040002000000",
        [Event(True, Address(2, ip("10.9.0.1"), 30)),
         Event(True, Route(255, Prefix.parse("10.9.0.1/32"), 0, 0, 2, (Hop(2, None),)), NEW),
         Event(True, Route(254, Prefix.parse("10.9.0.0/30"), 0, 0, 1, (Hop(2, None),)), NEW),
         Event(True, Route(255, Prefix.parse("10.9.0.3/32"), 0, 0, 3, (Hop(2, None),)), NEW)]),
    # route add 20.0.5.0/24 via 10.0.0.2 table 1000
    "another table": (
        "3c000000180000065f53036bf346000002180000fc0300010000000008000f00e8030000080001001400050008000500"
        "0a0000020800040002000000",
        [Event(True, Route(1000, Prefix.parse("20.0.5.0/24"), 0, 0, 1, (Hop(2, ip("10.0.0.2")),)), NEW)]),
    # route add 20.0.6.0/24 via 10.0.0.2 tos 0x10
    "tos": (
        "3c000000180000065f53036bf546000002180010fe0300010000000008000f00fe000000080001001400060008000500"
        "0a0000020800040002000000",
        [Event(True, Route(254, Prefix.parse("20.0.6.0/24"), 16, 0, 1, (Hop(2, ip("10.0.0.2")),)), NEW)]),
    # -6 route add 3001::/16 via fe80::2 dev eth0
    "IPv6": (
        "88000000180000060e1b066b296300000a100000fe0300010000000008000f00fe000000140001003001000000000000"
        "0000000000000000080006000004000014000500fe800000000000000000000000000002080004000300000024000c00"
        "00000000000000000000000000000000000000000000000000000000000000000500140000000000",
        [Event(True, Route(254, Prefix.parse("3001::/16"), 0, 1024, 1, (six("fe80::2"),)), NEW)]),
    # -6 route append 3001::/16 nexthop via fe80::5 dev eth0 weight 3 nexthop via fe80::4 dev eth0
    "IPv6 siblings": (
        "e00000001800000c0e1b066b2d6300000a100000fe0300010000000008000f00fe000000140001003001000000000000"
        "00000000000000000800060000040000740009001c0000000300000014000500fe800000000000000000000000000002"
        "1c0000000300000014000500fe8000000000000000000000000000031c0000020300000014000500fe80000000000000"
        "00000000000000051c0000000300000014000500fe80000000000000000000000000000424000c000000000000000000"
        "0000000000000000000000000000000000000000000000000500140000000000",
        [Event(True, Route(254, Prefix.parse("3001::/16"), 0, 1024, 1, (
            six("fe80::2"), six("fe80::3"), six("fe80::4"), six("fe80::5", 3))), 0xC00)]),
    # -6 route add blackhole 3002::/32 metric 7
    "IPv6 blackhole": (
        "74000000180000060e1b066b306300000a200000fe0300060000000008000f00fe000000140001003002000000000000"
        "00000000000000000800060007000000080004000100000024000c000000000000000000000000000000000000000000"
        "0000000000000000000000000500140000000000",
        [Event(True, Route(254, Prefix.parse("3002::/32"), 0, 7, 6, (Hop(1, None),)), NEW)]),
    # -6 route add 3004::/16 via fe80::2 dev eth0 pref high
    "IPv6 preference": (
        "88000000180000060f1b066b396300000a100000fe0300010000000008000f00fe000000140001003004000000000000"
        "0000000000000000080006000004000014000500fe800000000000000000000000000002080004000300000024000c00"
        "00000000000000000000000000000000000000000000000000000000000000000500140001000000",
        [Event(True, Route(254, Prefix.parse("3004::/16"), 0, 1024, 1, (six("fe80::2"),), 0, -1), NEW)]),
    # -6 route add 3005::/16 from 2001:db8::/64 via fe80::2 dev eth0
    "IPv6 of a source": (
        "9c000000180000060f1b066b3b6300000a104000fe0300010000000008000f00fe000000140001003005000000000000"
        "00000000000000001400020020010db8000000000000000000000000080006000004000014000500fe80000000000000"
        "0000000000000002080004000300000024000c0000000000000000000000000000000000000000000000000000000000"
        "000000000500140000000000",
        [Event(True, Route(254, Prefix.parse("3005::/16"), 0, 1024, 1, (six("fe80::2"),), 0, 0, True), NEW)]),
    # neigh add 2001:db8::2 lladdr 02:00:00:00:00:99 dev eth0
    "IPv6 neighbour": (
        "580000001c00000000000000316300000a00000003000000800000011400010020010db8000000000000000000000002"
        "0a000200020000000099000008000400000000001400030000000000000000000000000001000000",
        [Event(True, Neighbour(3, ip("2001:db8::2"), 0x80, 0x020000000099, True))]),
    # nexthop add id 7 via fe80::7 dev eth0; nexthop add id 70 group 7,5; -6 route add 3003::/16 nhid 70
    "IPv6 by object": (
        "3c000000680005060f1b066b326300000afd000000000000080001000700000008000500030000001400060"
        "0fe800000000000000000000000000007"
        "3c000000680005060f1b066b336300000000000000000000080001004600000006000300000000000c0002000700000"
        "00400000008000e0000000080"
        "94000000180000060f1b066b386300000a100000fe0300010000000008000f00fe00000014000100300300000000000"
        "00000000000000000080006000004000008001e0046000000200009001c0000040300000014000500fe800000000000"
        "00000000000000000724000c0000000000000000000000000000000000000000000000000000000000000000000500"
        "140000000000",
        [Event(True, NextHopObject(7, six("fe80::7")), 0x605),
         Event(True, NextHopObject(70, None, ((7, 5),)), 0x605),
         Event(True, Route(254, Prefix.parse("3003::/16"), 0, 1024, 1, (six("fe80::7", 5),), 70), NEW)]),
    # addr add 2001:db8:9::1/64 dev eth0 nodad: the address between two routes
    "IPv6 address": (
        "740000001800000600000000000000000a400000fe0200010000000008000f00fe0000001400010020010db80009000000"
        "000000000000000800060000010000080004000300000024000c0000000000000000000000000000000000000000000000"
        "000000000000000000000500140000000000480000001400000000000000000000000a4082000300000014000100200"
        "10db800090000000000000000000114000600ffffffffffffffffd7730700d773070008000800820000007400000018"
        "00000600000000000000000a800000ff0200020000000008000f00ff0000001400010020010db80009000000000000"
        "000000010800060000000000080004000300000024000c00000000000000000000000000000000000000000000000000"
        "00000000000000000500140000000000",
        [Event(True, Route(254, Prefix.parse("2001:db8:9::/64"), 0, 256, 1, (Hop(3, None),)), NEW),
         Event(True, Address(3, ip("2001:db8:9::1"), 64, True)),
         Event(True, Route(255, Prefix.parse("2001:db8:9::1/128"), 0, 0, 2, (Hop(3, None),)), NEW)]),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name):
    data, events = MESSAGES[name]
    assert list(decode(bytes.fromhex(data))) == events


def test_many_messages_at_once():
    data = b"".join(bytes.fromhex(data) for data, _ in MESSAGES.values())
    assert list(decode(data)) == [event for _, events in MESSAGES.values() for event in events]


@pytest.mark.parametrize("name", MESSAGES)
def test_cut_short_is_no_message_and_no_error(name):
    data, events = MESSAGES[name]
    whole = bytes.fromhex(data)
    for length in range(len(whole)):
        assert list(decode(whole[:length])) in [events[:count] for count in range(len(events))]


def test_attributes_that_lie_about_their_length():
    whole = bytearray.fromhex(MESSAGES["plain"][0])
    for position in range(28, len(whole), 8):
        for length in (0, 3, 200, 65535):
            damaged = bytearray(whole)
            struct.pack_into("=H", damaged, position, length)
            assert len(list(decode(bytes(damaged)))) == 1


def test_other_families_and_kinds_are_left_out():
    mpls = rtmsg()
    mpls["header"]["type"], mpls["family"], mpls["dst_len"] = 24, 28, 20
    mpls.encode()
    bridge = ndmsg()
    bridge["header"]["type"], bridge["family"], bridge["ifindex"] = 28, socket.AF_BRIDGE, 2
    bridge["attrs"] = [["NDA_LLADDR", "02:00:00:00:00:01"]]
    bridge.encode()
    proxy = ndmsg()
    proxy["header"]["type"], proxy["family"], proxy["flags"] = 28, socket.AF_INET, 8
    proxy["attrs"] = [["NDA_DST", "10.0.0.1"]]
    proxy.encode()
    done = struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)
    rule = struct.pack("=IHHII12x", 28, 32, 0, 0, 0)
    assert list(decode(bytes(mpls.data) + bytes(bridge.data) + bytes(proxy.data) + done + rule)) == []


def test_link():
    message = ifinfmsg()
    message["header"]["type"] = 16
    message["index"], message["flags"] = 3, 0x1043
    message["attrs"] = [["IFLA_IFNAME", "eth1"], ["IFLA_MTU", 1400], ["IFLA_ADDRESS", "02:00:00:00:00:0a"]]
    message.encode()
    assert list(decode(bytes(message.data))) == [Event(True, Link(3, "eth1", 0x1043, 1400, 0x02000000000A))]


def test_request_to_use_a_neighbour():
    request = neighbour_use_request(3, ip("10.0.0.1"))
    kind, flags = struct.unpack_from("=HH", request, 4)
    assert (kind, flags) == (28, 0x401)
    family, ifindex, state, neighbour_flags = struct.unpack_from("=B3xiHB", request, 16)
    assert (family, ifindex, state, neighbour_flags) == (2, 3, 0, 1)
    assert request[28:] == bytes.fromhex("080001000a000001")


def test_request_to_use_an_ipv6_neighbour():
    request = neighbour_use_request(3, ip("fe80::9"), True)
    assert struct.unpack_from("=B3xiHB", request, 16) == (10, 3, 0, 1)
    assert request[28:] == bytes.fromhex("14000100fe800000000000000000000000000009")
