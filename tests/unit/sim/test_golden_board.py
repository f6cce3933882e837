"""A golden model on a board: what its watchdog does to frames."""

import pytest
from polyrouter.hdl.layouts import BOARD_WATCHDOG, BoardRow, HostFrameType, HostStatus, Reason, Table, pack
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.golden_board import GoldenBoard
from polyrouter.sim.host_frames import HostFrame, Op
from polyrouter.sim.tablegen import simple_scenario
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from .board import CONFIG, HOST, OWN, load, moved, receive

FRAME = Ether(dst=OWN, src="0a:00:00:00:00:09") / IP(src="192.0.2.1", dst="13.1.2.3") / UDP(sport=1, dport=2)
GROUP = Ether(dst="ff:ff:ff:ff:ff:ff", src="0a:00:00:00:00:09") / ARP(pdst="192.0.2.7") / bytes(18)


def injected(model):
    """The counter that a frame from the host moves."""
    frame = HostFrame(HostFrameType.INJECT, router=1, port=2, source=HOST, payload=bytes(FRAME), length=len(FRAME))
    _, counters = moved(model, lambda: model.host_receive(frame.to_bytes()))
    (_, _, reason), = counters
    return reason


@pytest.mark.parametrize("disables", [False, True])
def test_an_expired_watchdog(disables):
    """With the policy for it, every kind of frame is dropped under its usual reason; the rows stay as they were."""
    board = GoldenBoard("test", [(0, 0)], lambda wanted: (0, False), disables=disables, timeout=3)
    model = GoldenModel(CONFIG, board=board)
    board.silence(100)
    assert not board.expired, "nobody was there yet"
    load(model, simple_scenario(CONFIG, mtu=1500).writes)

    def reasons():
        return (receive(model, FRAME)[1][2],
                {reason for _, _, reason in moved(model, lambda: model.receive(2, bytes(GROUP)))[1]}, injected(model))

    alive = reasons()
    assert alive == (Reason.FORWARDED, {Reason.PUNT_GROUP}, Reason.INJECTED)
    board.silence(4)
    rows = model.tables.read(Table.CONTEXT, 1, 0)
    assert reasons() == (
        (Reason.DROP_DISABLED, {Reason.DROP_NO_ROUTER}, Reason.DROP_INJECT) if disables else alive)
    assert model.tables.read(Table.CONTEXT, 1, 0) == rows
    # Frames from the host came meanwhile; they don't bring it back.
    assert board.expired
    rearm = Op.write(Table.BOARD, 0, BoardRow.WATCHDOG, pack(BOARD_WATCHDOG, {"timeout": 3}))
    request = HostFrame(HostFrameType.REQUEST, rearm.to_bytes(), source=HOST, sequence=5, reason=HostStatus.SYNC)
    model.host_receive(request.to_bytes())
    assert reasons() == alive
