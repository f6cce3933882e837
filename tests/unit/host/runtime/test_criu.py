"""Which CRIU is used, and why one can't be."""

import pytest
from polyrouter.host.runtime.base import RuntimeFailure
from polyrouter.host.runtime.criu import CRIU_VARIABLE, Criu, find_criu


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine without any."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv(CRIU_VARIABLE, raising=False)
    monkeypatch.setattr("polyrouter.host.runtime.criu.SYSTEM_PATH", str(tmp_path / "bin"))


def program(path, version):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho Version: {version}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("version", "kernel", "problem"), [
    ("4.2.1", "6.18.44", None),
    ("4.2", "6.16.0-rc1", None),
    ("4.1.1", "6.16.0", "too old for Linux 6.16.0, which needs 4.2"),
    ("4.1.1", "6.12.38+deb13-amd64", None),
    ("3.17.1", "6.1.0-37-amd64", None),
    ("3.15", "6.1.0-37-amd64", "too old for Linux 6.1.0-37-amd64, which needs 3.17"),
    ("5.0", "7.0.1", None),
])
def test_kernels_need_versions(tmp_path, version, kernel, problem):
    found = Criu(program(tmp_path / "criu", version)).problem(kernel)
    assert found is None if problem is None else problem in found


def test_none(tmp_path):
    assert find_criu(tmp_path) is None


def test_one_that_does_not_run_is_a_problem(tmp_path):
    broken = tmp_path / "criu"
    broken.write_text("#!/bin/sh\necho no libraries >&2\nexit 1\n")
    broken.chmod(0o755)
    assert "no libraries" in Criu(broken).problem()
    with pytest.raises(RuntimeFailure):
        _ = Criu(broken).version


def test_the_first_that_will_do(tmp_path, monkeypatch):
    system = program(tmp_path / "bin" / "criu", "1.0")
    assert find_criu(tmp_path).program == system            # better than to say that there is none
    own = program(tmp_path / "criu" / "criu", "99.0")
    assert find_criu(tmp_path).program == own
    program(tmp_path / "bin" / "criu", "99.1")
    program(own, "1.0")
    assert find_criu(tmp_path).program == system
    monkeypatch.setenv(CRIU_VARIABLE, "/other/criu")
    assert str(find_criu(tmp_path).program) == "/other/criu"
