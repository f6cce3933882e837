"""The self-test on a simulated board's top level: it passes, and each check finds a fault of its own."""

import json

import pytest
from polyrouter.boards.top import HostLinkKind
from polyrouter.hdl.config import HOST_HEADER_BYTES
from polyrouter.hdl.layouts import CONTEXT_ROW, CONTROL_OP, HOST_HEADER, HostFrameType, Opcode, Table, pack, unpack
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.hostport import HostPort
from polyrouter.host.board.registers import BoardRegisters
from polyrouter.host.board.selftest.result import Outcome, SelfTestError
from polyrouter.host.board.selftest.run import run_self_test
from polyrouter.host.cli import app
from polyrouter.sim.live.topboard import TopBoard
from typer.testing import CliRunner

from .board_tops import LINK_PORT, executable_of, top_of

#: Of the fastest host link that leaves both ports to the self-test.
FAST = HostLinkKind.PORT
OTHER_PORT = 1 - LINK_PORT
#: For frames over the simulated UART.
PATIENCE = 30.0

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def start(tmp_path):
    def start(kind=FAST, *options):
        return TopBoard(top_of(kind), executable_of(kind), tmp_path, options=options)
    return start


def outcomes(results):
    found = {}
    for result in results:
        found.setdefault(result.outcome, []).append((result.check, result.subject))
    return found


def failures(results):
    return {(result.check, result.subject): result.detail for result in results if result.outcome == Outcome.FAILED}


@pytest.mark.parametrize("kind", [
    HostLinkKind.PORT, HostLinkKind.AUTHENTICATED, pytest.param(HostLinkKind.UART, marks=pytest.mark.slow)],
    ids=lambda kind: kind.name.lower())
def test_passes_and_leaves_all_empty(start, kind):
    with start(kind) as board, board.driver() as driver:
        driver.epoch = 5
        results = list(run_self_test(driver, frames=8, patience=PATIENCE))
        found = outcomes(results)
        assert not found.get(Outcome.FAILED), failures(results)
        checked = {check for check, _ in found[Outcome.PASSED]}
        assert checked == {"identity", "MDIO", "memory", "PHY loop-back", "MAC loop-back", "forwarding"}
        ports = [OTHER_PORT] if kind == HostLinkKind.AUTHENTICATED else [0, 1]
        for check in ("PHY loop-back", "MAC loop-back"):
            assert [subject for name, subject in found[Outcome.PASSED] if name == check] == [
                f"port {port}" for port in ports]
        assert (("traffic", f"port {LINK_PORT}") in found[Outcome.SKIPPED]) == (kind == HostLinkKind.AUTHENTICATED)
        assert driver.epoch == 0
        check_empty(driver)


def check_empty(driver):
    config = driver.info().config
    whole = pack(CONTEXT_ROW, {"fib_size": 64, "adj_size": 16})
    rows = [*((Table.CONTEXT, router, 0) for router in range(config.routers)),
            *((Table.VMAC, 0, row) for row in range(config.vmac_slots)),
            *((Table.PORT, router, port) for router in range(config.routers) for port in range(config.ports))]
    assert not any(driver.read_rows(rows))
    driver.write_rows([(Table.CONTEXT, 0, 0, whole)])
    assert not any(driver.read_rows([*((Table.FIB, 0, row) for row in range(config.fib_words)),
                                     *((Table.ADJACENCY, 0, row) for row in range(config.adjacencies))]))
    assert not any(value for router in range(config.routers) for value in driver.read_counters(router).values())
    registers = BoardRegisters(driver)
    assert registers.loopback() == frozenset()
    for phy in registers.phys():
        assert registers.mdio_read(phy.bus, phy.address, 0) & 1 << 14 == 0


@pytest.mark.parametrize("fault, wrong, message", [
    ("--phy 0=absent", {("MDIO", "port 0"), ("PHY loop-back", "port 0")}, "no PHY answers at address 0 of MDIO bus 0"),
    ("--phy 1=wrong-id", {("MDIO", "port 1"), ("PHY loop-back", "port 1")},
     "which is not that of the PHY that the board was built for"),
    ("--phy 1=no-loopback", {("PHY loop-back", "port 1")}, "nothing comes back: check the PHY's clocks"),
    ("--loss 1=5", {("PHY loop-back", "port 1"), ("forwarding", "port 0 to 1"), ("forwarding", "port 1 to 0")},
     "came back"),
])
def test_finds_a_fault(start, fault, wrong, message):
    with start(FAST, *fault.split()) as board, board.driver() as driver:
        results = list(run_self_test(driver, frames=8))
        found = failures(results)
        # A PHY that is absent has no clock of its own either on a board; here it has.
        assert set(found) <= wrong and min(wrong) in found, found
        assert any(message in detail for detail in found.values()), found
        assert ("identity", "two_ports") not in found


def test_a_cable_that_is_not_in(start):
    with start(FAST, "--phy", "1=no-link") as board, board.driver() as driver:
        found = failures(run_self_test(driver, frames=2, cables=[(0, 1)]))
        assert set(found) == {("forwarding", "port 0 to 0, cable to 1"), ("forwarding", "port 1 to 1, cable to 0")}
        assert all("port 1 has no link" in detail for detail in found.values()), found


