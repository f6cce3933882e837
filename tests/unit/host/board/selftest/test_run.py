"""The self-test on golden models: it passes on a good board, and each check finds each fault of its own, no other."""

from dataclasses import replace
from random import Random

import pytest
from polyrouter.hdl.config import HOST_HEADER_BYTES
from polyrouter.hdl.layouts import (
    CONTEXT_ROW,
    CONTROL_OP,
    HOST_HEADER,
    HostFrameType,
    HostLinkKind,
    Opcode,
    Reason,
    Register,
    Table,
    pack,
    unpack,
)
from polyrouter.host.board.selftest import phys, traffic
from polyrouter.host.board.selftest.result import Outcome, SelfTestError
from polyrouter.host.board.selftest.run import run_self_test

from .looped_board import CONFIG, IDENTIFIER, LoopedBoard

FRAMES = 12
OP_BYTES = CONTROL_OP.size // 8


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    """Here an answer is there at once, or never."""
    monkeypatch.setattr(phys, "_PATIENCE", 0.02)
    monkeypatch.setattr(traffic, "_LINK_SECONDS", 0.02)


def run(board, **more):
    return list(run_self_test(board.driver, **{"frames": FRAMES, "patience": 0.02, **more}))


def with_outcome(results, outcome):
    return {(result.check, result.subject): result.detail for result in results if result.outcome == outcome}


def failures(results):
    return with_outcome(results, Outcome.FAILED)


def is_empty(board):
    """All tables are, but for the registers."""
    tables = board.model.tables
    return not any(tables.read(table, router, row) for table, router, row in [
        *((Table.CONTEXT, router, 0) for router in range(CONFIG.routers)),
        *((Table.VMAC, 0, row) for row in range(CONFIG.vmac_slots)),
        *((Table.PORT, router, port) for router in range(CONFIG.routers) for port in range(CONFIG.ports))])


@pytest.mark.parametrize("link, port, checked", [
    (HostLinkKind.UART, 0, [0, 1, 2]), (HostLinkKind.AUTHENTICATED, 1, [0, 2]), (HostLinkKind.PORT, 3, [0, 1, 2])])
def test_a_good_board(link, port, checked):
    with LoopedBoard(link, port, host_ports=link == HostLinkKind.PORT) as board:
        board.driver.epoch = 9
        results = run(board)
        passed = with_outcome(results, Outcome.PASSED)
        assert not failures(results)
        for check in ("PHY loop-back", "MAC loop-back"):
            assert [subject for name, subject in passed if name == check] == [f"port {number}" for number in checked]
        assert [subject for name, subject in passed if name == "forwarding"] == [
            f"port {number} to {following}" for number, following in zip(checked, [*checked[1:], checked[0]],
                                                                         strict=True)]
        assert len([name for name, _ in passed if name == "MDIO"]) == len(board.phys)
        assert {subject for name, subject in passed if name == "memory"} == {
            "CONTEXT", "VMAC", "PORT", "FIB", "ADJACENCY", "FILTER", "ACTION", "HIT", "POLICER", "MAC", "COUNTER"}
        assert with_outcome(results, Outcome.SKIPPED).keys() == {
            ("memory", "QUOTA"), ("memory", "SHAPER"),
            *([("traffic", f"port {port}")] if link == HostLinkKind.AUTHENTICATED else [])}
        assert board.driver.epoch == 0 and is_empty(board)
        assert not board.registers.loopback and not any(phy.loopback for phy in board.phys)


def test_a_board_without_filter_and_mac_table():
    with LoopedBoard(config=replace(CONFIG, filter_rules=0, mac_rows=0)) as board:
        results = run(board)
        assert not failures(results)
        assert {subject for name, subject in with_outcome(results, Outcome.PASSED) if name == "memory"} == {
            "CONTEXT", "VMAC", "PORT", "FIB", "ADJACENCY", "POLICER", "COUNTER"}


def test_frames_are_the_shortest_the_longest_and_others():
    seen = []
    with LoopedBoard() as board:
        board.line = lambda port, frame: seen.append(len(frame)) or frame
        assert not failures(run(board))
    assert {60, 1514} <= set(seen) and len(set(seen)) > 6


def test_over_cables():
    with LoopedBoard() as board:
        board.cables = {0: 2, 2: 0}
        results = run(board, cables=[(0, 2)])
        assert not failures(results)
        assert [subject for name, subject in with_outcome(results, Outcome.PASSED) if name == "forwarding"] == [
            "port 1 to 1", "port 0 to 0, cable to 2", "port 2 to 2, cable to 0"]


def test_a_cable_that_is_not_there():
    with LoopedBoard() as board:
        found = failures(run(board, cables=[(0, 1)]))
        assert set(found) == {("forwarding", "port 0 to 0, cable to 1"), ("forwarding", "port 1 to 1, cable to 0")}
        board.phys[1].connect(None)
        found = failures(run(board, cables=[(0, 1)]))
        assert all("port 1 has no link: is the cable in?" in detail for detail in found.values()) and len(found) == 2


