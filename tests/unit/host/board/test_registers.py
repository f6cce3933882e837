"""Registers of a board through the driver, against the golden model, over good and bad links."""

import threading
from random import Random

import pytest
from polyrouter.hdl.layouts import (
    BOARD_IDENTITY,
    BOARD_MDIO,
    WATCHDOG_UNIT,
    BoardRow,
    HostLinkKind,
    OpStatus,
    Table,
    pack,
)
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.errors import NotABoard, OpError
from polyrouter.host.board.hostport import HostPort
from polyrouter.host.board.registers import (
    BoardIdentity,
    BoardRegisters,
    InbandStatus,
    LinkCounters,
    MdioError,
    PhyStatus,
    RegisterError,
    WatchdogState,
)
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.golden_board import GoldenBoard
from polyrouter.sim.mdio_phy import LinkPartner, PagedPhy

from .link import Link, small_config

CONFIG = small_config()
UNIT = WATCHDOG_UNIT / CONFIG.clock_hz
PLACES = ((0, 3), (0, 4), (1, 3))


class Bench:
    """A driver, and a golden model on a board with PHYs."""

    def __init__(self, *, rng=None, board=None, mdio_reads=3, patience=5.0, **link):
        self.phys = {place: PagedPhy(0x01410DD1, 22) for place in PLACES}
        self.board = board or GoldenBoard("netfpga_1g_cml", PLACES, self.access, disables=True, mdio_reads=mdio_reads)
        self.model = GoldenModel(CONFIG, board=self.board)
        self.driver = Driver(HostPort(Link(self.model, rng, **link)), timeout=0.02, retries=12)
        self.registers = BoardRegisters(self.driver, patience=patience)

    def access(self, wanted):
        phy = self.phys.get((wanted.bus, wanted.phy))
        if phy is None:
            return 0xFFFF, wanted.write
        if wanted.write:
            phy.write(wanted.register, wanted.data)
            return 0, True
        return phy.read(wanted.register), True


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.driver.close()


def test_identity(bench):
    assert bench.registers.identity() == BoardIdentity("netfpga_1g_cml", 3, 2)


@pytest.mark.parametrize("link, port", [(HostLinkKind.PORT, 2), (HostLinkKind.AUTHENTICATED, 1)])
def test_identity_tells_the_port_of_the_host_link(link, port):
    bench = Bench(board=GoldenBoard("x", PLACES, lambda wanted: (0, True), link=link, link_port=port))
    assert bench.registers.identity() == BoardIdentity("x", 3, 2, link, port)
    bench.driver.close()


def test_identity_of_a_uart():
    bench = Bench(board=GoldenBoard("x", PLACES, lambda wanted: (0, True), link=HostLinkKind.UART))
    assert bench.registers.identity() == BoardIdentity("x", 3, 2, HostLinkKind.UART, None)
    bench.driver.close()


def test_identity_of_an_unknown_host_link():
    class Newer(GoldenBoard):
        def read(self, row):
            return super().read(row) | (3 << BOARD_IDENTITY["link"].offset if row == BoardRow.IDENTITY else 0)

    bench = Bench(board=Newer("x", PLACES, lambda wanted: (0, True)))
    with pytest.raises(NotABoard, match="its host link is of kind 3, which there is not"):
        bench.registers.phys()
    bench.driver.close()


def test_a_core_without_a_board():
    driver = Driver(HostPort(Link(GoldenModel(CONFIG))), timeout=0.02, retries=12)
    for method in (BoardRegisters.identity, BoardRegisters.phys, BoardRegisters.link_counters, BoardRegisters.watchdog):
        with pytest.raises(RegisterError, match="there are no board registers: this is a core alone"):
            method(BoardRegisters(driver))
    driver.close()


def test_registers_of_another_version():
    class Newer(GoldenBoard):
        def read(self, row):
            return super().read(row) + (row == BoardRow.IDENTITY)

    bench = Bench(board=Newer("x", PLACES, lambda wanted: (0, True)))
    with pytest.raises(NotABoard, match="the board registers are of version 3, not 2"):
        bench.registers.phys()
    bench.driver.close()


