"""The data plane of a node with a real board: it is asked whether it is still there, and let go of."""

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Table
from polyrouter.host.agent import dataplane
from polyrouter.host.agent.dataplane import DataPlane
from polyrouter.host.agent.events import EventLog
from polyrouter.host.board.errors import NotABoard
from polyrouter.host.spec import NodeSpec
from polyrouter.host.store import AgentStore
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.golden_board import GoldenBoard

from ..board.link import Link

CONFIG = CoreConfig(ports=2, routers=2, fib_words=64, adjacencies=16, clock_hz=125e6 / 3)
SPEC = NodeSpec(topology="net", node="left", namespace="pr-net", core=CONFIG.as_dict(), macs=True, taps=[], host_tap="",
                host_link="uart:/dev/ttyUSB1")


class Bench:
    """A board, and planes of agents that come one after the other."""

    def __init__(self, directory, monkeypatch) -> None:
        self.store, self.events = AgentStore(directory / "agent.db"), EventLog(directory / "events.jsonl")
        self.power_on()
        self.opened: list[tuple[str, str | None]] = []

        def open_transport(link: str, namespace: str | None) -> Link:
            self.opened.append((link, namespace))
            self.link = Link(self.model)
            return self.link

        monkeypatch.setattr(dataplane, "open_transport", open_transport)

    def power_on(self) -> None:
        """The board as it is after power-up."""
        self.board = GoldenBoard("versa_ecp5", [(0, 0), (0, 1)], lambda _: (0, False), disables=True, timeout=3)
        self.model = GoldenModel(CONFIG, has_macs=True, board=self.board)

    def plane(self, config: CoreConfig = CONFIG) -> DataPlane:
        return DataPlane(SPEC, config, self.store, self.events, outside="/proc/self/fd/9")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch)
    yield bench
    bench.store.close()


def test_its_interface_is_outside_of_the_fabric(bench):
    bench.plane().close()
    assert bench.opened == [("uart:/dev/ttyUSB1", "/proc/self/fd/9")]


def test_it_is_asked_whether_it_is_as_it_was(bench):
    plane = bench.plane()
    assert plane.start([]) and plane.in_step()
    asked = len(bench.link.requests)
    assert plane.in_step() and len(bench.link.requests) > asked
    # It was without power, and is back before anybody has missed it.
    bench.power_on()
    bench.link.model = bench.model
    assert not plane.in_step()
    assert plane.start([]) and plane.in_step()
    plane.close()


def test_a_watchdog_that_has_expired_is_armed_again(bench):
    plane = bench.plane()
    plane.start([])
    bench.board.silence(4)
    assert bench.board.disable
    plane.close()
    plane = bench.plane()       # as when an agent comes back: nothing has to be programmed
    assert not plane.start([])
    assert not bench.board.disable and bench.board.timeout == 3
    assert [event["what"] for event in bench.events.since()] == ["watchdog armed again"]
    plane.close()


def test_released_it_has_no_router_and_no_epoch(bench):
    plane = bench.plane()
    plane.start([])
    rows = [(Table.VMAC, 0, 5), (Table.CONTEXT, 1, 0)]
    plane.driver.write_rows([(*row, 1) for row in rows])
    assert any(plane.driver.read_rows(rows)) and plane.driver.epoch
    plane.release()
    assert plane.driver.read_rows(rows) == [0, 0] and plane.driver.epoch == 0
    assert not plane.in_step()
    plane.close()


def test_what_is_another_network_s_by_now_is_left(bench):
    plane = bench.plane()
    plane.start([])
    rows = [(Table.VMAC, 0, 5)]
    plane.driver.write_rows([(*rows[0], 1)])
    plane.driver.epoch = other = plane.driver.epoch ^ 1 << 40
    plane.release()
    assert plane.driver.read_rows(rows) == [1] and plane.driver.epoch == other
    plane.close()


def test_a_board_with_another_clock_is_another_one(bench):
    plane = bench.plane(CoreConfig(**{**CONFIG.as_dict(), "clock_hz": 50e6}))
    with pytest.raises(NotABoard, match=r"clock_hz is 41666666, not 50000000\b"):
        plane.start([])
    plane.close()
