"""The driver against the golden model's control engine, over good and bad links."""

import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrouter.hdl.layouts import (
    CONTEXT_ROW,
    MAX_OPS,
    Opcode,
    OpStatus,
    QueueStat,
    Reason,
    Register,
    Table,
    pack,
    row_words,
)
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.errors import BoardOutOfStep, BoardTimeout, NotABoard, OpError
from polyrouter.host.board.frames import Op
from polyrouter.host.board.hostport import HostPort
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.host_frames import Op as ModelOp

from tests.effort import examples

from .link import Link, small_config

CONFIG = small_config()


def connect(link: Link, **options) -> Driver:
    return Driver(HostPort(link), **{"timeout": 0.02, "retries": 12, **options})


@pytest.fixture
def model() -> GoldenModel:
    return GoldenModel(CONFIG)


@pytest.fixture
def driver(model):
    driver = connect(Link(model))
    yield driver
    driver.close()


def window(router: int) -> tuple[Table, int, int, int]:
    size = CONFIG.fib_words // CONFIG.routers
    return (Table.CONTEXT, router, 0, pack(CONTEXT_ROW, {"enable": 1, "fib_base": router * size, "fib_size": size}))


def test_info(driver):
    info = driver.info()
    assert info.config == CONFIG
    assert not info.has_macs


def test_rows_of_several_words_come_back_whole(driver, model):
    bits = {row: 0x5A << 64 | row * 0x0123_4567_89AB for row in range(40)}
    driver.write_rows([window(1)] + [(Table.FIB, 1, row, value) for row, value in bits.items()])
    assert {row: driver.read_row(Table.FIB, row, 1) for row in bits} == bits
    assert driver.read_rows([(Table.FIB, 1, 3), (Table.FIB, 1, 7)]) == [bits[3], bits[7]]
    assert model.tables.read(Table.FIB, 1, 5) == bits[5]


def test_a_request_has_at_most_max_ops(model):
    link = Link(model)
    driver = connect(link)
    driver.sync()
    link.requests.clear()
    results = driver.execute([Op.read(Table.REGISTER, 0)] * (2 * MAX_OPS + 1))
    assert len(results) == 2 * MAX_OPS + 1
    assert [len(frame) for frame in link.requests] == [32 + 16 * MAX_OPS] * 2 + [48]
    driver.close()


def test_nothing_to_do_is_done(driver):
    assert driver.execute([]) == []
    driver.write_rows([])


def test_counters_and_queues(driver, model):
    for _ in range(3):
        model.tables.count(2, 1, Reason.FORWARDED)
    model.tables.count(CONFIG.no_router, 0, Reason.DROP_NO_ROUTER)
    assert driver.read_counters(2)[1, Reason.FORWARDED] == 3
    assert sum(driver.read_counters(2).values()) == 3
    assert driver.read_counters(CONFIG.no_router)[0, Reason.DROP_NO_ROUTER] == 1
    driver.clear_counters(2)
    assert sum(driver.read_counters(2).values()) == 0
    queues = driver.read_queues(2)
    assert queues[0, QueueStat.FREE_CELLS] == CONFIG.cells
    assert set(queues) == {(port, stat) for port in range(CONFIG.all_ports) for stat in QueueStat}


def test_epoch(driver):
    assert driver.epoch == 0
    driver.epoch = 0xDEAD_BEEF_0123_4567
    assert driver.epoch == 0xDEAD_BEEF_0123_4567


def test_a_refused_access_tells_which_and_why(driver, model):
    driver.write_rows([window(1)])
    ops = [Op.write(Table.REGISTER, Register.EPOCH, 5), Op.read(Table.FIB, 9999, router=1)]
    with pytest.raises(OpError, match=r"access 1, READ of FIB row 9999 word 0 of router 1, .*WINDOW") as info:
        driver.execute(ops)
    error = info.value
    assert (error.index, error.table, error.row, error.status) == (1, Table.FIB, 9999, OpStatus.WINDOW)
    assert driver.epoch == 5


def test_after_a_refused_access_nothing_more_is_started(driver):
    fences = [Op.fence()] * (20 * MAX_OPS)
    with pytest.raises(OpError):
        driver.execute([Op.read(Table.VMAC, 1 << 20), *fences, Op.write(Table.REGISTER, Register.EPOCH, 7)])
    assert driver.epoch == 0


def test_without_check_all_is_done(driver):
    results = driver.execute([Op.read(Table.VMAC, 1 << 20), Op(9), Op.write(Table.INFO, 0, 1),
                              Op.write(Table.REGISTER, Register.EPOCH, 7)], check=False)
    assert [result.status for result in results] == [
        OpStatus.BAD_ROW, OpStatus.BAD_OPCODE, OpStatus.READ_ONLY, OpStatus.OK]
    assert driver.epoch == 7


def test_a_value_that_does_not_fit_is_refused_before_anything_is_sent(model):
    link = Link(model)
    driver = connect(link)
    driver.sync()
    link.requests.clear()
    with pytest.raises(ValueError, match="row must fit 32 bits"):
        driver.execute([Op.read(Table.REGISTER, 0), Op.read(Table.FIB, 1 << 32)])
    assert link.requests == []
    assert driver.epoch == 0
    driver.close()


def test_a_board_that_does_not_answer(model):
    driver = connect(Link(model, loss=1.0), timeout=0.001, retries=3)
    with pytest.raises(BoardTimeout, match=r"did not answer to READ of INFO row 0 .*4 attempts"):
        driver.sync()
    driver.close()


