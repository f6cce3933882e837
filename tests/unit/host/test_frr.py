"""Graceful restart in FRR's language, and what it takes for a move by restart."""

import pytest
from polyrouter.host.frr import render
from polyrouter.host.migration.outgoing import why_not_restart
from polyrouter.host.topology import Router

from .migration.test_refusals import LINKS, router

BOTH = {"interfaces": {"eth0": {"address": ["10.0.0.1/24", "2001:db8::1/64"]}}}
BGP = {"asn": 65001, "neighbors": [{"address": "10.0.0.2", "asn": 65002}]}


def config(**changes):
    return render("r", Router.model_validate({**BOTH, **changes}))


def test_neighbours_are_told_and_helped():
    text = config(ospf={"graceful-restart": True}, bgp={**BGP, "graceful-restart": True})
    ospf, ospf6 = text.split("router ospf\n")[1].split("exit")[0], text.split("router ospf6\n")[1].split("exit")[0]
    for block in (ospf, ospf6):
        assert " graceful-restart grace-period 120\n graceful-restart helper enable\n" in block
    assert " capability opaque\n" in ospf and "opaque" not in ospf6
    assert " bgp graceful-restart preserve-fw-state\n" in text.split("router bgp 65001\n")[1]
    assert "graceful" not in config(ospf={}, bgp=BGP)


@pytest.mark.parametrize("changes,why", [
    ({"ospf": {"graceful-restart": True}, "bgp": {**BGP, "graceful-restart": True}}, None),
    ({}, None),
    ({"ospf": {}}, "set graceful-restart of ospf to true"),
    ({"ospf": {}, "bgp": BGP}, "set graceful-restart of ospf and bgp to true"),
    ({"ospf": {"graceful-restart": True}, "bgp": BGP}, "set graceful-restart of bgp to true"),
])
def test_without_it_a_restart_is_refused(changes, why):
    text = config(**changes).replace("\n!\n", "\n")
    found = why_not_restart(router(), text, LINKS, 0)
    assert found is None if why is None else why in found


def test_a_daemon_that_knows_none():
    assert "isisd runs in it" in why_not_restart(router(daemons=["isisd"]), "", LINKS, 0)