def test_a_cable_in_one_direction():
    with LoopedBoard() as board:
        board.cables = {0: 1, 1: 0}
        board.line = lambda port, frame: frame if port != 0 or board.heard_at(0) == 0 else None
        assert set(failures(run(board, cables=[(0, 1)]))) == {
            ("forwarding", "port 0 to 0, cable to 1"), ("forwarding", "port 1 to 1, cable to 0")}


def test_a_phy_that_does_not_answer():
    with LoopedBoard() as board:
        board.phys[1].absent = True
        found = failures(run(board))
        assert set(found) == {("MDIO", "port 1"), ("PHY loop-back", "port 1")}
        assert all("no PHY answers at address 1 of MDIO bus 0" in detail for detail in found.values())


@pytest.mark.parametrize("identifier, message", [
    (IDENTIFIER ^ 0x400, "which is not that of the PHY that the board was built for"),
    (0, "MDIO is stuck at one level"), (0xFFFFFFFF, "MDIO is stuck at one level")])
def test_a_phy_that_is_another_one(identifier, message):
    with LoopedBoard() as board:
        board.phys[2].identifier = identifier
        found = failures(run(board))
        assert set(found) == {("MDIO", "port 2")} and message in found["MDIO", "port 2"]


def test_mdio_that_reads_now_this_now_that():
    with LoopedBoard() as board:
        read = board.phys[0].read
        board.phys[0].read = lambda register: read(register) ^ (register == 3) << 4
        found = failures(run(board))
        assert set(found) == {("MDIO", "port 0")} and "MDIO is not reliable" in found["MDIO", "port 0"]


def test_a_phy_that_says_it_can_do_nothing():
    with LoopedBoard() as board:
        read = board.phys[0].read
        board.phys[0].read = lambda register: 0 if register == 1 else read(register)
        assert "it is in reset, or has no clock" in failures(run(board))["MDIO", "port 0"]


def test_what_a_killed_one_has_left_is_ended():
    with LoopedBoard() as board:
        control = board.phys[1].read(0)
        board.phys[1].write(0, 0x4140)
        board.registers.loopback = 0b101
        assert not failures(run(board))
        assert board.registers.loopback == 0 and board.phys[1].read(0) == control


def test_an_expired_watchdog_does_not_keep_routers_disabled():
    with LoopedBoard() as board:
        board.registers.timeout, board.registers._disables = 3, True
        board.driver.sync()
        board.registers.silence(4)
        assert board.registers.disable
        assert not failures(run(board))


def test_a_phy_that_refuses_loopback():
    with LoopedBoard() as board:
        write = board.phys[1].write
        board.phys[1].write = lambda register, value: write(register, value & ~(1 << 14) if register == 0 else value)
        found = failures(run(board))
        assert set(found) == {("PHY loop-back", "port 1")}
        assert "so it did not take loop-back at 1000 Mb/s" in found["PHY loop-back", "port 1"]


def test_a_phy_that_does_not_loop_back_leaves_the_macs_loopback():
    with LoopedBoard() as board:
        board.phys[0].deaf = True
        results = run(board)
        assert failures(results).keys() == {("PHY loop-back", "port 0")}
        assert "nothing comes back" in failures(results)["PHY loop-back", "port 0"]
        assert ("forwarding", "port 0 to 1") in with_outcome(results, Outcome.PASSED)


def test_a_port_without_any_loopback_is_left_out_of_forwarding():
    with LoopedBoard() as board:
        board.line = lambda port, frame: None if port == 1 else frame
        results = run(board)
        assert failures(results).keys() == {("PHY loop-back", "port 1"), ("MAC loop-back", "port 1")}
        assert with_outcome(results, Outcome.SKIPPED).keys() >= {
            ("forwarding", "port 0 to 1"), ("forwarding", "port 1 to 2")}
        assert ("forwarding", "port 2 to 0") in with_outcome(results, Outcome.PASSED)


@pytest.mark.parametrize("seed", range(6))
def test_lost_and_damaged_frames(seed):
    """Whatever a line does to a frame is found."""
    rng = Random(seed)

    def lose(frame):
        return None

    def flip(frame):
        at = rng.randrange(14, len(frame))
        return frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1:]

    def cut(frame):
        return frame[:max(60, len(frame) - 4)] if len(frame) > 64 else None

    for damage in (lose, flip, cut):
        with LoopedBoard() as board:
            count = 0
            every = rng.randint(2, 5)

            def line(port, frame, damage=damage, every=every):
                nonlocal count
                count += port == 2
                return damage(frame) if port == 2 and count % every == 0 else frame

            board.line = line
            found = failures(run(board))
            assert {("PHY loop-back", "port 2"), ("MAC loop-back", "port 2")} & set(found)
            assert all("2" in subject for _, subject in found)


