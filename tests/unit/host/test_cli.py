"""The command line without a network: exit codes, messages, JSON."""

import json
import os

import pytest
from polyrouter.host import doctor
from polyrouter.host.cli import app
from typer.testing import CliRunner


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYROUTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("POLYROUTER_RUN", str(tmp_path / "run"))
    monkeypatch.delenv("POLYROUTER_NETWORK", raising=False)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_a_bad_file_is_told_by_line_and_starts_nothing(run, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\ntopology:\n  nodes:\n    left: {ports: 99}\n    right: {prots: 1}\n")
    result = run("up", str(path))
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"{path}:4: topology.nodes.left.ports: found 99; expected less than or equal to 8",
        f"{path}:5: topology.nodes.right.prots: found an unknown key 'prots'; expected one of kind, type, host-link, "
        "ports, macs, core, mac-age"]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("verb", [["down"], ["ps"], ["show", "vmac"], ["show", "fib", "red-left"], ["logs", "red-left"],
                                  ["show", "filters", "red-left"], ["show", "rates"], ["show", "macs", "red-left"],
                                  ["exec", "red-left", "true"], ["events"]])
def test_no_network(run, verb):
    result = run(*verb)
    assert result.exit_code == 1
    assert result.stderr.strip() == "no network is up: start one with 'polyrouter up FILE'"
    named = run(*verb[:1], *verb[1:2], "--network", "moon", *verb[2:]) if verb[0] == "show" else run(
        verb[0], "--network", "moon", *verb[1:])
    assert named.exit_code == 1
    assert named.stderr.strip() == "there is no network moon; there are: none"


def test_schema(run):
    result = run("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["title"] == "TopologyFile"


def test_bench_names(run):
    result = run("bench", "--list", "--json")
    assert result.exit_code == 0
    assert [row["name"] for row in json.loads(result.stdout)] == [
        "sim", "fib", "dataplane", "boards", "links", "migration", "resources", "timing"]
    assert run("bench", "nothing").exit_code == 2


@pytest.mark.parametrize("ok,code", [(True, 0), (False, 1)])
def test_bench_is_one_object(run, monkeypatch, ok, code):
    row = {"name": "speed", "value": 1.0, "unit": "m/s", "bar": 0.5, "ok": ok}
    monkeypatch.setattr("polyrouter.host.benchmarks.fib.run_fib_bench", lambda: [row])
    result = run("bench", "fib", "--json")
    assert result.exit_code == code
    shown = json.loads(result.stdout)
    assert shown[row["name"]] == row["value"]
    assert (shown["bench"], shown["results"]) == ("fib", [row])
    assert "speed" in run("bench", "fib").stdout


def test_bench_options_go_to_those_that_take_them(run, monkeypatch):
    row = {"name": "speed", "value": 1.0, "unit": "m/s", "bar": None, "ok": True}
    monkeypatch.setattr("polyrouter.host.benchmarks.fib.run_fib_bench", lambda: [row])
    assert run("bench", "fib", "--quick").exit_code == 2
    assert "takes no --vrs" in run("bench", "fib", "--vrs", "8").stderr
    seen = {}

    def measure(*, quick=False, vrs=(), progress=None):
        seen.update(quick=quick, vrs=list(vrs))
        progress("a step")
        return {"bench": "dataplane", "machine": "none", "results": [row]}

    monkeypatch.setattr("polyrouter.host.benchmarks.dataplane.run_dataplane_bench", measure)
    assert run("bench", "dataplane", "--vrs", "8", "--vrs", "64").exit_code == 0
    assert seen == {"quick": False, "vrs": [8, 64]}
    assert run("bench", "dataplane", "--quick").exit_code == 0
    assert seen == {"quick": True, "vrs": []}


def test_dry_run_of_a_new_network(run, tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text("name: dry-run-only\ntopology:\n  nodes:\n    left: {}\n  networks:\n    red:\n      routers:\n"
                    "        left: {interfaces: {eth0: {address: 10.0.0.1/24}}}\n")
    result = run("up", str(path), "--dry-run", "--json")
    assert result.exit_code == 0
    assert [(change["action"], change["kind"], change["name"]) for change in json.loads(result.stdout)["changes"]] == [
        ("create", "fabric", "pr-dry-run-only"), ("create", "node", "left"), ("create", "router", "red-left")]
    assert not (tmp_path / "state").exists()


def test_image_list_is_empty(run):
    result = run("image", "list", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == []


def test_doctor_without_root_says_to_become_root(monkeypatch):
    def no_access(directory, *_):
        raise PermissionError(13, "Permission denied", str(directory))

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "_works", lambda *_: (False, "Operation not permitted"))
    monkeypatch.setattr(doctor, "probe", no_access)
    checks = {check.what: check for check in doctor.check_all()}
    for what in ("network namespaces", "bridges (CONFIG_BRIDGE)", "root file systems"):
        assert not checks[what].ok and "root" in checks[what].advice, checks[what]


def test_doctor_names_every_check(run):
    result = run("doctor", "--json")
    checks = json.loads(result.stdout)
    assert {"root", "program runc", "user namespaces", "/dev/net/tun", "image 'default'"} <= {
        check["what"] for check in checks}
    failed = [check for check in checks if check["needed"] and not check["ok"]]
    assert "image 'default'" in {check["what"] for check in failed}     # this state directory has none
    assert all(check["advice"] for check in failed)
    assert result.exit_code == 1


def test_capture_wants_a_network(run, tmp_path):
    for arguments in ([], ["--hardware"], ["eth0", "--hardware"], ["eth0"]):
        result = run("capture", "red-left", *arguments, "--write", str(tmp_path / "out"))
        assert result.exit_code == 1 and "no network is up" in result.stderr


@pytest.mark.parametrize("verb,path,rows", [
    (["filters", "red-left"], "/filters/red-left", [{"rule": 0, "text": "everything: drop", "action": "drop",
                                                     "frames": 5, "bytes": 300}]),
    (["macs", "red-left"], "/macs/red-left", [{"mac": "02:00:00:00:00:01", "port": "p1", "static": False,
                                               "unseen_seconds": 43, "row": 2}]),
])
def test_show_as_json(run, monkeypatch, verb, path, rows):
    asked = []

    class Network:
        def ask(self, router: str, asked_path: str) -> list:
            asked.append((router, asked_path))
            return rows

    monkeypatch.setattr("polyrouter.host.cli.show.network_of", lambda name: Network())
    assert json.loads(run("show", *verb, "--json").stdout) == rows
    assert asked == [("red-left", path)]
    for value in rows[0].values():
        if isinstance(value, str):
            assert value in run("show", *verb).stdout
