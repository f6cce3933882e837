"""A board's top level with the real driver at the other end of each host link."""

import select
import socket
from random import Random

import pytest
from polyrouter.boards.top import HostLinkKind
from polyrouter.hdl.layouts import WATCHDOG_UNIT, QueueStat, Reason, Register, Table
from polyrouter.host.board.errors import BoardTimeout
from polyrouter.host.board.registers import BoardRegisters
from polyrouter.sim.auth_frames import DATA, WELCOME, AuthFrame
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.live.topboard import TopBoard
from polyrouter.sim.tablegen import simple_scenario
from polyrouter.sim.workload import forwarding_frames

from .board_tops import KEY, LINK_PORT, executable_of, top_of
from .site import wait_until

KINDS = [HostLinkKind.AUTHENTICATED, HostLinkKind.UART, pytest.param(HostLinkKind.PORT, marks=pytest.mark.slow)]
CONFIG = top_of(HostLinkKind.UART).config
SCENARIO = simple_scenario(CONFIG)
PATIENCE = 60.0

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name.lower())
def kind(request):
    executable_of(request.param)
    return request.param


@pytest.fixture
def board(kind, tmp_path):
    with TopBoard(top_of(kind), executable_of(kind), tmp_path) as board:
        yield board


def take(board, port):
    """The next frame from a data port that is none of the host link's."""
    what = f"a frame comes out of port {port}"
    if board.shared is not None and port == LINK_PORT:      # the driver's thread receives for both
        wait_until(lambda: board.shared.others, what, PATIENCE)
        return board.shared.others.popleft()
    assert select.select([board.ports[port]], [], [], PATIENCE)[0], f"not within {PATIENCE} s: {what}"
    return board.ports[port].recv(2000)


def tables(config):
    """All rows that say where frames go, or who may send them."""
    routers = range(config.routers)
    return [*((Table.CONTEXT, router, 0) for router in routers),
            *((Table.VMAC, 0, row) for row in range(config.vmac_slots)),
            *((Table.PORT, router, port) for router in routers for port in range(config.ports))]


def test_all_is_off_and_empty_until_the_host_comes(board):
    rng = Random(1)
    with board.driver() as driver:
        assert driver.epoch == 0        # and what comes in from now on is not lost any more
        for port in board.ports:
            for _ in range(4):
                port.send(rng.randbytes(100))
        assert not any(driver.read_rows(tables(CONFIG)))
        nobody = {key: value for key, value in driver.read_counters(CONFIG.routers).items() if value}
        assert nobody == {(port, Reason.DROP_NO_ROUTER): 4 for port in range(CONFIG.ports)}
        queues = [driver.read_queues(router) for router in range(CONFIG.routers)]
        assert not any(value for queue in queues for (_, stat), value in queue.items() if stat == QueueStat.ENQUEUED)


def test_forwards_like_the_model_also_when_the_host_is_gone(board):
    model = GoldenModel(CONFIG, has_macs=True)
    with board.driver() as driver:
        driver.write_rows(SCENARIO.writes)
        assert driver.read_rows((write.table, write.router, write.row) for write in SCENARIO.writes) == [
            write.value for write in SCENARIO.writes]
        for write in SCENARIO.writes:
            model.tables.write(write.table, write.router, write.row, write.value)
        load = list(forwarding_frames(SCENARIO, 24))
        forward(board, model, load[:12])
        counted = {key: value for key, value in driver.read_counters(0).items() if value}
        assert counted == {(port, Reason(reason)): value
                           for (router, port, reason), value in model.counters.items() if router == 0}
    # Nobody is at the host link any more; of a shared port, only this test reads.
    if board.shared is not None:
        load = [frame for frame in load if frame.port == LINK_PORT]     # these leave by the other port
    forward(board, model, load[12:] if board.shared is None else load[6:])


@pytest.mark.slow
def test_a_narrow_core_behind_an_authenticated_link(tmp_path):
    """Its beats are converted on their way to and from the link, and those of the port that both share."""
    kind = HostLinkKind.AUTHENTICATED
    top = top_of(kind, 32)
    model = GoldenModel(top.config, has_macs=True)
    with TopBoard(top, executable_of(kind, 32), tmp_path) as board, board.driver() as driver:
        assert driver.info().config.data_width == 32
        driver.write_rows(SCENARIO.writes)
        for write in SCENARIO.writes:
            model.tables.write(write.table, write.router, write.row, write.value)
        forward(board, model, forwarding_frames(SCENARIO, 24))
        counted = {key: value for key, value in driver.read_counters(0).items() if value}
        assert counted == {(port, Reason(reason)): value
                           for (router, port, reason), value in model.counters.items() if router == 0}


