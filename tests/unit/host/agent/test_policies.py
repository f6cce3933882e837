"""Specifications to rows: logical ports, circuits and tunnels."""

from collections.abc import Sequence

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LINK_ROW, TERMINATION_KEY, TUNNEL, LinkKind, Role, TunnelKind, unpack
from polyrouter.host.agent.policies import entries_of, guard_of, link_rows, macs_of, policy_of, terminations_of
from polyrouter.host.link_spec import CircuitSpec, TerminationSpec, TunnelSpec
from polyrouter.host.spec import LimitSpec, NodeSpec, PortSpec, RateSpec, RouterSpec
from polyrouter.host.tables.policy import PolicyError
from polyrouter.host.tables.rates import Rates

CORE = CoreConfig(ports=3, routers=16, circuits=64)
RATES = Rates(125e6, 64, 64, 1522)
OWN = "02:00:00:00:00:01"


def port(number: int, circuit: int = 0, **rest) -> PortSpec:
    return PortSpec(**{"port": number, "name": f"eth{number}.{circuit}", "outer": "", "mac": OWN, "addresses": [],
                       "mtu": 1500, "guard": False, "peers": [], "circuit": circuit} | rest)


def router(*ports: PortSpec, **rest) -> RouterSpec:
    return RouterSpec(**{"name": "r", "network": "n", "number": 5, "image": "", "frr": "", "daemons": [],
                         "limits": LimitSpec(memory=0, cpus=0, pids=0), "fib_words": 16, "adjacencies": 4,
                         "ports": list(ports)} | rest)


def entries(spec: RouterSpec) -> set[tuple[str, int, int, bool]]:
    return {(entry.role.name, entry.port, entry.vid, entry.guard) for entry in entries_of(spec)}


def test_a_router_with_two_circuits_owns_both_and_is_one_port():
    spec = router(port(0, vlan=9, guard=True, peers=["02:00:00:00:00:09"]), port(2, 17), port(2, 18, guard=True))
    assert entries(spec) == {("OWN", 0, 9, False), ("PEER", 0, 9, False), ("OWN", 2, 17, False), ("OWN", 2, 18, False),
                             ("SEGMENT", 2, 17, False), ("SEGMENT", 2, 18, True)}
    assert entries_of(spec)[0].role == Role.PEER     # whoever listens to peers only must have them first
    assert macs_of(spec, CORE) == {0: 0x020000000001, 2: 0x020000000001}
    assert guard_of(spec) == [0]
    assert policy_of(spec, RATES, CORE).vids == {0: 9, 2: 17}


def test_a_switch_has_segments_only_and_its_port_row_heads_the_list():
    members = [port(2, 20, segment_guard=True, peers=["02:00:00:00:00:0a"]), port(2, 21)]
    spec = router(port(1, vlan=7), *members, mode="bridged", container=False, list_circuit=30)
    assert entries(spec) == {("SEGMENT", 1, 7, False), ("SEGMENT", 2, 20, True), ("SEGMENT", 2, 21, False),
                             ("PEER", 2, 20, False)}
    policy = policy_of(spec, RATES, CORE)
    assert policy.vids == {1: 7, 2: 30} and policy.learn
    assert macs_of(router(mode="bridged", container=False, list_circuit=30), CORE) == {2: 0}


def test_a_vnic_has_its_address():
    spec = router(port(2, 40), mode="bridged", container=False, learn=False)
    assert entries(spec) == {("OWN", 2, 40, False), ("SEGMENT", 2, 40, False)}
    assert not policy_of(spec, RATES, CORE).learn


def test_an_underlay_is_on_the_link_port():
    spec = router(port(0), tunnels=True)
    assert macs_of(spec, CORE) == {0: 0x020000000001, 2: 0} and policy_of(spec, RATES, CORE).tunnels
    assert macs_of(router(port(0)), CORE) == {0: 0x020000000001}


def test_circuits_with_rates_of_their_own_are_refused():
    spec = router(port(2, 17, rate=RateSpec(rate=10_000_000)), port(2, 18))
    with pytest.raises(PolicyError, match=r"eth2\.18 is to have a rate .* one shaper: give them the same, or police"):
        policy_of(spec, RATES, CORE)


def node(*circuits: CircuitSpec, ends: Sequence[TerminationSpec] = ()) -> NodeSpec:
    return NodeSpec(topology="t", node="n", namespace="f", core=CORE.as_dict(), macs=False, taps=[], host_tap="",
                    circuits={str(circuit.number): circuit for circuit in circuits}, terminations=list(ends))


def tunnel(ttl: int) -> CircuitSpec:
    return CircuitSpec(number=6, name="out", router=3, kind="tunnel", next=7, tunnel=TunnelSpec(
        kind="vxlan", key=77, underlay=5, source="10.9.0.1", destination="10.9.0.2", tos=8, ttl=ttl))


def test_rows_of_circuits():
    rows = link_rows(node(CircuitSpec(number=4, name="a", router=3, kind="direct", peer=9), tunnel(64),
                          CircuitSpec(number=8, name="s", router=3, kind="list", next=6)))
    assert unpack(LINK_ROW, rows[4]) == dict.fromkeys(unpack(LINK_ROW, 0), 0) | {
        "router": 3, "kind": LinkKind.DIRECT, "peer": 9}
    fields = unpack(LINK_ROW, rows[6])
    assert (fields["kind"], fields["next"], fields["underlay"]) == (LinkKind.TUNNEL, 7, 5)
    assert unpack(TUNNEL, fields["tunnel"]) == {"kind": TunnelKind.VXLAN, "key": 77, "source": 0x0A090001,
                                                "destination": 0x0A090002, "tos": 8, "ttl": 65}
    assert unpack(LINK_ROW, rows[8])["next"] == 6


@pytest.mark.parametrize("ttl", [0, 255])
def test_a_ttl_that_no_packet_can_have_is_refused(ttl):
    with pytest.raises(PolicyError, match=f"TTL of tunnel out must be 1 to 254, not {ttl}"):
        link_rows(node(tunnel(ttl)))


def test_ends_of_tunnels():
    [(key, circuit)] = terminations_of(node(ends=[
        TerminationSpec(router=5, kind="gre", key=0xFFFFFFFF, remote="10.9.0.2", circuit=6)])).items()
    assert circuit == 6 and unpack(TERMINATION_KEY, key) == {
        "router": 5, "kind": TunnelKind.GRE, "key": 0xFFFFFFFF, "remote": 0x0A090002}