def test_after_a_timeout_only_sync_helps(model):
    link = Link(model)
    driver = connect(link, timeout=0.001, retries=3)
    driver.epoch = 1
    link.loss = 1.0
    with pytest.raises(BoardTimeout):
        driver.epoch = 2
    link.loss = 0
    with pytest.raises(BoardOutOfStep, match="call sync"):
        driver.epoch = 3
    driver.sync()
    assert driver.epoch == 1
    driver.close()


def test_a_board_that_was_reset_is_noticed():
    link = Link(GoldenModel(CONFIG))
    driver = connect(link)
    driver.epoch = 1
    link.model = GoldenModel(CONFIG)
    with pytest.raises(BoardOutOfStep, match="was reset") as info:
        driver.write_rows([(Table.REGISTER, 0, Register.EPOCH, 2)])
    assert info.value.expected == 0
    driver.sync()
    assert driver.epoch == 0
    driver.close()


def test_another_driver_is_noticed(model):
    first, second = connect(Link(model)), connect(Link(model))
    first.sync()
    second.sync()
    with pytest.raises(BoardOutOfStep):
        first.fence()
    second.fence()
    first.close()
    second.close()


def test_not_a_board(model):
    model.control._info[0] = 0x1234
    driver = connect(Link(model))
    with pytest.raises(NotABoard, match="0x0000000000001234"):
        driver.sync()
    driver.close()


def test_sequence_numbers_wrap(model, monkeypatch):
    monkeypatch.setattr("polyrouter.host.board.window.random.getrandbits", lambda _: 0xFFFF_FFFE)
    driver = connect(Link(model, Random(3), loss=0.1, repeat=0.1))
    for value in range(1, 20):
        driver.epoch = value
        assert driver.epoch == value
    driver.close()


def test_threads_share_a_driver(driver):
    failures = []

    def work(row: int) -> None:
        for value in range(30):
            driver.write_rows([(Table.COUNTER, 0, row, value)])
            if driver.read_row(Table.COUNTER, row) != value:
                failures.append((row, value))

    threads = [threading.Thread(target=work, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def random_ops(rng: Random, count: int) -> list[Op]:
    """Writes and fences, some refused; a row is written more than once."""
    ops = []
    tables = [Table.FIB, Table.FIB, Table.REGISTER, Table.VMAC, Table.COUNTER, Table.QUEUE, Table.INFO, 15]
    for _ in range(count):
        table = rng.choice(tables)
        words = 1 if table == 15 else row_words(table)
        ops.append(rng.choice([
            Op.fence(),
            *[Op.write(table, rng.randrange(80), rng.getrandbits(64), router=rng.randrange(CONFIG.routers + 1),
                       word=rng.randrange(words + (rng.random() < 0.1)))] * 6,
        ]))
    return ops


def state(model: GoldenModel) -> dict:
    return {(table, router, row): model.tables.read(table, router, row)
            for table, rows in ((Table.FIB, 64), (Table.REGISTER, 3), (Table.VMAC, 64), (Table.COUNTER, 80))
            for router in range(CONFIG.routers) for row in range(rows)}


@settings(max_examples=examples(15), deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0, 0.05, 0.2]), repeat=st.sampled_from([0, 0.2]),
       delay=st.sampled_from([0, 0.2]))
def test_every_access_takes_effect_once_and_in_order_over_a_bad_link(seed, loss, repeat, delay):
    # Small frames make many: the link is about frames, and the model takes its time for each access.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyrouter.host.board.driver.MAX_OPS", 6)
        check_bad_link(Random(seed), loss, repeat, delay)


def check_bad_link(rng: Random, loss: float, repeat: float, delay: float) -> None:
    direct, behind_link = GoldenModel(CONFIG), GoldenModel(CONFIG)
    link = Link(behind_link, rng)
    driver = connect(link)
    windows = [window(router) for router in range(CONFIG.routers)]
    driver.write_rows(windows)
    reference = connect(Link(direct))
    reference.write_rows(windows)
    reference.close()
    link.loss, link.repeat, link.delay = loss, repeat, delay

    ops = random_ops(rng, 200)
    results = driver.execute(ops, check=False)
    expected = [ModelOp(op.opcode, op.table, op.router, op.row, op.word, op.data) for op in ops]
    for op in expected:
        direct.control.execute(op)
    assert [result.status for result in results] == [op.status for op in expected]
    assert state(behind_link) == state(direct)

    reads = [Op.read(table, row, router=router) for table, router, row in rng.sample(sorted(state(direct)), 60)]
    answers = driver.execute(reads)
    assert [answer.data for answer in answers] == [
        direct.tables.read(Table(op.table), op.router, op.row) & (1 << 64) - 1 for op in reads]
    driver.close()


def test_lost_answers_are_recovered(model, monkeypatch):
    """Only answers are lost: everything was executed once, and all results are found out."""
    monkeypatch.setattr("polyrouter.host.board.driver.MAX_OPS", 8)
    link = Link(model)
    driver = connect(link)
    driver.sync()
    executed = []
    execute = model.control.execute
    model.control.execute = lambda op: (executed.append((op.opcode, op.row)), execute(op))[1]
    lost = set(range(1, 200, 3))
    deliver, count = link.deliver, iter(range(10**6))
    link.deliver = lambda frame: None if next(count) in lost else deliver(frame)
    ops = [Op.write(Table.VMAC, row, row + 1) for row in range(159)]
    results = driver.execute(ops, check=False)
    rows = CONFIG.vmac_slots
    assert [result.status for result in results] == [OpStatus.OK if row < rows else OpStatus.BAD_ROW
                                                     for row in range(len(ops))]
    assert [row for opcode, row in executed if opcode == Opcode.WRITE] == list(range(len(ops)))
    assert any(opcode == Opcode.READ for opcode, _ in executed)
    driver.close()
