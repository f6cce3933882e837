"""Multicast routes of the kernel: messages that one (Linux 6.18) sent, and what follows from them."""

import pytest
from polyrouter.hdl.layouts import AdjacencyKind
from polyrouter.host.mirror.mroutes import Mroute, MulticastState
from polyrouter.host.mirror.netlink import Event, decode
from polyrouter.host.tables.adjacency import LOCAL
from polyrouter.host.tables.groups import MulticastKey, multicast
from polyrouter.host.tables.prefix import Prefix

_REST = "1c0011000000000000000000000000000000000000000000000000000c001700"
MESSAGES = {
    # MRT_ADD_MFC (10.9.0.1, 239.1.1.1) from eth0 (3) to eth1 (5)
    "new": ("7000000018000000000000000000000080202000fd1100050000000008000f00fd000000080002000a09000108000100ef010101"
            f"08000300030000000c00090008000001050000{'00'}{_REST}0000000000000000", True, "10.9.0.1", 3, ((5, 1),)),
    # MRT_DEL_MFC of the same
    "delete": ("7000000019000000000000000000000080202000fd1100050000000008000f00fd000000080002000a09000108000100"
               f"ef01010108000300030000000c00090008000001050000{'00'}{_REST}0a00000000000000",
               False, "10.9.0.1", 3, ((5, 1),)),
    # MRT_ADD_MFC (*, 239.1.1.1) from eth1 to eth0 and eth1
    "any source": ("7800000018000000000000000000000080202000fd1100050000000008000f00fd000000080002000000000008000100"
                   f"ef0101010800030005000000140009000800000103000000080000010500{'0000'}{_REST}0000000000000000",
                   True, None, 5, ((3, 1), (5, 1))),
    # MRT6_ADD_MFC (2001:db8::1, ff05::1) from eth0 to eth1
    "ipv6": ("8800000018000000000000000000000081808000fe1100050000000008000f00fe0000001400020020010db80000000000000000"
             "0000000114000100ff05000000000000000000000000000108000300030000000c0009000800000105"
             f"00{'0000'}{_REST}0000000000000000", True, "2001:db8::1", 3, ((5, 1),)),
}


def key(source: str | None, group: str) -> MulticastKey:
    return MulticastKey.of(Prefix.parse(group).address, None if source is None else Prefix.parse(source).address,
                           ":" in group)


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    text, new, source, ifindex, out = MESSAGES[name]
    group = "ff05::1" if name == "ipv6" else "239.1.1.1"
    data = bytes.fromhex(text)
    assert data[0] == len(data)
    assert list(decode(data)) == [Event(new, Mroute(key(source, group), ifindex, out))]
    for short in range(len(data)):
        list(decode(data[:short]))      # cut off anywhere: no exception
    for place in range(16, len(data)):
        for byte in (0, 1, 0xFF):
            list(decode(data[:place] + bytes([byte]) + data[place + 1:]))


def test_counts_and_what_is_of_no_interest():
    data = bytearray.fromhex(MESSAGES["new"][0])
    data[data.index(bytes.fromhex("1c001100")) + 4] = 77
    assert [event.item.packets for event in decode(bytes(data))] == [77]      # type: ignore[union-attr]
    data[data.index(bytes.fromhex("08000f00")) + 4] = 7                       # another table
    assert list(decode(bytes(data))) == []
    everything = bytes.fromhex(MESSAGES["any source"][0].replace("ef010101", "00000000"))     # (*,*)
    assert list(decode(everything)) == []


PORTS = {3: 0, 5: 1, 6: 2}


def test_desired():
    state = MulticastState()
    sought = key("10.9.0.1", "239.1.1.1")

    def desired(ifindex: int, *out: tuple[int, int]):
        state.apply(Mroute(sought, ifindex, out), True)
        return state.desired(sought, PORTS.get)

    assert state.desired(sought, PORTS.get) is None
    assert desired(0) is None                       # waits for the daemon's answer
    assert desired(3, (5, 1), (6, 1), (3, 1)) == multicast(0, [1, 2])
    assert desired(3).kind == AdjacencyKind.MULTICAST
    assert desired(3, (5, 1), (9, 1)) == desired(3, (5, 2)) == desired(9, (5, 1)) == LOCAL
    state.apply(Mroute(sought, 3, ((5, 1), (3, 1))), True)
    assert state.desired(sought, PORTS.get, lambda port: port == 1) == multicast(0, [1])
    assert state.desired(sought, PORTS.get, lambda port: port == 0) == LOCAL       # the hardware can't get there
    state.apply(Mroute(sought, 3, ()), False)
    assert state.desired(sought, PORTS.get) is None
    state.changed.clear()
    other = key(None, "239.1.1.2")
    state.apply(Mroute(sought, 3, ()), True)
    state.replace([Mroute(other, 5, ())])
    assert state.changed == {sought, other} and set(state.routes) == {other}