class FaultyMemory:
    """A transport behind which a bit of a row of a table always reads as one."""

    def __init__(self, transport, table, row, bit):
        self._transport, self._where, self._bit = transport, (table, row, bit // 64), bit % 64

    def send(self, frame):
        return self._transport.send(frame)

    def recv(self, size):
        frame = bytearray(self._transport.recv(size))
        header = unpack(HOST_HEADER, int.from_bytes(frame[:HOST_HEADER_BYTES], "little"))
        if header["type"] == HostFrameType.RESPONSE:
            for at in range(HOST_HEADER_BYTES, HOST_HEADER_BYTES + header["length"], CONTROL_OP.size // 8):
                op = unpack(CONTROL_OP, int.from_bytes(frame[at:at + CONTROL_OP.size // 8], "little"))
                if op["opcode"] == Opcode.READ and (op["table"], op["row"], op["word"]) == self._where:
                    op["data"] |= 1 << self._bit
                    frame[at:at + CONTROL_OP.size // 8] = pack(CONTROL_OP, op).to_bytes(CONTROL_OP.size // 8, "little")
        return bytes(frame)

    def fileno(self):
        return self._transport.fileno()

    def close(self):
        self._transport.close()


@pytest.mark.parametrize("table, row, bit", [(Table.FIB, 37, 70), (Table.VMAC, 5, 3), (Table.COUNTER, 33, 1)])
def test_finds_a_bit_that_is_stuck(start, table, row, bit):
    with start() as board:
        driver = Driver(HostPort(FaultyMemory(board.transport(), table, row, bit)), timeout=1.0)
        try:
            found = failures(run_self_test(driver, frames=2))
        finally:
            driver.close()
        assert ("memory", table.name) in found
        assert f", row {row}] has 0x" in found["memory", table.name]
        assert {check for check, _ in found} <= {"memory", "PHY loop-back", "MAC loop-back", "forwarding"}


def test_refuses_while_a_router_is_enabled(start):
    with start() as board, board.driver() as driver:
        driver.write_rows([(Table.CONTEXT, 1, 0, pack(CONTEXT_ROW, {"enable": 1}))])
        with pytest.raises(SelfTestError, match="router 1 is enabled: the self-test empties all tables"):
            list(run_self_test(driver))
        assert driver.read_row(Table.CONTEXT, 0, router=1) == 1
        assert not failures(run_self_test(driver, force=True, frames=2))
        assert driver.read_row(Table.CONTEXT, 0, router=1) == 0


@pytest.mark.parametrize("cables, message", [
    ([(0, 2)], "there is no data port 2: the board has ports 0 to 1"), ([(1, 1)], "port 1 is at two ends of cables")])
def test_refuses_cables(start, cables, message):
    with start() as board, board.driver() as driver, pytest.raises(SelfTestError, match=message):
        list(run_self_test(driver, cables=cables))


@pytest.mark.parametrize("stage", ["memory of FIB", "MAC loop-back of port 0", "forwarding, port 1 to 0"])
def test_cleans_up_when_it_is_interrupted(start, stage):
    def tell(what):
        if what == stage:
            raise KeyboardInterrupt

    with start() as board, board.driver() as driver:
        with pytest.raises(KeyboardInterrupt):
            list(run_self_test(driver, frames=2, tell=tell))
        check_empty(driver)


def test_commands_over_a_uart(start):
    with start(HostLinkKind.UART) as board:
        link = f"uart:{board.tty}"
        found = CliRunner().invoke(app, ["board", "connect", "--host-link", link, "--timeout", "10", "--json"])
        assert found.exit_code == 0, found.output
        shown = json.loads(found.stdout)
        assert shown["board"]["name"] == "two_ports" and shown["board"]["host_link"] == "uart"
        assert shown["core"]["routers"] == board.top.config.routers
        assert [phy["id"] for phy in shown["phys"]] == ["01410dd0"] * 2
        assert shown["link_counters"]["accepted"] > 0
        table = CliRunner().invoke(app, ["board", "connect", "--host-link", link, "--timeout", "10"])
        assert "two_ports" in table.stdout and "01410dd0" in table.stdout


@pytest.mark.slow
def test_selftest_command_over_a_uart(start):
    with start(HostLinkKind.UART, "--phy", "0=no-loopback") as board:
        result = CliRunner().invoke(
            app, ["board", "selftest", "--host-link", f"uart:{board.tty}", "--frames", "2", "--timeout", "10",
                  "--json"])
        rows = json.loads(result.stdout)
        assert result.exit_code == 1
        assert [(row["check"], row["subject"]) for row in rows if row["outcome"] == "failed"] == [
            ("PHY loop-back", "port 0")]
        assert "1 of" in result.stderr and "checks failed" in result.stderr


@pytest.mark.parametrize("words, message", [
    (["--host-link", "eth:no-such-if"], "there is no interface no-such-if"),
    (["--host-link", "usb:0"], "the link 'usb:0' of a board"),
    (["--host-link", "uart:/dev/no-such-tty"], "cannot open /dev/no-such-tty")])
@pytest.mark.parametrize("verb", ["connect", "selftest"])
def test_links_that_are_wrong(verb, words, message):
    result = CliRunner().invoke(app, ["board", verb, *words])
    assert result.exit_code == 1 and message in " ".join(result.stderr.split())


def test_cables_that_are_none():
    result = CliRunner().invoke(app, ["board", "selftest", "--host-link", "uart:/dev/null", "--loop", "1-2"])
    assert result.exit_code == 2 and "--loop takes two ports, as in 0:1, not '1-2'" in result.stderr
