"""The live board on TAPs in a namespace, as a network has it, and packet sockets on these."""

import os
import select

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.hostport import HostPort
from polyrouter.host.board.transport import TransportError, open_packet_socket
from polyrouter.host.fabric import HOST_TAP_MTU, namespace_path
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.live.board import LiveBoard
from polyrouter.sim.live.build import build_board
from polyrouter.sim.tablegen import simple_scenario
from polyrouter.sim.workload import forwarding_frames

pytestmark = pytest.mark.root

CONFIG = CoreConfig()
ETH_P_ALL = 3


@pytest.fixture
def board(fabric, tmp_path):
    names = [*(f"p{port}" for port in range(CONFIG.ports)), "host"]
    for name in names:
        fabric.ensure_tap(name, HOST_TAP_MTU if name == "host" else 1500)
    taps = [fabric.open_tap(name) for name in names]
    board = LiveBoard(build_board(CONFIG), taps[:-1], taps[-1], tmp_path / "log", tmp_path / "pid")
    board.start()
    for tap in taps:
        os.close(tap)
    yield board
    board.stop()


def test_forwards_between_taps(fabric, board):
    scenario = simple_scenario(CONFIG)
    model = GoldenModel(CONFIG)
    driver = Driver(HostPort(open_packet_socket("host", fabric.namespace)))
    wires = [open_packet_socket(f"p{port}", str(namespace_path(fabric.namespace)), ETH_P_ALL)
             for port in range(CONFIG.ports)]
    try:
        driver.write_rows(scenario.writes)
        for write in scenario.writes:
            model.tables.write(write.table, write.router, write.row, write.value)
        for frame in forwarding_frames(scenario, 40):
            wires[frame.port].send(frame.frame)
            for expected in model.receive(frame.port, frame.frame):
                assert select.select([wires[expected.port]], [], [], 60)[0], "the frame did not come out"
                assert wires[expected.port].recv(2000) == expected.frame
        longest = next(forwarding_frames(scenario, 1)).frame.ljust(1514, b"\x5a")
        wires[0].send(longest)
        (expected,) = model.receive(0, longest)
        assert select.select([wires[expected.port]], [], [], 60)[0]
        assert wires[expected.port].recv(2000) == expected.frame
    finally:
        driver.close()
        for wire in wires:
            wire.close()


def test_ends_when_its_interfaces_are_removed(fabric, board):
    """The namespace alone would not do: an open TAP keeps it."""
    descriptor = os.pidfd_open(board.pid)
    for port in range(CONFIG.ports):
        fabric.remove_link(f"p{port}")
    assert board.alive()
    fabric.remove_link("host")
    try:
        assert select.select([descriptor], [], [], 60)[0]
    finally:
        os.close(descriptor)


def test_an_interface_that_can_not_carry_punts_is_refused(fabric):
    fabric.ensure_tap("host", 1500)
    with pytest.raises(TransportError, match="has an MTU of 1500, a host port needs 1536"):
        open_packet_socket("host", fabric.namespace)


def test_no_interface(fabric):
    with pytest.raises(TransportError, match="no interface nothing"):
        open_packet_socket("nothing", fabric.namespace)


def test_no_namespace():
    with pytest.raises(TransportError, match="no network namespace no-such-one"):
        open_packet_socket("host", "no-such-one")