def test_a_frame_too_much_is_counted():
    """As of a neighbour that is heard in spite of the loop-back: damaged, so that no frame shows it."""
    with LoopedBoard() as board:
        def line(port, frame):
            if port == 0 and len(frame) == 1514:
                board.model.tables.count(CONFIG.no_router, 0, Reason.DROP_FCS)
            return frame
        board.line = line
        found = failures(run(board))
        assert ("PHY loop-back", "port 0") in found
        assert "1 frames more than those sent came in at port 0: DROP_FCS" in found["PHY loop-back", "port 0"]


def stuck(table, row, bit, level):
    """A bit of a row that never changes."""
    def change(frame):
        frame = bytearray(frame)
        header = unpack(HOST_HEADER, int.from_bytes(frame[:HOST_HEADER_BYTES], "little"))
        if header["type"] == HostFrameType.RESPONSE:
            for at in range(HOST_HEADER_BYTES, HOST_HEADER_BYTES + header["length"], OP_BYTES):
                op = unpack(CONTROL_OP, int.from_bytes(frame[at:at + OP_BYTES], "little"))
                if (op["opcode"], op["table"], op["row"], op["word"]) == (Opcode.READ, table, row, bit // 64):
                    op["data"] = op["data"] & ~(1 << bit % 64) | level << bit % 64
                    frame[at:at + OP_BYTES] = pack(CONTROL_OP, op).to_bytes(OP_BYTES, "little")
        return bytes(frame)
    return change


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("table, row, bit", [
    (Table.FIB, 63, 71), (Table.ADJACENCY, 7, 80), (Table.VMAC, 0, 0), (Table.CONTEXT, 0, 339), (Table.FILTER, 3, 488),
    (Table.ACTION, 2, 100), (Table.HIT, 7, 63), (Table.POLICER, 1, 50), (Table.MAC, 15, 67), (Table.PORT, 2, 59),
    (Table.COUNTER, 90, 33)], ids=lambda value: getattr(value, "name", str(value)))
def test_a_bit_that_is_stuck(table, row, bit, level):
    with LoopedBoard() as board:
        board.link.memory = stuck(table, row, bit, level)
        found = failures(run(board))
        assert {subject for check, subject in found if check == "memory"} == {table.name}
        assert f"row {row}] has 0x" in found["memory", table.name]


def test_rows_that_are_one():
    """An address line that is stuck: two rows are the same memory."""
    with LoopedBoard() as board:
        tables = board.model.tables
        write = tables.write

        def both(table, router, row, bits):
            write(table, router, row & ~8 if table == Table.FIB else row, bits)
            if table == Table.FIB:
                write(table, router, row | 8, bits)
        tables.write = both
        found = failures(run(board))
        assert ("memory", "FIB") in found and {subject for check, subject in found if check == "memory"} == {"FIB"}


def test_identity_that_does_not_fit():
    with LoopedBoard(host_ports=1) as board:
        found = failures(run(board))
        assert found.keys() == {("identity", "looped")}
        assert "the board has 4 ports with a PHY" in found["identity", "looped"]


def test_refuses_while_a_router_is_enabled():
    with LoopedBoard() as board:
        board.driver.write_rows([(Table.CONTEXT, 1, 0, pack(CONTEXT_ROW, {"enable": 1})),
                                 (Table.QUOTA, 0, 0, 5), (Table.REGISTER, 0, Register.SHARED_CELLS, 100)])
        with pytest.raises(SelfTestError, match="router 1 is enabled: the self-test empties all tables"):
            run(board)
        assert board.driver.read_row(Table.CONTEXT, 0, router=1)
        assert not failures(run(board, force=True))
        assert is_empty(board) and not board.driver.read_row(Table.QUOTA, 0)
        assert board.driver.read_row(Table.REGISTER, Register.SHARED_CELLS) == CONFIG.cells


@pytest.mark.parametrize("link, cables, message", [
    (HostLinkKind.UART, [(0, 3)], "there is no data port 3: the board has ports 0 to 2"),
    (HostLinkKind.UART, [(1, 1)], "port 1 is at two ends of cables"),
    (HostLinkKind.UART, [(0, 1), (1, 2)], "port 1 is at two ends of cables"),
    (HostLinkKind.AUTHENTICATED, [(0, 1)], "the host's frames come by port 0")])
def test_refuses_cables(link, cables, message):
    with LoopedBoard(link) as board, pytest.raises(SelfTestError, match=message):
        run(board, cables=cables)


@pytest.mark.parametrize("stop", range(0, 400, 23))
def test_cleans_up_whenever_it_is_interrupted(stop):
    """Ctrl-C in the middle of an exchange."""
    with LoopedBoard() as board:
        left = stop
        send = board.link.send

        def interrupted(frame):
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            return send(frame)

        board.link.send = interrupted
        try:
            results = run(board)
        except KeyboardInterrupt:
            results = None
        assert (results is None) == (left <= 0) or stop == 0
        if results is None and not board.driver.in_step():
            board.driver.sync()
        assert is_empty(board)
        assert not board.registers.loopback and not any(phy.loopback for phy in board.phys)
