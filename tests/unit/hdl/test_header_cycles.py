"""How often the stages ahead of the look-ups take a header, which a core's parameters decide."""

import random
from itertools import pairwise

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.context import ContextLookup
from polyrouter.hdl.records import META
from polyrouter.hdl.vmac import VmacLookup

from .bench import run_stage
from .header_bench import header_item_layout, parser_for
from .test_parser import item, random_frame, random_tag

STAYS = {"vmac_cycles": 2, "stage_registers": 0}


class Stages(wiring.Component):
    """From a header to a record with its context."""

    def __init__(self, config):
        self.config = config
        super().__init__({"i": In(stream.Signature(header_item_layout(config, tag=True))),
                          "o": Out(stream.Signature(META))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.parser = parser = parser_for(self.config)
        m.submodules.vmac = vmac = VmacLookup(self.config)
        m.submodules.context = context = ContextLookup(self.config)
        connect(m, flipped(self.i), parser.i)
        connect(m, parser.o, vmac.i)
        connect(m, vmac.o, context.i)
        connect(m, context.o, flipped(self.o))
        return m


@pytest.mark.every_width
@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("parameters", [
    {}, {"vmac_cycles": 2}, {"vmac_cycles": 2, "slices": 0}, {"context_words": 4},
    {"vmac_cycles": 2, "context_words": 4}, STAYS | {"context_words": 2}, STAYS | {"context_words": 4},
    STAYS | {"context_words": 4, "slices": 0}])
def test_header_cycles(width, parameters):
    config = CoreConfig(data_width=width, routers=17, **parameters)
    rng = random.Random(1)
    headers = [item(random_frame(rng), random_tag(rng), rng, width=width) for _ in range(12)]
    _, _, given = run_stage(Stages(config), headers)
    assert {after - before for before, after in pairwise(given)} == {config.header_cycles}
