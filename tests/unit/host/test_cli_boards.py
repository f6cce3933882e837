"""The verbs of boards: what is wrong is said before anything is built."""

import json
import os
import stat

import pytest
from polyrouter.boards.flow.folder import building
from polyrouter.boards.registry import BOARD_NAMES
from polyrouter.host.cli import app
from typer.testing import CliRunner

_AUTHENTICATED = ("--host-link", "authenticated")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["board", *arguments])


def test_list(run):
    result = run("list", "--json")
    assert result.exit_code == 0
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert tuple(rows) == BOARD_NAMES
    assert rows["versa_ecp5"]["fpga"] == "LFE5UM-45F" and rows["versa_ecp5"]["phys"] == ["88E1512"]


@pytest.mark.parametrize("arguments,said", [
    (["versa"], "there is no board 'versa'; there are versa_ecp5, "),
    (["mine.py"], "there is no board file mine.py"),
    (["versa_ecp5", "--host-link", "radio"], "there is no host link 'radio'; there are: port, authenticated, uart"),
    (["butterstick", "--host-link", "uart"], "it has no UART; take another host link"),
    (["ecpix5", "--host-link", "port"], "it has one port, which can't be both the host's alone and for data"),
    (["versa_ecp5", "--routers", "0"], "routers must be 1 to 1024, not 0"),
    (["versa_ecp5", "--set", "rooters=3"], "a core has no parameter rooters; it has access_bits, "),
    (["versa_ecp5", "--set", "routers"], "--set takes NAME=VALUE with a whole number, not 'routers'"),
    (["versa_ecp5", *_AUTHENTICATED, "--link-port", "2"],
     "the host link must be on one of the ports 0 to 1, not 2"),
    (["versa_ecp5", *_AUTHENTICATED, "--key", "nothing"], "cannot read the board's key from nothing"),
    (["versa_ecp5", *_AUTHENTICATED, "--mac", "01:00:00:00:00:00"],
     "must be like 02:70:6f:6c:79:01, and none of a group"),
])
def test_what_is_wrong(run, tmp_path, arguments, said):
    result = run("build", *arguments)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert not list(tmp_path.rglob("*.il"))


def test_a_key_is_made_once_and_for_the_owner_alone(run, tmp_path):
    keys = []
    for _ in range(2):
        run("build", "versa_ecp5", *_AUTHENTICATED, "--link-port", "2")      # refused after the key is there
        path = tmp_path / "build" / "boards" / "versa_ecp5" / "key"
        assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
        keys.append(path.read_text())
    assert keys[0] == keys[1] and len(bytes.fromhex(keys[0])) == 16
    path.chmod(0o644)
    result = run("build", "versa_ecp5", *_AUTHENTICATED)
    assert result.exit_code == 2 and "so everybody may read or change the board's key" in result.stderr


def test_nothing_to_flash(run):
    result = run("flash", "ecpix5")
    assert result.exit_code == 1
    assert result.stderr.strip() == ("there is no bitstream build/boards/ecpix5/ecpix5.bit: build it with "
                                     "'polyrouter board build ecpix5'")


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """A program that writes its arguments down in place of openFPGALoader."""
    program = tmp_path / "bin" / "openFPGALoader"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/said\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return lambda: (tmp_path / "said").read_text().split()


def test_flash_hands_on_what_follows(run, tmp_path, loader):
    bitstream = tmp_path / "build" / "boards" / "colorlight_5a75b" / "colorlight_5a75b.bit"
    bitstream.parent.mkdir(parents=True)
    bitstream.write_bytes(b"\xff")
    result = run("flash", "colorlight_5a75b", "--cable", "ft232", "--json", "--", "--verbose", "--permanent")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["permanent"] is False
    assert loader() == ["--board", "colorlight", "--cable", "ft232", "--verbose", "--permanent", str(bitstream)]
    assert run("flash", "colorlight_5a75b").exit_code == 0
    assert loader() == ["--board", "colorlight", str(bitstream)]


def test_flash_takes_no_second_board(run, loader):
    """Nor a file, which would be loaded instead of the bitstream."""
    result = run("flash", "colorlight_5a75b", "versa_ecp5")
    assert (result.exit_code, result.stderr.strip()) == (2, "what follows the board are arguments of openFPGALoader, "
                                                         "after --, as in '-- --verbose', not 'versa_ecp5'")


def test_a_core_that_is_too_large_is_refused_before_synthesis(run, tmp_path):
    result = run("build", "colorlight_5a75b", "--set", "fib_words=32768")
    assert result.exit_code == 1
    assert "and its LFE5U-25F has 56. The largest table is " in result.stderr
    assert "32,768 rows of 8 bits" in result.stderr and "lower fib_words (--set NAME=VALUE)" in result.stderr
    assert [path.name for path in (tmp_path / "build" / "boards" / "colorlight_5a75b").iterdir()] == [".lock"]


def test_one_build_at_a_time(run, tmp_path):
    with building(tmp_path, "netfpga_1g_cml"):
        result = run("build", "versa_ecp5", "--output", str(tmp_path))
    assert result.exit_code == 1
    assert f"another build of versa_ecp5 is under way in {tmp_path} (pid {os.getpid()}): wait for it" in result.stderr
