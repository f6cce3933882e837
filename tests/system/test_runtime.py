"""Real containers: isolation, limits, life and death. Needs root and the image."""

import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from polyrouter.host.runtime.base import (
    ContainerError,
    ContainerSpec,
    Limits,
    NoSuchContainer,
    RouterId,
    State,
)
from polyrouter.host.runtime.mounts import mounts_under
from polyrouter.host.runtime.rootfs import Lower, Support, Upper
from polyrouter.host.runtime.runc import RuncRuntime
from pyroute2 import NetNS

pytestmark = [pytest.mark.root, pytest.mark.image]

OSPF = """\
interface eth0
 ip address 10.0.0.1/24
exit
router ospf
 ospf router-id 192.0.2.{vr}
 network 10.0.0.0/24 area 0
exit
"""
NAMESPACES = ("user", "mnt", "pid", "uts", "ipc", "net")


def until(condition, timeout=20.0):
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {timeout} s: {condition}"
        time.sleep(0.02)
    return value


def processes_of(uid_base):
    """Processes of the machine in a user namespace with this range of ids.

    Without those that ended and wait for the machine's first process to collect them.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and (entry / "uid_map").read_text().split()[1] == str(uid_base):
                    found.append(int(entry.name))
            except (OSError, IndexError):
                continue
    return found


def assert_nothing_left(runtime, id, uid_base):
    assert runtime.status(id).state is State.ABSENT
    assert processes_of(uid_base) == []
    assert runtime.cgroups.groups(id) == []
    for top in (runtime.directory(id), runtime.run_dir / id.network / id.node / "netns"):
        assert mounts_under(top) == []
    assert not runtime.directory(id).exists()
    assert not (runtime.run_dir / id.network / id.node / "netns" / str(id.vr)).exists()
    assert not (runtime.run_dir / id.network / id.node / "runc" / id.container).exists()
    assert str(id) not in runtime._ranges.owners().values()


@pytest.fixture(scope="module")
def runtime(directories):
    runtime = RuncRuntime(*directories)
    yield runtime
    for status in runtime.list():
        runtime.delete(status.id)
    state, run = directories
    assert mounts_under(state) == mounts_under(run) == []
    assert [p for p in (*state.rglob("*"), *run.rglob("*")) if p.is_symlink() or not p.is_dir()] == [
        state / "images/default"
    ]


@pytest.fixture
def id(runtime, network):
    id = RouterId(network, "n1", 1)
    yield id
    runtime.delete(id)


@pytest.fixture(scope="module")
def four(runtime):
    """Four running routers; the tests that use them leave them as they are."""
    network = f"t{uuid.uuid4().hex[:10]}"
    ids = [RouterId(network, "n1", vr) for vr in range(4)]

    def begin(id):
        config = OSPF.format(vr=id.vr + 1)
        runtime.create(ContainerSpec(id, config, frozenset({"ospfd"}), limits=Limits(memory_bytes="256M", pids=200)))
        with NetNS(str(runtime.netns(id))) as ns:
            ns.link("add", ifname="eth0", kind="veth", peer={"ifname": "far0"})
            for name in ("eth0", "far0"):
                ns.link("set", index=ns.link_lookup(ifname=name)[0], state="up")
        runtime.start(id)
        runtime.wait_ready(id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, ids))
    yield ids
    for id in ids:
        runtime.delete(id)


def run(runtime, id, *argv, **options):
    done = runtime.exec(id, argv, **options)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


class TestIsolation:
    def test_every_router_has_its_own_ids(self, runtime, four):
        if runtime.support.lower is not Lower.IDMAPPED:
            pytest.skip("this kernel or file system has no identity-mapped mounts")
        bases = [runtime.status(id).uid_base for id in four]
        assert len(set(bases)) == 4
        for id, base in zip(four, bases, strict=True):
            status = runtime.status(id)
            assert os.stat(f"/proc/{status.pid}").st_uid == base
            assert (runtime.directory(id) / "rootfs/etc/passwd").stat().st_uid == base
            frr = runtime.images.describe().frr_uid
            owners = {os.stat(f"/proc/{pid}").st_uid - base for pid in processes_of(base)}
            assert owners == {0, frr}

    def test_namespaces(self, runtime, four):
        pids = [os.getpid(), *(runtime.status(id).pid for id in four)]
        for kind in NAMESPACES:
            assert len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}) == 5

    def test_routing_daemons_answer_and_have_their_configuration(self, runtime, four):
        for id in four:
            assert f"Router ID: 192.0.2.{id.vr + 1}" in run(runtime, id, "vtysh", "-c", "show ip ospf")
            watched = run(runtime, id, "vtysh", "-c", "show watchfrr")
            assert [line.split() for line in watched.splitlines() if line.endswith("Up")] == [
                [daemon, "Up"] for daemon in ("zebra", "mgmtd", "ospfd", "staticd")
            ]

    def test_interfaces_were_there_before_the_daemons(self, runtime, four):
        assert "10.0.0.1/24" in run(runtime, four[0], "ip", "-o", "address", "show", "eth0")
        assert "eth0 is up" in run(runtime, four[0], "vtysh", "-c", "show ip ospf interface eth0")

    def test_sysctls_also_of_interfaces_that_came_later(self, runtime, four):
        names = ["net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.eth0.rp_filter"]
        assert run(runtime, four[0], "sysctl", "-n", *names).split() == ["1", "0", "0"]

    def test_files_of_one_are_not_in_another_nor_in_the_image(self, runtime, four, image):
        run(runtime, four[0], "sh", "-c", "echo changed >>/etc/debian_version; touch /own")
        assert "changed" in run(runtime, four[0], "cat", "/etc/debian_version")
        assert "changed" not in run(runtime, four[1], "cat", "/etc/debian_version")
        assert "changed" not in (image / "rootfs/etc/debian_version").read_text()
        assert not (image / "rootfs/own").exists()

    @pytest.mark.parametrize(
        "command",
        [
            "mknod /tmp/disk b 254 0",
            "echo 1 >/proc/sys/kernel/sysrq",
            "echo b >/proc/sysrq-trigger",
            "hostname >/sys/kernel/uevent_helper",
            "chroot / mount -t cgroup2 none /tmp",
            "cat /dev/kmsg",
        ],
    )
    def test_refused(self, runtime, four, command):
        assert runtime.exec(four[0], ["sh", "-c", command]).returncode != 0

    def test_listed_by_a_runtime_that_knows_nothing(self, runtime, four):
        other = RuncRuntime(runtime.state_dir, runtime.run_dir)
        listed = other.list(four[0].network)
        assert [s.id for s in listed] == four
        assert listed == [runtime.status(id) for id in four]
        assert {s.state for s in listed} == {State.RUNNING}
        assert listed[0].limits == Limits(memory_bytes="256M", pids=200)
        assert other.list(four[0].network, "n2") == []

    def test_log(self, runtime, four):
        text = runtime.logs(four[0])
        assert "OSPF: " in text
        assert "all daemons up" in text
        assert len(runtime.logs(four[0], 3).splitlines()) == 6
        assert runtime.logs(four[0], 0) == ""
        assert runtime.log_path(four[0]).is_file()

    def test_log_that_became_a_link_is_not_followed(self, runtime, four, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text("the machine's own\n")
        run(runtime, four[3], "sh", "-c", f"rm /var/log/frr/console.log; ln -s {secret} /var/log/frr/console.log")
        assert "the machine's own" not in runtime.logs(four[3])


class TestExec:
    def test_exit_code_and_streams(self, runtime, four):
        done = runtime.exec(four[0], ["sh", "-c", "cat; echo bad >&2; exit 42"], input="good\n")
        assert (done.returncode, done.stdout, done.stderr) == (42, "good\n", "bad\n")

    def test_timeout_ends_the_program_inside(self, runtime, four):
        with pytest.raises(subprocess.TimeoutExpired):
            runtime.exec(four[0], ["sleep", "4242"], timeout=0.5)
        until(lambda: "4242" not in run(runtime, four[0], "ps", "ax"))

    def test_terminal(self, runtime, four):
        command = runtime.exec_command(four[0], ["sh", "-c", "test -t 0 && tty; exit 7"], tty=True)
        # script(1) gives runc a terminal to connect to.
        done = subprocess.run(
            ["script", "--quiet", "--return", "--command", " ".join(map(_quote, command)), "/dev/null"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 7
        assert "/dev/pts/" in done.stdout

    def test_ended_processes_are_collected(self, runtime, four):
        run(runtime, four[0], "sh", "-c", "for i in 1 2 3; do (sleep 0 &) ; done")
        until(lambda: not [s for s in run(runtime, four[0], "ps", "axho", "stat").split() if s.startswith("Z")])

    def test_absent(self, runtime, network):
        with pytest.raises(NoSuchContainer, match="it is absent"):
            runtime.exec(RouterId(network, "n1", 0), ["true"])


def _quote(word):
    return "'" + word.replace("'", "'\\''") + "'"


class TestReload:
    def test_only_the_difference_is_applied(self, runtime, four):
        id = four[1]
        before = run(runtime, id, "pidof", "zebra", "ospfd", "staticd")
        started = run(runtime, id, "vtysh", "-c", "show ip ospf json").split('"spfLastExecutedMsecs"')[0]
        runtime.reload_config(id, OSPF.format(vr=2) + "ip route 203.0.113.0/24 Null0\n")
        until(lambda: "203.0.113.0/24" in run(runtime, id, "ip", "route"))
        assert run(runtime, id, "pidof", "zebra", "ospfd", "staticd") == before
        assert '"routerId":"192.0.2.2"' in started
        assert "Router ID: 192.0.2.2" in run(runtime, id, "vtysh", "-c", "show ip ospf")
        assert "203.0.113.0/24" in run(runtime, id, "cat", "/etc/frr/frr.conf")

        runtime.reload_config(id, OSPF.format(vr=2))
        until(lambda: "203.0.113.0/24" not in run(runtime, id, "ip", "route"))

    def test_wrong_line_changes_nothing(self, runtime, four):
        id = four[2]
        before = run(runtime, id, "vtysh", "-c", "show running-config")
        with pytest.raises(ContainerError, match="nonsense"):
            runtime.reload_config(id, OSPF.format(vr=3) + "ip route 203.0.113.0/24 Null0\nnonsense 1\n")
        assert run(runtime, id, "vtysh", "-c", "show running-config") == before


class TestLimits:
    def test_in_force_and_changed_while_running(self, runtime, id):
        runtime.create(ContainerSpec(id, limits=Limits(memory_bytes="200M", cpus="0.9", pids=64)))
        runtime.start(id)
        runtime.wait_ready(id)
        hog = ["python3", "-c", "import sys; b = bytearray(120 << 20); print(len(b))"]
        assert runtime.exec(id, hog).stdout == f"{120 << 20}\n"
        runtime.set_limits(id, Limits(memory_bytes="96M", cpus="0.1", pids=40))
        assert runtime.exec(id, hog).returncode == 128 + signal.SIGKILL
        assert runtime.status(id).limits == Limits(memory_bytes="96M", cpus="0.1", pids=40)

        runtime.set_limits(id, Limits(pids=40))
        assert runtime.exec(id, hog).returncode == 0
        bomb = (
            "import os, sys, time\n"
            "for made in range(60):\n"
            "    try:\n"
            "        if os.fork() == 0: time.sleep(5); os._exit(0)\n"
            "    except BlockingIOError: break\n"
            "print(made)\n"
        )
        assert 0 < int(runtime.exec(id, ["python3", "-c", bomb]).stdout) < 40
        assert runtime.usage(id).pids <= 40
        assert runtime.usage(id).memory_bytes > 1 << 20

    def test_share_of_a_core(self, runtime, id):
        runtime.create(ContainerSpec(id, limits=Limits(cpus="0.2")))
        runtime.start(id)
        runtime.wait_ready(id)

        def throttled():
            for group in runtime.cgroups.groups(id):
                if (group / "cpu.stat").exists() and "nr_throttled" in (text := (group / "cpu.stat").read_text()):
                    return int(text.split("nr_throttled ")[1].split()[0])
            raise AssertionError("no group counts throttling")

        loop = ["timeout", "0.5", "sh", "-c", "while :; do :; done"]
        before = throttled()
        runtime.exec(id, loop)
        assert throttled() > before
        runtime.set_limits(id, Limits())
        before = throttled()
        runtime.exec(id, loop)
        assert throttled() == before

    def test_absent(self, runtime, network):
        with pytest.raises(NoSuchContainer):
            runtime.set_limits(RouterId(network, "n1", 0), Limits(pids=10))


class TestLife:
    def test_states_and_delete(self, runtime, id):
        assert runtime.status(id).state is State.ABSENT
        status = runtime.create(ContainerSpec(id))
        assert status.state is State.CREATED
        assert processes_of(status.uid_base) == [status.pid]
        assert not runtime.ready(id)
        with pytest.raises(ContainerError, match="it is created; delete it first"):
            runtime.create(ContainerSpec(id))
        runtime.start(id)
        runtime.wait_ready(id)
        runtime.start(id)
        assert runtime.status(id).pid == status.pid
        runtime.delete(id)
        assert_nothing_left(runtime, id, status.uid_base)
        runtime.delete(id)

    def test_stop_in_order_and_create_again(self, runtime, id):
        base = runtime.create(ContainerSpec(id)).uid_base
        runtime.start(id)
        runtime.wait_ready(id)
        with NetNS(str(runtime.netns(id))) as ns:
            ns.link("add", ifname="eth0", kind="veth", peer={"ifname": "far0"})
        runtime.stop(id)
        assert runtime.status(id).state is State.STOPPED
        assert runtime.status(id).pid == 0
        assert "Stopped zebra" in runtime.logs(id)
        with NetNS(str(runtime.netns(id))) as ns:
            assert ns.link_lookup(ifname="eth0")
        with pytest.raises(NoSuchContainer, match="it is stopped"):
            runtime.start(id)
        runtime.stop(id)
        assert runtime.create(ContainerSpec(id)).state is State.CREATED
        with NetNS(str(runtime.netns(id))) as ns:
            assert not ns.link_lookup(ifname="eth0")
        runtime.delete(id)
        assert_nothing_left(runtime, id, base)

    def test_container_ends_with_its_supervisor(self, runtime, id):
        runtime.create(ContainerSpec(id))
        runtime.start(id)
        runtime.wait_ready(id)
        runtime.exec(id, ["pkill", "-KILL", "watchfrr"])
        until(lambda: runtime.status(id).state is State.STOPPED)
        with pytest.raises(ContainerError, match=r"it is stopped.*(?s:.*)watchfrr ended with code 137"):
            runtime.wait_ready(id)

    def test_daemon_that_dies_is_started_again(self, runtime, id):
        runtime.create(ContainerSpec(id))
        runtime.start(id)
        runtime.wait_ready(id)
        before = run(runtime, id, "pidof", "staticd")
        runtime.exec(id, ["pkill", "-KILL", "staticd"])
        until(lambda: runtime.exec(id, ["pidof", "staticd"]).stdout not in ("", before))

    @pytest.mark.parametrize(
        ("spec", "reason"),
        [
            ({"image": "missing"}, "no image 'missing'"),
            ({"daemons": frozenset({"ospf"})}, "unknown routing daemon ospf"),
            ({"sysctls": {"kernel.panic": "1"}}, "kernel.panic"),
            ({"hostname": "x" * 100}, "hostname"),
        ],
    )
    def test_failed_creation_leaves_nothing(self, runtime, id, spec, reason):
        with pytest.raises(Exception, match=reason):
            runtime.create(ContainerSpec(id, **spec))
        assert_nothing_left(runtime, id, 0x7000_0000 - 1)

    def test_layer_in_memory(self, directories, network):
        runtime = RuncRuntime(*directories, support=Support(Lower.IDMAPPED, Upper.MEMORY))
        id = RouterId(network, "n1", 1)
        try:
            base = runtime.create(ContainerSpec(id)).uid_base
            runtime.start(id)
            runtime.wait_ready(id)
            assert "tmpfs" in subprocess.check_output(
                ["findmnt", "-no", "FSTYPE", runtime.directory(id) / "scratch"], text=True
            )
        finally:
            runtime.delete(id)
        assert_nothing_left(runtime, id, base)


CREATOR = """
import os, signal, sys
from pathlib import Path
from polyrouter.host.runtime.base import ContainerSpec, RouterId
from polyrouter.host.runtime.runc import RuncRuntime

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

