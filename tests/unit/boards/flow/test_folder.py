"""The folder of a build: one at a time, whatever became of the one before; and its owner's alone, if need be."""

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from polyrouter.boards.flow import build
from polyrouter.boards.flow.folder import building
from polyrouter.boards.flow.tools import FlowError
from polyrouter.boards.registry import board_named


@pytest.fixture
def other(tmp_path):
    """Another process that builds in a folder until it is killed."""
    program = ("import sys, time\nfrom pathlib import Path\nfrom polyrouter.boards.flow.folder import building\n"
               "with building(Path(sys.argv[1]), 'versa_ecp5'):\n"
               "    print('building', flush=True)\n    time.sleep(600)\n")
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "building\n"
        yield process
        process.kill()


def test_a_second_build_is_told_who_is_at_it(tmp_path, other):
    said = re.escape(f"another build of versa_ecp5 is under way in {tmp_path} (pid {other.pid}): wait for it, or give "
                     "this one another folder by --output")
    for _ in range(2):      # to be refused takes nothing away
        with pytest.raises(FlowError, match=f"^{said}$"), building(tmp_path, "versa_ecp5"):
            raise AssertionError("two builds")


def test_no_lock_outlives_its_build(tmp_path, other):
    other.kill()            # by signal 9: it can't clean up
    other.wait()
    for _ in range(2):
        with building(tmp_path, "versa_ecp5"):
            pass
    with pytest.raises(KeyboardInterrupt), building(tmp_path, "versa_ecp5"):
        raise KeyboardInterrupt
    with building(tmp_path, "versa_ecp5"):
        pass


def test_programs_that_a_build_has_started_do_not_keep_it(tmp_path):
    with building(tmp_path, "versa_ecp5"):
        process = subprocess.Popen(["sleep", "600"])
    try:
        with building(tmp_path, "versa_ecp5"):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_build_that_is_refused_changes_nothing(tmp_path, other):
    board = board_named("versa_ecp5")
    for name in "result.json", "versa_ecp5.bit":
        (tmp_path / name).write_text("of the other one")
    with pytest.raises(FlowError, match="another build of versa_ecp5 is under way"):
        build.build_top(board, None, board.config(board.host_link), "uart", tmp_path)
    assert all((tmp_path / name).read_text() == "of the other one" for name in ("result.json", "versa_ecp5.bit"))


def mode_of(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.mark.parametrize("before", [None, 0o755, 0o777, 0o700])
def test_a_private_folder_is_its_owners_alone(tmp_path, before):
    """With a key, all that is built is as secret as the key."""
    folder = tmp_path / "boards" / "versa_ecp5"
    if before is not None:
        folder.mkdir(parents=True)
        folder.chmod(before)
    with building(folder, "versa_ecp5", private=True):
        assert mode_of(folder) == 0o700
    with building(folder, "versa_ecp5"):        # what was made with a key may still be in it
        assert mode_of(folder) == 0o700


def test_a_folder_without_a_secret_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    with building(tmp_path, "versa_ecp5"):
        assert mode_of(tmp_path) == 0o755


def test_a_folder_that_is_everybodys_is_not_taken_from_them(tmp_path):
    tmp_path.chmod(0o1777)
    with pytest.raises(FlowError, match=f"{tmp_path} is a folder that others share.*give one of the board's own by "
                       "--output"), building(tmp_path, "versa_ecp5", private=True):
        raise AssertionError("in a shared folder")
    assert mode_of(tmp_path) == 0o1777 and not list(tmp_path.iterdir())


def test_a_folder_that_is_somebody_elses_is_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    tmp_path.chmod(0o775)
    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(FlowError, match=r"others may read .*, and it is not yours to change that: give one"), building(
            tmp_path, "versa_ecp5", private=True):
        raise AssertionError("in a folder that others read")