def test_phys(bench):
    bench.board.status[0] = {"present": 1, "link": 1, "speed": 2, "full_duplex": 1, "id": 0x01410DD1}
    bench.board.status[1] = {"present": 1, "speed": 0, "id": 0x01410DD0, "inband_valid": 1, "inband_link": 1,
                             "inband_speed": 1, "inband_full_duplex": 1}
    bench.board.status[2] = {"speed": 3, "id": 0xFFFFFFFF, "inband_valid": 1, "inband_speed": 3}
    assert bench.registers.phys() == [
        PhyStatus(0, 3, True, True, True, 1000, 0x01410DD1, None),
        PhyStatus(0, 4, True, False, False, 10, 0x01410DD0, InbandStatus(True, 100, True)),
        PhyStatus(1, 3, False, False, False, None, 0xFFFFFFFF, InbandStatus(False, None, False)),
    ]


def test_link_counters(bench):
    rng = Random(1)
    bench.board.counters = {row: rng.getrandbits(32) for row in bench.board.counters}
    assert bench.registers.link_counters() == LinkCounters(*bench.board.counters.values())


def test_watchdog(bench):
    registers = bench.registers
    assert registers.watchdog() == WatchdogState(0, True, False, True)
    registers.set_watchdog(2.5 * UNIT)
    assert bench.board.timeout == 3
    assert registers.watchdog().timeout == pytest.approx(3 * UNIT)
    bench.board.silence(4)
    assert registers.watchdog().expired
    registers.rearm_watchdog()
    assert registers.watchdog() == WatchdogState(3 * UNIT, True, False, True)
    registers.set_watchdog(0)
    bench.board.silence(100)
    assert registers.watchdog() == WatchdogState(0, True, False, True)
    registers.set_watchdog(65535 * UNIT)
    assert bench.board.timeout == 65535
    for timeout in (-1, 65536 * UNIT):
        with pytest.raises(RegisterError, match=r"the watchdog's timeout must be 0 \(off\) to \d+ s, not"):
            registers.set_watchdog(timeout)


def test_an_expired_watchdog_lets_no_router_in(bench):
    """What the model does with a frame of a router that is enabled otherwise."""
    bench.driver.write_rows([(Table.CONTEXT, 1, 0, 1)])
    assert bench.model.tables.context(1).on
    bench.registers.set_watchdog(UNIT)
    bench.board.silence(2)
    assert not bench.model.tables.context(1).on
    assert bench.driver.read_row(Table.CONTEXT, 0, 1) == 1      # the row stays
    bench.registers.rearm_watchdog()
    assert bench.model.tables.context(1).on


def test_loopback_and_leds(bench):
    registers = bench.registers
    registers.set_loopback({1, 2})
    assert registers.loopback() == {1, 2} and bench.board.loopback == 6
    with pytest.raises(RegisterError, match="port 0 is the host's alone: the board could not be reached any more"):
        registers.set_loopback({0, 1})
    assert registers.loopback() == {1, 2}
    registers.set_loopback(())
    assert registers.loopback() == set()
    registers.set_leds({1: True, 2: False})
    assert registers.leds() == {1: True, 2: False}
    assert (bench.board.led_override, bench.board.led_value) == (6, 2)
    for wrong in (registers.set_loopback, lambda ports: registers.set_leds(dict.fromkeys(ports, True))):
        with pytest.raises(RegisterError, match="the board has ports 0 to 2, not 3"):
            wrong([3])


