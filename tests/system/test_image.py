"""Images made for real, and state directories on file systems that can do less. Needs root, and apt's mirrors."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from polyrouter.host.runtime.base import ContainerSpec, RouterId, State
from polyrouter.host.runtime.image import Images
from polyrouter.host.runtime.mounts import mount, mounts_under
from polyrouter.host.runtime.rootfs import Lower, Upper, remove_tree
from polyrouter.host.runtime.runc import RuncRuntime

pytestmark = [pytest.mark.root, pytest.mark.image]

BUILDER = """
import sys
import signal
from pathlib import Path
from polyrouter.host.runtime.image import Images
# As in a terminal: who runs the tests in the background has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
Images(Path(sys.argv[1])).build("fresh", progress=lambda line: print(line, flush=True))
"""


@pytest.fixture
def top():
    top = Path(tempfile.mkdtemp(prefix="polyrouter-test-"))
    top.chmod(0o755)
    yield top
    remove_tree(top)


def test_what_is_known_of_the_image(image):
    info = Images(image.parent.parent).describe(image.name)
    assert int(info.frr_version.split(".")[0]) >= 10
    assert info.reload
    assert info.frr_uid > 0
    assert (image / "rootfs/etc/machine-id").read_bytes() == b""
    assert not list((image / "rootfs/etc/apt").glob("sources.list*/*"))
    if info.packages:
        assert info.packages["frr"].startswith(info.frr_version)


def test_interrupted_build_leaves_nothing(top):
    build = subprocess.Popen([sys.executable, "-c", BUILDER, str(top)], stdout=subprocess.PIPE, text=True)
    try:
        assert build.stdout is not None
        for line in build.stdout:
            if line.startswith("running apt-get update"):
                break
        assert [p.name.startswith(".build-fresh-") for p in (top / "images").iterdir()] == [True]
        build.send_signal(signal.SIGINT)
        build.communicate(timeout=60)
    finally:
        build.kill()
        build.wait()
    assert build.returncode not in (0, -signal.SIGKILL)
    assert list((top / "images").iterdir()) == []
    assert mounts_under(top) == []


@pytest.mark.slow
def test_build(top):
    said = []
    info = Images(top).build("fresh", progress=said.append)
    assert [said[-2], said[-1].split(":")[0]] == ["checking FRR", "image fresh"]
    assert {"frr", "iproute2", "tcpdump", "traceroute", "iputils-ping", "procps"} <= info.packages.keys()
    assert [p.name for p in (top / "images").iterdir()] == ["fresh"]


@pytest.mark.slow
def test_import_of_an_archive(top, image):
    archive = top / "rootfs.tar"
    subprocess.run(["tar", "--create", f"--file={archive}", f"--directory={image / 'rootfs'}", "."], check=True)
    images = Images(top)
    info = images.import_("imported", archive)
    assert (info.source, info.reload) == (str(archive), True)
    assert info.frr_uid == Images(image.parent.parent).describe(image.name).frr_uid
    archive.unlink()


@pytest.mark.slow
def test_state_on_an_overlay_as_inside_a_container(top, image):
    for name in ("lower", "upper", "work", "state"):
        (top / name).mkdir()
    options = f"lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work"
    mount("overlay", top / "state", "overlay", options)
    (top / "state/images").mkdir()
    subprocess.run(["cp", "--archive", str(image), str(top / "state/images/default")], check=True)
    runtime = RuncRuntime(top / "state", top / "run")
    assert runtime.support == (Lower.COPIED, Upper.MEMORY)
    ids = [RouterId(top.name[-8:].strip("_"), "n1", vr) for vr in (0, 1)]
    try:
        for id in ids:
            runtime.create(ContainerSpec(id))
            runtime.start(id)
        for id in ids:
            runtime.wait_ready(id)
        # Owned by the shared range, and usable: FRR's user reads its own configuration.
        assert len({runtime.status(id).uid_base for id in ids}) == 1
        assert runtime.exec(ids[0], ["stat", "--format=%U", "/etc/frr", "/usr/bin/perl"]).stdout == "frr\nroot\n"
        assert runtime.exec(ids[0], ["stat", "--format=%A", "/usr/bin/su"]).stdout.startswith("-rws")
    finally:
        for id in ids:
            runtime.delete(id)
    assert {runtime.status(id).state for id in ids} == {State.ABSENT}
    runtime.images.remove("default")
    assert runtime._ranges.owners() == {}