def forward(board, model, frames):
    for frame in frames:
        board.ports[frame.port].send(frame.frame)
        for expected in model.receive(frame.port, frame.frame.ljust(60, b"\0")):
            assert take(board, expected.port) == expected.frame


@pytest.mark.slow
def test_watchdog_that_disables(tmp_path):
    """Time passes as long as frames come. It expires a unit after the last request, 2**20 cycles, at the earliest."""
    kind = HostLinkKind.UART
    frame = next(forwarding_frames(SCENARIO, 1))
    with TopBoard(top_of(kind), executable_of(kind), tmp_path) as board, board.driver() as driver:
        driver.write_rows(SCENARIO.writes)
        registers = BoardRegisters(driver)
        unit = WATCHDOG_UNIT / CONFIG.clock_hz
        registers.set_watchdog(unit)

        def passes() -> bool:
            """Whether it is forwarded, as far as can be seen before one that is behind it is dropped."""
            board.ports[frame.port].send(frame.frame)
            return bool(select.select([board.ports[1 - frame.port]], [], [], 2.0)[0]
                        and board.ports[1 - frame.port].recv(2000))

        assert passes()
        started = board.board.stats()["cycles"]
        while passes():
            cycles = board.board.stats()["cycles"] - started
            assert cycles < 4 * WATCHDOG_UNIT
        assert board.board.stats()["cycles"] - started > WATCHDOG_UNIT
        assert registers.watchdog().expired and registers.watchdog().disables
        assert not passes()         # what the host reads does not bring it back
        registers.rearm_watchdog()
        assert passes()
        dropped = {key: value for key, value in driver.read_counters(0).items() if value and key[1] != Reason.FORWARDED}
        assert set(dropped) == {(frame.port, Reason.DROP_DISABLED)}


def test_phys_and_leds_as_the_host_sees_them(board):
    with board.driver() as driver:
        registers = BoardRegisters(driver)
        identity = registers.identity()
        assert (identity.name, identity.link) == ("two_ports", board.top.host_link.kind)
        assert identity.ports == len(board.top.ports)
        for _ in range(20):
            phys = registers.phys()
            if all(phy.link for phy in phys):
                break
        for number, phy in enumerate(phys):
            assert (phy.address, phy.present, phy.link, phy.speed, phy.full_duplex) == (number, True, True, 1000, True)
            assert phy.identifier == board.top.ports[number].phy.identifier
            assert phy.inband is not None and phy.inband.link and phy.inband.speed == 1000
        assert registers.mdio_read(0, 0, 2) == board.top.ports[0].phy.identifier >> 16
        # The set-up has left full duplex only (28.2.4.1.3).
        assert registers.mdio_read(0, 0, 4) & 0x3E0 == 0x140
        registers.set_leds({0: True})
        assert registers.leds() == {0: True}


def test_a_reset_before_the_host_came_does_no_harm(board):
    board.board.reset()
    with board.driver() as driver:
        driver.epoch = 7
        assert driver.epoch == 7


def test_a_reset_later_is_for_good(board):
    """The tables would still be there, and the queues' state would not fit."""
    with board.driver() as driver:
        driver.write_rows(SCENARIO.writes)
    frame = next(frame for frame in forwarding_frames(SCENARIO, 4) if frame.port == LINK_PORT)
    board.ports[LINK_PORT].send(frame.frame)
    assert len(take(board, 1 - LINK_PORT)) >= 60
    board.board.reset()
    board.ports[LINK_PORT].send(frame.frame)
    with board.driver(timeout=0.2, retries=2) as driver, pytest.raises(BoardTimeout):
        driver.read_row(Table.REGISTER, Register.EPOCH)
    board.board.stats()
    with pytest.raises(BlockingIOError):
        board.ports[1 - LINK_PORT].recv(2000, socket.MSG_DONTWAIT)


class Intruder:
    """Someone at the port of an authenticated link."""

    def __init__(self, board, driver):
        self.board, self.driver = board, driver
        self.registers = BoardRegisters(driver)
        self.wire = board.ports[LINK_PORT]
        self.before = self.state()

    def state(self):
        """What an accepted frame could have changed."""
        rows = tables(CONFIG) + [(Table.REGISTER, 0, row) for row in Register]
        return self.driver.read_rows(rows)

    def counters(self):
        return self.registers.link_counters()


@pytest.fixture
def intruder(tmp_path):
    kind = HostLinkKind.AUTHENTICATED
    with TopBoard(top_of(kind), executable_of(kind), tmp_path) as board, board.driver() as driver:
        driver.write_rows(SCENARIO.writes)
        yield Intruder(board, driver)


def nonce_of(intruder):
    """By the handshake that every host makes."""
    return nonces_of(intruder.board)[-1]


def nonces_of(board):
    welcomes = [AuthFrame.from_bytes(KEY, 0, frame) for frame in board.shared.received if frame[15] == WELCOME]
    return [int.from_bytes(welcome.body[8:16], "little") for welcome in welcomes]