@pytest.mark.parametrize("seed", range(3))
def test_random_accesses_to_phys(seed):
    """Whatever the link does, each access is done once, and the answer is its own."""
    rng = Random(seed)
    bad = {"loss": 0.1, "repeat": 0.1, "delay": 0.1} if seed else {}
    bench = Bench(rng=rng, mdio_reads=rng.randrange(1, 6), **bad)
    done, kept = [], {}
    for _ in range(40):
        bus, phy, register, data = *rng.choice(PLACES), rng.randrange(16, 20), rng.getrandbits(16)
        if rng.random() < 0.5:
            bench.registers.mdio_write(bus, phy, register, data)
            kept[bus, phy, register] = data
            done.append((bus, phy, register, True, data))
        else:
            assert bench.registers.mdio_read(bus, phy, register) == kept.get((bus, phy, register), 0)
            done.append((bus, phy, register, False, 0))
    assert bench.board.accesses == done
    bench.driver.close()


def test_several_threads_share_the_row(bench):
    for place, phy in bench.phys.items():
        phy.connect(LinkPartner())
        phy.identifier = 100 + PLACES.index(place)
    wrong = []

    def reader(place):
        for _ in range(15):
            value = bench.registers.mdio_read(*place, 3)
            if value != 100 + PLACES.index(place):
                wrong.append((place, value))

    threads = [threading.Thread(target=reader, args=(place,)) for place in PLACES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(bench.board.accesses) == 45


def test_a_held_bus_is_let_go_whatever_happens(bench):
    registers = bench.registers
    with pytest.raises(ZeroDivisionError), registers.mdio_held():
        assert bench.board.hold
        registers.mdio_write(0, 3, 22, 2)
        assert bench.board.hold
        assert registers.mdio_read(0, 3, 21) == 0
        with registers.mdio_held():
            pass
        assert bench.board.hold
        raise ZeroDivisionError
    assert not bench.board.hold
    registers.mdio_read(0, 3, 1)
    assert not bench.board.hold


def test_nobody_answers(bench):
    with pytest.raises(MdioError, match="no PHY answers at address 9 of MDIO bus 1: check the address"):
        bench.registers.mdio_read(1, 9, 2)
    bench.registers.mdio_write(1, 9, 2, 0)      # does not show
    assert bench.registers.mdio_read(1, 3, 2) == 0x0141


def test_an_access_that_never_ends():
    bench = Bench(mdio_reads=1 << 30, patience=0)
    with pytest.raises(MdioError, match=r"an access to PHY 3 of MDIO bus 0 has not ended after 0 s"):
        bench.registers.mdio_read(0, 3, 2)
    bench.driver.close()


def test_an_access_of_someone_else_is_waited_for(bench):
    bench.driver.write_rows([(Table.BOARD, 0, BoardRow.MDIO, pack(BOARD_MDIO, {
        "bus": 1, "phy": 3, "register": 5, "start": 1}))])
    assert bench.registers.mdio_read(0, 4, 3) == 0x0DD1
    assert [(wanted.bus, wanted.register) for wanted in bench.board.accesses] == [(1, 5), (0, 3)]


@pytest.mark.parametrize(("access", "message"), [
    ((2, 0, 0), "bus must be 0 to 1, not 2"), ((0, 32, 0), "phy must be 0 to 31, not 32"),
    ((0, 0, -1), "register must be 0 to 31, not -1"), ((0, 0, 0, 1 << 16), "data must be 0 to 65535, not 65536"),
])
def test_refuses(bench, access, message):
    with pytest.raises(RegisterError, match=message):
        (bench.registers.mdio_read if len(access) == 3 else bench.registers.mdio_write)(*access)
    assert not bench.board.accesses


@pytest.mark.parametrize("seed", range(2))
def test_rows_that_can_only_be_read(seed):
    """Also when the answer was lost: the driver finds out by reading, and must not take that for done."""
    bench = Bench(rng=Random(seed), loss=0.3 * seed)
    for _ in range(10):
        with pytest.raises(OpError, match="READ_ONLY \\(this row can only be read\\)") as caught:
            bench.driver.write_rows([(Table.BOARD, 0, BoardRow.PHY, 1)])
        assert caught.value.status == OpStatus.READ_ONLY
    bench.driver.close()
