"""Short runs of the link bench through the whole core with its MACs: cycle by cycle, though not under cocotb."""

import pytest
from polyrouter.hdl.layouts import TunnelKind
from polyrouter.sim.dataplane.links import limits, tunnel_line_mpps, tunnels, vnics

from .runs import LINKS


def quiet(_):
    """Nobody is told."""


@pytest.mark.parametrize("kind", TunnelKind)
def test_tunnels_at_line_rate(kind):
    found = tunnels(kind, 60, quiet, LINKS)
    assert (found.frames, found.lost, found.wrong) == (240, 0, 0)
    assert found.mpps > 0.97 * tunnel_line_mpps(kind)


def test_limits_of_vnics():
    """In each direction, between two of one node."""
    found = limits(0.004, quiet, LINKS, asked=(100_000_000,), macs=True)
    assert [limit.inbound for limit in found] == [False, True]
    for limit in found:
        assert limit.frames > 20
        assert (limit.error_percent, limit.wrong) == (pytest.approx(0, abs=2), 0)


def test_vnics_reach_each_other():
    found = vnics(LINKS.routers - 1, 3, quiet, LINKS)
    assert (found.passed, found.wrong) == (LINKS.routers - 1, 0)
