"""A golden model with a few routers that a test describes in a line each."""

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import HostStatus, Table
from polyrouter.sim.golden import GoldenModel, Output
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.link_tables import LinkTables
from polyrouter.sim.tablegen import RouterSetup, VmacTable, requests

CONFIG = CoreConfig(routers=2, fib_words=1024, adjacencies=64)
HOST = bytes.fromhex("0a0000000001")
OWN = "02:00:00:00:01:02"           # router 1, port 2
NEIGHBOUR = "06:00:00:00:01:03"     # router 1, port 3
SEEDS = (0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321)


def load(model: GoldenModel, writes) -> None:
    """Write rows through the control engine."""
    for frame in requests(writes, sequence=0, source=HOST, sync=True):
        (output,) = model.host_receive(frame.to_bytes())
        response = HostFrame.from_bytes(output.frame)
        assert response.reason == HostStatus.OK
        assert {op.status for op in response.ops} == {0}


def moved(model: GoldenModel, action) -> tuple[list[Output], dict[tuple[int, int, int], int]]:
    """What an action gives, and by how much it moved which counters."""
    before = dict(model.counters)
    result = action()
    return result, {key: count - before.get(key, 0) for key, count in model.counters.items()
                    if count != before.get(key, 0)}


def receive(model: GoldenModel, frame, port: int = 2):
    """Outputs of a scapy frame and the one counter that it moved."""
    outputs, counters = moved(model, lambda: model.receive(port, bytes(frame)))
    ((key, by),) = counters.items()
    assert by == 1
    return outputs, key


def plain(outputs: list[Output]) -> list[tuple[int, bytes, tuple[int, int, int] | None]]:
    """Port, frame and event of each."""
    return [tuple(output)[:3] for output in outputs]


def update(model: GoldenModel, setup: RouterSetup, **context: int) -> None:
    """Change a context row."""
    setup.context.update(context)
    load(model, [setup.context_write()])


def vmacs(model: GoldenModel, *setups: RouterSetup) -> None:
    """Have the VMAC-VE hold exactly these routers' entries."""
    table = VmacTable(model.config, SEEDS)
    for setup in setups:
        for entry in setup.entries():
            table.place(entry)
    rows = {write.row: write.value for write in table.writes() if write.table == Table.VMAC}
    load(model, [write for write in table.writes() if write.table == Table.REGISTER])
    for row in range(model.config.vmac_slots):
        model.tables.write(Table.VMAC, 0, row, rows.get(row, 0))


def make(*setups: RouterSetup, config: CoreConfig = CONFIG, links: LinkTables | None = None) -> GoldenModel:
    """A model with these routers, and these circuits."""
    model = GoldenModel(config)
    for setup in setups:
        load(model, setup.writes(config))
    if links is not None:
        load(model, links.writes(config, SEEDS))
    vmacs(model, *setups)
    return model
