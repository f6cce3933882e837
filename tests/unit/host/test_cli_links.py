"""The command line of links, with the saved state of a network and no agents: lists, refusals, options."""

import json
from importlib import import_module

import pytest
from polyrouter.host.agent.client import AgentClient
from polyrouter.host.cli import app
from polyrouter.host.link_commands import LinkCommands
from polyrouter.host.network import Network
from typer.testing import CliRunner

from .saved_network import save


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYROUTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("POLYROUTER_RUN", str(tmp_path / "run"))
    monkeypatch.delenv("POLYROUTER_NETWORK", raising=False)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def saved(run, tmp_path) -> Network:
    return save(tmp_path)


@pytest.mark.parametrize("verb", [["vnic", "list"], ["portgroup", "list"], ["switch", "list"], ["etherstub", "list"],
                                  ["wire", "list"], ["tunnel", "list"], ["vnic", "delete", "a"],
                                  ["wire", "create", "w", "a", "b"], ["tunnel", "create", "t", "--node", "left"]])
def test_no_network(run, verb):
    result = run(*verb)
    assert result.exit_code == 1
    assert result.stderr.strip() == "no network is up: start one with 'polyrouter up FILE'"


def rows(run, *verb) -> list[dict]:
    result = run(*verb, "list", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_lists(run, saved):
    vnics = {row["name"]: row for row in rows(run, "vnic")}
    assert set(vnics) == {"web0", "web1", "web2", "phy", "end", "fin", "two", "red-left.v0"}
    assert (vnics["phy"]["lane"], vnics["phy"]["switch"], vnics["phy"]["namespace"]) == (
        "hw", "left.p1.7", "pr-small.phy")
    assert vnics["two"]["router"] == "red-right" and vnics["web1"]["max_bw"] == 10_000_000
    switches = {row["name"]: row for row in rows(run, "switch")}
    assert switches["stub"]["vnics"] == ["web0", "web1", "web2", "red-left.v0"]
    assert switches["stub"]["tunnels"] == ["t"] and switches["far"]["uplinks"] == ["p2", "p1 VLAN 9"]
    assert [row["name"] for row in rows(run, "etherstub")] == ["stub"]
    assert [(row["name"], row["tunnel"], row["key"]) for row in rows(run, "wire")] == [("w", "gre", 5)]
    assert {row["name"]: row["remote"] for row in rows(run, "tunnel")} == {
        "w.right": "10.0.0.1", "w.left": "10.0.0.2", "t": "10.0.0.2"}
    assert [(row["name"], row["members"]) for row in rows(run, "portgroup")] == [("web", 3)]
    for verb in ("vnic", "switch", "etherstub", "wire", "tunnel", "portgroup"):
        assert run(verb, "list").exit_code == 0


@pytest.mark.parametrize("trouble, problems, shown", [
    (None, [], None), (None, ["3 routes do not fit", "no room"], "3 routes do not fit; no room"),
    ("its container ended", ["3 routes do not fit"], "its container ended")])
def test_ps_tells_what_is_wrong_with_a_router(run, saved, monkeypatch, trouble, problems, shown):
    row = {"name": "red-left", "container": True, "trouble": trouble, "problems": problems}
    monkeypatch.setattr(AgentClient, "get", lambda agent, path: {
        "/health": {"board": True, "doing": ""}, "/routers": [row]}.get(path, []))
    tables = {}
    monkeypatch.setattr(import_module("polyrouter.host.cli.ps"), "show_rows",
                        lambda title, rows, **_: tables.update({title: rows}))
    assert run("ps").exit_code == 0
    assert [row["trouble"] for row in tables["Virtual routers"]] == [shown] * 2


@pytest.mark.parametrize("arguments,message", [
    (["vnic", "create", "web1", "--node", "left"],
     "there is a vnic web1 already: change it by 'vnic set', or take another name"),
    (["vnic", "create", "new", "--switch", "nix"],
     "vnic new: switch: found 'nix'; expected one of the virtual switches stub, far"),
    (["vnic", "create", "new", "--switch", "stub", "--max-bw", "1k"],
     "vnic new: max-bw: found '1k'; expected 64k to 1G bit/s"),
    (["vnic", "create", "Wrong", "--node", "left"],
     "vnic Wrong: found 'Wrong'; expected a name of at most 31 lower-case letters, digits and hyphens, a letter first, "
     "no hyphen last"),
    (["vnic", "delete", "phy"],
     "vnic phy is in the topology file: take it out there, and run 'polyrouter up'"),
    (["vnic", "set", "nix", "--max-bw", "1M"], "there is no vnic nix; there are: web0, web1, web2, phy, end, fin, two, "
     "web, red-left.v0"),
    (["portgroup", "set", "web", "--max-bw", "500k"],
     "vnic web: found min-bw 1M; expected at most max-bw, which is 500k"),
    (["switch", "create", "new", "--node", "left", "--uplink", "p0"],
     "switch new: uplinks[0]: found untagged frames of port p0 of left, which networks.red.routers.left has already; "
     "expected another VLAN, or a port that nobody else has on this VLAN"),
    (["wire", "create", "new", "phy", "web1"],
     "wire new: endpoints[1]: found 'web1', which is on switch stub already; expected each VNIC in one place\n"
     "wire new: endpoints[0]: found 'phy', which is on switch left.p1.7 already; expected each VNIC in one place"),
])
def test_what_does_not_fit_is_refused_and_nothing_changes(run, saved, arguments, message):
    before = saved.spec()
    result = run(*arguments)
    assert (result.exit_code, result.stderr.strip()) == (1, message)
    assert saved.spec() == before
    with saved.store() as store:
        assert store.get("links") is None and store.get("attempt") is None


def test_a_board_that_runs_is_not_replaced_for_a_command(run, saved):
    # 15 circuits are there: even if all others were in software they were too few.
    result = run("vnic", "create", "more", "--switch", "stub", "--count", "8", "--lane", "hw")
    assert result.exit_code == 1
    assert "circuits, on left, which has 15 of them; expected core.circuits to be 32" in result.stderr
    assert run("vnic", "list", "--json").stdout.count('"lane"') == 8


@pytest.mark.parametrize("arguments,call", [
    (["vnic", "create", "n", "--node", "left", "--port", "p1", "--vlan", "7", "--mac", "auto", "--max-bw", "10M",
      "--min-bw", "1M", "--priority", "high", "--group", "g", "--lane", "hw", "--address", "10.0.0.1/24", "--address",
      "2001:db8::1/64", "--count", "3"],
     ("create", "vnic", "n", {"node": "left", "port": "p1", "vlan": 7, "mac": "auto", "max-bw": "10M", "min-bw": "1M",
                              "priority": "high", "group": "g", "lane": "hw",
                              "address": ["10.0.0.1/24", "2001:db8::1/64"], "count": 3})),
    (["vnic", "set", "n", "--max-bw", "none"], ("set", "vnic", "n", {"max-bw": None})),
    (["vnic", "set", "n", "--port", "p2"], ("set", "vnic", "n", {"port": "p2", "switch": None})),
    (["vnic", "set", "n", "--switch", "s"], ("set", "vnic", "n", {"switch": "s", "port": None, "vlan": None})),
    (["portgroup", "create", "g", "--forged-transmits", "accept", "--mac", "02:00:00:00:00:01", "--mirror"],
     ("create", "portgroup", "g", {"forged-transmits": "accept", "macs": ["02:00:00:00:00:01"], "mirror": True})),
    (["portgroup", "set", "g", "--mac", "none", "--no-mirror"],
     ("set", "portgroup", "g", {"macs": None, "mirror": False})),
    (["switch", "create", "s", "--node", "left", "--uplink", "p1", "--uplink", "p2", "--vlan", "5", "--vlan", "0"],
     ("create", "switch", "s", {"node": "left", "uplinks": [{"port": "p1", "vlan": 5}, "p2"]})),
    (["switch", "set", "s", "--uplink", "none"], ("set", "switch", "s", {"uplinks": None})),
    (["etherstub", "create", "s", "--node", "left"], ("create", "switch", "s", {"node": "left"})),
    (["wire", "create", "w", "a", "red-left:v0"], ("create", "wire", "w", {"endpoints": ["a", "red-left:v0"]})),
    (["wire", "create", "w", "a", "b", "--tunnel", "gre", "--key", "7", "--underlay", "x", "--underlay", "y"],
     ("create", "wire", "w", {"endpoints": ["a", "b"], "tunnel": {"kind": "gre", "key": 7, "underlay": ["x", "y"]}})),
    (["tunnel", "create", "t", "--node", "left", "--kind", "vxlan", "--key", "9", "--underlay", "u", "--remote",
      "10.0.0.2,10.0.0.3", "--ttl", "9", "--switch", "s"],
     ("create", "tunnel", "t", {"node": "left", "kind": "vxlan", "key": 9, "underlay": "u",
                                "remote": ["10.0.0.2", "10.0.0.3"], "ttl": 9, "switch": "s"})),
    (["tunnel", "set", "t", "--tos", "8"], ("set", "tunnel", "t", {"tos": 8})),
    (["etherstub", "delete", "s"], ("delete", "switch", "s")),
])
def test_options_are_properties_of_the_file(run, saved, monkeypatch, arguments, call):
    seen = []
    for verb in ("create", "set", "delete"):
        monkeypatch.setattr(LinkCommands, verb, lambda self, *given, verb=verb: seen.append((verb, *given)) or [])
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert seen == [call]
    assert json.loads(result.stdout) == {"network": "small", "changes": []}


@pytest.mark.parametrize("arguments,message", [
    (["switch", "create", "s", "--node", "left", "--uplink", "p1", "--vlan", "5", "--vlan", "6"],
     "1 uplinks and 2 VLANs: give --vlan once for each --uplink, 0 for untagged"),
    (["wire", "create", "w", "a", "b", "--key", "7"],
     "--key, --underlay, --tos and --ttl are a tunnel's: give --tunnel gre or --tunnel vxlan too"),
])
def test_options_that_do_not_go_together(run, saved, arguments, message):
    result = run(*arguments)
    assert (result.exit_code, result.stderr.strip()) == (2, message)


def test_exec_names_vnics_among_what_there_is(run, saved):
    result = run("exec", "nix", "true")
    assert result.exit_code == 1
    assert result.stderr.strip() == ("there is no router, host or VNIC nix in small; there are: red-left, red-right, "
                                     "web0, web1, web2, phy, fin, end, red-a")


def test_ps_has_the_lane_of_each_vnic(run, saved):
    shown = json.loads(run("ps", "--json").stdout)
    assert {row["name"]: row["lane"] for row in shown["vnics"]}["web1"] == "hw"
    assert "VNICs" in run("ps").stdout


def test_ps_counts_virtual_routers_and_numbers_apart(run, saved):
    nodes = {row["node"]: row for row in json.loads(run("ps", "--json").stdout)["nodes"]}
    # left: its router, the switches stub and left.p1.7, web0 to web2, phy, fin
    assert [(nodes["left"][key]) for key in ("routers", "vnics", "numbers_used", "numbers")] == [1, 6, 8, 16]
    assert [(nodes["right"][key]) for key in ("routers", "vnics", "numbers_used", "numbers")] == [1, 2, 3, 8]


def test_lists_say_where_each_vnic_leads(run, saved):
    leads = {row["name"]: row["leads_to"] for row in rows(run, "vnic")}
    assert leads == {"web0": "switch stub", "web1": "switch stub", "web2": "switch stub", "phy": "switch left.p1.7",
                     "end": "wire w", "fin": "wire w", "two": "switch far", "red-left.v0": "switch stub"}
    for verb in (["vnic", "list"], ["ps"]):
        assert "wire w" in run(*verb).stdout


def test_rates_and_empty_lists_are_as_people_write_them(run, saved):
    [shown] = [line.split() for line in run("portgroup", "list").stdout.splitlines() if line.startswith("web")]
    assert shown[1:3] == ["10M", "1M"]
    [shown] = [line.split() for line in run("switch", "list").stdout.splitlines() if line.startswith("stub")]
    assert shown[3] == "-"          # its uplinks


@pytest.mark.parametrize("verb,path,answer,seen", [
    ("circuits", "/links",
     {"circuits": [{"circuit": 3, "name": "stub: flood", "owner": "stub", "kind": "list", "peer": None,
                    "members": [4, 5]}], "terminations": [], "drops": []}, ["stub: flood", "4, 5"]),
    ("tunnels", "/tunnels",
     {"tunnels": [{"circuit": 6, "name": "t", "owner": "stub", "kind": "vxlan", "key": 9, "local": "10.0.0.1",
                   "remote": "10.0.0.2", "underlay": "red-left", "tos": 0, "ttl": 64, "circuit_in": 6}],
      "problems": [{"router": "red-left", "destination": "10.0.0.2", "reason": "punt_unresolved", "frames": 2,
                    "problem": "the next hop does not answer"}]},
     ["vxlan", "Packets that could not go on", "the next hop does not answer"]),
])
def test_show_has_circuits_and_tunnels_of_the_hardware(run, monkeypatch, verb, path, answer, seen):
    class Agent:
        node = "left"

        def get(self, asked: str) -> dict:
            assert asked == path
            return answer

    monkeypatch.setattr("polyrouter.host.cli.show.network_of", lambda name: None)
    monkeypatch.setattr("polyrouter.host.cli.show.each_agent", lambda network, node: [Agent()])
    shown = run("show", verb).stdout
    assert all(text in shown for text in seen)
    found = json.loads(run("show", verb, "--json").stdout)
    if verb == "tunnels":
        assert found == {key: [{"node": "left"} | row for row in rows] for key, rows in answer.items()}
    else:
        assert found == [{"node": "left"} | row for row in answer["circuits"]]


@pytest.mark.parametrize("arguments,code,said", [
    (["red-left"], 2, "say which interface, or --hardware for all frames of the router"),
    (["web1", "eth0"], 2, "web1 is a VNIC, which has one interface only: leave eth0 out"),
    (["red-left.v0"], 1, "red-left.v0 is interface v0 of red-left: use 'capture red-left v0 --hardware'"),
    (["red-left", "eth9"], 1, "red-left has no interface eth9; it has "),
])
def test_what_can_not_be_captured_is_said(run, saved, tmp_path, arguments, code, said):
    result = run("capture", *arguments, "--write", str(tmp_path / "out"))
    assert result.exit_code == code and result.stderr.strip().startswith(said)
    assert not (tmp_path / "out").exists()