state, run, network, point = sys.argv[1:]
runtime = RuncRuntime(Path(state), Path(run))
if point:
    setattr(RuncRuntime, point, die)
id = RouterId(network, "n1", 1)
runtime.create(ContainerSpec(id, "ip route 203.0.113.0/24 Null0\\n"))
runtime.start(id)
die()
"""


class TestCreatorKilled:
    def _create_and_die(self, runtime, network, point):
        directories = [str(runtime.state_dir), str(runtime.run_dir)]
        died = subprocess.run([sys.executable, "-c", CREATOR, *directories, network, point])
        assert died.returncode == -signal.SIGKILL

    def test_running_router_is_adopted(self, runtime, id):
        self._create_and_die(runtime, id.network, "")
        successor = RuncRuntime(runtime.state_dir, runtime.run_dir)
        assert [(s.id, s.state) for s in successor.list(id.network)] == [(id, State.RUNNING)]
        successor.wait_ready(id)
        until(lambda: "203.0.113.0/24" in run(successor, id, "ip", "route"))
        base = successor.status(id).uid_base
        with NetNS(str(successor.netns(id))) as ns:
            assert ns.link_lookup(ifname="lo") == [1]
        successor.delete(id)
        assert_nothing_left(successor, id, base)

    @pytest.mark.parametrize(
        ("point", "state"),
        [("_write_record", State.STOPPED), ("_launch", State.STOPPED), ("netns", State.CREATED)],
    )
    def test_half_made_router_is_found_and_replaced(self, runtime, id, point, state):
        self._create_and_die(runtime, id.network, point)
        successor = RuncRuntime(runtime.state_dir, runtime.run_dir)
        assert [(s.id, s.state) for s in successor.list(id.network)] == [(id, state)]
        if state is State.CREATED:
            assert successor.netns(id).exists()
            successor.delete(id)
        base = successor.create(ContainerSpec(id)).uid_base
        successor.start(id)
        successor.wait_ready(id)
        successor.delete(id)
        assert_nothing_left(successor, id, base)
