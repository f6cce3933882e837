"""A frame leaves the link port by circuits of the router that sent it, and by no others."""

from amaranth.hdl import Assert, Module
from polyrouter.hdl.circuits import Circuits
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LinkKind

from .runner import prove
from .test_streams import drive, drive_table, rules

CONFIG = CoreConfig(ports=2, routers=2, data_width=256, circuits=16)


def test_by_circuits_of_the_sender_only(tmp_path):
    """By induction, whatever the table has and whenever it is written; packets of tunnels that end here have none."""
    m = Module()
    m.submodules.dut = dut = Circuits(CONFIG)
    drive_table(m, dut.table, CONFIG.circuits)
    rules(m, [(dut.i,)], [])
    drive(m, dut.o.ready, dut.event.ready)
    circuit = dut.sends & dut.departure.tagged
    m.d.comb += [
        Assert(~circuit | (dut.row.router == dut.departure.router)),
        Assert(~circuit | (dut.row.kind == LinkKind.DIRECT) | (dut.row.kind == LinkKind.TUNNEL)),
    ]
    prove(m, tmp_path, depth=3)