def test_forged_frames_change_nothing_and_are_counted(intruder):
    rng = Random(2)
    recorded = [frame for frame in intruder.board.shared.sent if frame[15] == DATA]
    counted = intruder.counters()
    number = 40
    for _ in range(number):
        frame = bytearray(rng.choice(recorded))
        at = rng.randrange(16, len(frame))          # behind what says whose frame it is
        frame[at] ^= 1 << rng.randrange(8)
        intruder.wire.send(bytes(frame))
    after = intruder.counters()
    assert after.forged - counted.forged == number
    assert (after.replayed, after.foreign, after.framing) == (counted.replayed, counted.foreign, counted.framing)
    assert intruder.state() == intruder.before


def test_replayed_frames_change_nothing_and_are_counted(intruder):
    recorded = [frame for frame in intruder.board.shared.sent if frame[15] == DATA]
    counted = intruder.counters()
    for frame in recorded[:20]:
        intruder.wire.send(frame)
    after = intruder.counters()
    assert after.replayed - counted.replayed == len(recorded[:20])
    assert (after.forged, after.foreign) == (counted.forged, counted.foreign)
    assert intruder.state() == intruder.before


def test_foreign_frames_change_nothing_and_are_counted(intruder):
    """Of the link's EtherType and address, but of another version or kind, or from a group address."""
    counted = intruder.counters()
    nonce = nonce_of(intruder)
    sent = [AuthFrame(DATA, 1 << 62, bytes(40), version=2), AuthFrame(9, 1 << 62, bytes(40)),
            AuthFrame(DATA, 1 << 62, bytes(40), source=bytes.fromhex("011122334455"))]
    for frame in sent:
        intruder.wire.send(frame.to_bytes(KEY, nonce))
    after = intruder.counters()
    assert after.foreign - counted.foreign == len(sent)
    assert (after.forged, after.replayed) == (counted.forged, counted.replayed)
    assert intruder.state() == intruder.before


def test_frames_of_another_key_are_forged(intruder):
    counted = intruder.counters()
    nonce = nonce_of(intruder)
    for number in range(5):
        intruder.wire.send(AuthFrame(DATA, (1 << 62) + number, bytes(40)).to_bytes(bytes(15) + b"\1", nonce))
    assert intruder.counters().forged - counted.forged == 5
    assert intruder.state() == intruder.before


def test_bare_host_frames_at_a_data_port_are_traffic(intruder):
    """The core's own frames, without an envelope, count as any frame that no router takes."""
    before = intruder.driver.read_counters(CONFIG.routers)
    bodies = [frame[32:] for frame in intruder.board.shared.sent if frame[15] == DATA][:6]
    for body in bodies:
        intruder.wire.send(body)
    after = intruder.driver.read_counters(CONFIG.routers)
    key = (LINK_PORT, Reason.DROP_NO_ROUTER)
    assert after[key] - before[key] == len(bodies)
    assert intruder.state() == intruder.before


def test_two_starts_have_two_nonces(tmp_path):
    kind = HostLinkKind.AUTHENTICATED
    nonces = set()
    for number in range(2):
        directory = tmp_path / str(number)
        directory.mkdir()
        with TopBoard(top_of(kind), executable_of(kind), directory) as board, board.driver() as driver:
            driver.info()
            nonces.add(nonces_of(board)[-1])
    assert len(nonces) == 2 and 0 not in nonces


def test_without_entropy_the_link_stays_off(tmp_path):
    kind = HostLinkKind.AUTHENTICATED
    with TopBoard(top_of(kind), executable_of(kind), tmp_path, options=("--entropy", "stuck")) as board, \
            board.driver(timeout=0.2, retries=3) as driver:
        with pytest.raises(BoardTimeout):
            driver.info()
        assert board.shared.sent and not board.shared.received


def test_noise_on_a_uart_changes_nothing_and_is_counted(tmp_path):
    kind = HostLinkKind.UART
    rng = Random(3)
    with TopBoard(top_of(kind), executable_of(kind), tmp_path) as board, board.driver() as driver, \
            open(board.tty, "wb", buffering=0) as line:
        driver.write_rows(SCENARIO.writes)
        registers = BoardRegisters(driver)
        rows = tables(CONFIG)
        before, counted = driver.read_rows(rows), registers.link_counters()
        number = 20
        for _ in range(number):
            # No END within, so each is a frame for the board, and its CRC is right once in 2**32 times.
            line.write(b"\xc0" + bytes(rng.choice([*range(0xC0), *range(0xC1, 0xDB)]) for _ in range(50)) + b"\xc0")
        after = registers.link_counters()
        assert after.framing - counted.framing == number
        assert driver.read_rows(rows) == before
