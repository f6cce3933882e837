"""Packets of tunnels that were handed up."""

from polyrouter.hdl.layouts import Reason
from polyrouter.host.agent.tunnels import TunnelPackets
from polyrouter.sim.packets import ethernet, ipv4

ENDS = 0x0A090002, 0x0A090003


def packet(destination: int) -> bytes:
    return ethernet(0, 0, 0x0800, ipv4(0x0A090001, destination, bytes(40), protocol=47))


def test_a_next_hop_is_asked_for_a_few_times_a_second():
    asked: list[tuple[int, int]] = []
    now = [100.0]
    packets = TunnelPackets(lambda *what: asked.append(what), lambda: now[0])
    for step in range(100):
        now[0] = 100 + step / 100
        packets.take(3, Reason.PUNT_UNRESOLVED, packet(ENDS[0]))
    assert asked == [(3, ENDS[0])] * 4
    packets.take(3, Reason.PUNT_UNRESOLVED, packet(ENDS[1]))        # others don't wait for that
    packets.take(4, Reason.PUNT_UNRESOLVED, packet(ENDS[0]))
    assert asked[4:] == [(3, ENDS[1]), (4, ENDS[0])]
    packets.take(3, Reason.PUNT_NO_ROUTE, packet(ENDS[1]))
    assert len(asked) == 6


def test_they_are_counted_by_what_is_wrong():
    packets = TunnelPackets(lambda *_: None)
    for reason, destination, times in ((Reason.PUNT_NO_ROUTE, ENDS[0], 2), (Reason.PUNT_MTU, ENDS[1], 1)):
        for _ in range(times):
            packets.take(3, reason, packet(destination))
    packets.take(5, Reason.PUNT_NOT_IP, b"\0" * 20)
    shown = packets.describe()
    assert [(row["router"], row["destination"], row["reason"], row["frames"]) for row in shown] == [
        (3, "10.9.0.2", "punt_no_route", 2), (3, "10.9.0.3", "punt_mtu", 1), (5, "0.0.0.0", "punt_not_ip", 1)]
    assert "no route" in str(shown[0]["problem"]) and "MTU" in str(shown[1]["problem"])
    packets.forget(3)
    assert [row["router"] for row in packets.describe()] == [5]
