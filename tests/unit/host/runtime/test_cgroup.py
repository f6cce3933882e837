import threading

from polyrouter.host.runtime.base import RouterId, Usage
from polyrouter.host.runtime.cgroup import Cgroups

ID = RouterId("lab", "n1", 3)


def _line(point, fstype, options):
    return f"30 20 0:26 / {point} rw,relatime shared:5 - {fstype} {fstype} {options}\n"


def test_version_1_and_hybrid(tmp_path):
    text = (
        _line(tmp_path, "tmpfs", "rw,mode=755")
        + _line(tmp_path / "cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
        + _line(tmp_path / "memory", "cgroup", "rw,memory")
        + _line(tmp_path / "systemd", "cgroup", "rw,name=systemd")
        + _line(tmp_path / "unified", "cgroup2", "rw")
        + _line("/elsewhere/pids", "cgroup", "rw,pids")
    )
    found = Cgroups.detect(text, tmp_path)
    assert found.version == 1
    assert found.limits == {"memory", "cpu"}
    assert found.hierarchies == tuple(tmp_path / n for n in ("cpu,cpuacct", "memory", "systemd", "unified"))
    assert found.controllers["cpuacct"] == tmp_path / "cpu,cpuacct"
    assert not found.swap
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.memsw.limit_in_bytes").touch()
    assert found.swap


def test_version_2(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    found = Cgroups.detect(_line(tmp_path, "cgroup2", "rw,nsdelegate"), tmp_path)
    assert (found.version, found.hierarchies) == (2, (tmp_path,))
    assert found.limits == {"memory", "cpu", "pids"}
    assert not found.swap
    (tmp_path / "system.slice").mkdir()
    (tmp_path / "system.slice/memory.swap.max").touch()
    assert found.swap


def test_version_2_without_controllers(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("\n")
    assert Cgroups.detect(_line(tmp_path, "cgroup2", "rw"), tmp_path).limits == frozenset()


def test_none(tmp_path):
    found = Cgroups.detect("", tmp_path)
    assert (found.version, found.limits, found.hierarchies) == (0, frozenset(), ())
    assert found.usage(ID) == Usage()
    assert found.kill(ID) == set()
    found.remove(ID)


def test_usage_of_both_versions(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    text = "".join(_line(one / name, "cgroup", f"rw,{name}") for name in ("memory", "cpuacct", "pids"))
    for controller, file, value in (
        ("memory", "memory.usage_in_bytes", "4096"),
        ("cpuacct", "cpuacct.usage", "1500000000"),
        ("pids", "pids.current", "7"),
    ):
        group = one / controller / "polyrouter/lab/n1-3"
        group.mkdir(parents=True)
        (group / file).write_text(value + "\n")
    assert Cgroups.detect(text, one).usage(ID) == Usage(4096, 1.5, 7)

    group = two / "polyrouter/lab/n1-3"
    group.mkdir(parents=True)
    (two / "cgroup.controllers").write_text("cpu memory pids\n")
    (group / "memory.current").write_text("8192\n")
    (group / "cpu.stat").write_text("usage_usec 250000\nuser_usec 1\nsystem_usec 2\n")
    (group / "pids.current").write_text("2\n")
    assert Cgroups.detect(_line(two, "cgroup2", "rw"), two).usage(ID) == Usage(8192, 0.25, 2)


def test_remove_keeps_what_others_use(tmp_path):
    text = "".join(_line(tmp_path / name, "cgroup", f"rw,{name}") for name in ("memory", "pids"))
    found = Cgroups.detect(text, tmp_path)
    for hierarchy in found.hierarchies:
        (hierarchy / "polyrouter/lab/n1-3/inner").mkdir(parents=True)
    (tmp_path / "pids/polyrouter/lab/n1-4").mkdir()
    found.remove(ID)
    assert not (tmp_path / "memory/polyrouter").exists()
    assert [p.name for p in (tmp_path / "pids/polyrouter/lab").iterdir()] == ["n1-4"]
    found.remove(ID)
    found.remove(RouterId("lab", "n1", 4))
    assert not (tmp_path / "pids/polyrouter").exists()
    assert (tmp_path / "pids").exists()


def test_groups_weigh_as_much_as_their_containers_where_processes_are_in_the_top_group(tmp_path):
    text = _line(tmp_path / "cpu", "cgroup", "rw,cpu")
    assert not Cgroups.detect(text, tmp_path, "2:memory:/\n1:cpu,cpuacct:/user.slice\n0::/\n").flat
    found = Cgroups.detect(text, tmp_path, "2:memory:/x\n1:cpu,cpuacct:/\n")
    assert found.flat
    (tmp_path / "cpu").mkdir()
    for network, routers in (("lab", 3), ("other", 2)):
        for vr in range(routers):
            with found.creating(RouterId(network, "n1", vr)):
                group = tmp_path / f"cpu/polyrouter/{network}/n1-{vr}"
                group.mkdir(parents=True)
                (group / "cpu.shares").write_text("1024")
                for above in group.parents[:2]:
                    (above / "cpu.shares").touch()
    shares = {name: (tmp_path / "cpu/polyrouter" / name / "cpu.shares").read_text() for name in (".", "lab", "other")}
    assert shares == {".": "5120", "lab": "3072", "other": "2048"}


def test_version_2_in_the_top_group(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    assert Cgroups.detect(_line(tmp_path, "cgroup2", "rw"), tmp_path, "0::/\n").flat
    assert not Cgroups.detect(_line(tmp_path, "cgroup2", "rw"), tmp_path, "0::/user.slice/a.scope\n").flat


def test_groups_that_vanish_while_others_are_counted(tmp_path):
    top = tmp_path / "cpu"
    (top / "polyrouter").mkdir(parents=True)
    groups = Cgroups(1, (top,), {"cpu": top}, flat=True)
    stopping = threading.Event()

    def come_and_go() -> None:
        while not stopping.is_set():
            (top / "polyrouter/net/left-1").mkdir(parents=True, exist_ok=True)
            (top / "polyrouter/net/left-1").rmdir()
            (top / "polyrouter/net").rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(500):
            groups.pids(RouterId("net", "left", 1))
            groups._weigh(RouterId("other", "left", 2))
    finally:
        stopping.set()
        thread.join()
