"""A layer's files arrive as they are, whiteouts and attributes too, and what changes later arrives, too."""

import os
import random
import stat
import subprocess

import pytest
from polyrouter.host.migration.layer import changed_since, extract, manifest_of, pack, remove
from polyrouter.host.runtime.base import RuntimeFailure
from polyrouter.host.runtime.mounts import mount, umount

pytestmark = pytest.mark.root


def shown(top):
    """What there is, without what differs of a copy."""
    found = {}
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else os.readlink(path) if path.is_symlink() else None
        attributes = {name: os.getxattr(path, name, follow_symlinks=False)
                      for name in os.listxattr(path, follow_symlinks=False)}
        found[str(path.relative_to(top))] = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, content, attributes,
                                             None if path.is_symlink() else info.st_mtime_ns // 10**9)
    return found


def send(source, destination, spool, paths=None):
    spool.write_bytes(b"".join(pack(source, paths)))
    extract(destination, spool)


@pytest.fixture
def layers(tmp_path):
    source, destination = tmp_path / "source", tmp_path / "destination"
    for path in (source, destination):
        path.mkdir()
    etc = source / "etc" / "frr"
    etc.mkdir(parents=True)
    (etc / "frr.conf").write_text("hostname r\n")
    os.chown(etc / "frr.conf", 0x7000_0000 + 100, 0x7000_0000 + 101)
    (etc / "frr.conf").chmod(0o640)
    (source / "link").symlink_to("/etc/passwd")
    os.mknod(source / "gone", stat.S_IFCHR, 0)              # overlayfs' whiteout
    (source / "opaque").mkdir()
    os.setxattr(source / "opaque", "trusted.overlay.opaque", b"y")
    (source / "suid").write_text("x")
    (source / "suid").chmod(0o4755)
    os.mkfifo(source / "pipe")
    return source, destination, tmp_path / "spool"


def test_all_of_it(layers):
    source, destination, _ = layers
    send(*layers)
    assert shown(destination) == shown(source)
    assert "opaque" in shown(source)


def test_nothing_changed(layers):
    source = layers[0]
    now = manifest_of(source)
    assert changed_since(now, manifest_of(source)) == ([], [])


@pytest.mark.parametrize("seed", range(5))
def test_what_changed(layers, seed):
    source, destination, spool = layers
    send(*layers)
    before = manifest_of(source)
    rng = random.Random(seed)
    for index in range(30):
        path = source / rng.choice(["a", "b", "etc/a", "etc/frr/frr.conf", "link", "gone", "opaque"])
        kind = rng.choice(["write", "append", "remove", "dir", "link", "white"])
        if kind == "append" and path.is_file() and not path.is_symlink():
            with path.open("a") as file:
                file.write(str(index))
            continue
        if path.is_symlink() or path.exists():
            subprocess.run(["rm", "-rf", path], check=True)
        if kind in ("write", "append"):
            path.write_text(f"{index}\n")
        elif kind == "dir":
            path.mkdir()
            (path / "inside").write_text(str(index))
        elif kind == "link":
            path.symlink_to("elsewhere")
        elif kind == "white":
            os.mknod(path, stat.S_IFCHR, 0)
    changed, gone = changed_since(before, manifest_of(source))
    # A layer takes what it hides as a file, and what is above it does not have it.
    hidden = [path for path in gone if (source / path).is_char_device()]
    assert not set(hidden) & set(changed)
    remove(destination, gone)
    send(source, destination, spool, [*changed, *hidden])
    assert shown(destination) == shown(source)


def test_above_overlayfs(layers, tmp_path):
    """What changed in one container's layer is changed by way of another's mount, which hides what the first does."""
    _, _, spool = layers
    lower, mounts = tmp_path / "lower", []
    (lower / "etc").mkdir(parents=True)
    for name in ("issue", "etc/a", "etc/b"):
        (lower / name).write_text(f"of the image: {name}\n")
    for name in ("one", "two"):
        for part in ("upper", "work", "rootfs"):
            (tmp_path / name / part).mkdir(parents=True)
        mounts.append(tmp_path / name / "rootfs")
        mount("overlay", mounts[-1], "overlay", f"lowerdir={lower},upperdir={tmp_path / name / 'upper'},"
                                                f"workdir={tmp_path / name / 'work'}")
    try:
        one, two = mounts
        before = manifest_of(tmp_path / "one" / "upper")
        (one / "issue").unlink()
        (one / "etc" / "a").write_text("another\n")
        (one / "etc" / "b").unlink()
        (one / "etc" / "b").mkdir()
        (one / "etc" / "b" / "inside").write_text("x")
        changed, gone = changed_since(before, manifest_of(tmp_path / "one" / "upper"))
        remove(two, gone)
        spool.write_bytes(b"".join(pack(tmp_path / "one" / "upper", changed)))
        extract(two, spool, above=True)
        assert shown(two) == shown(one)
        assert not (two / "issue").exists()
    finally:
        for path in mounts:
            umount(path)


def test_nothing_outside_is_removed(layers, tmp_path):
    _, destination, _ = layers
    (tmp_path / "precious").write_text("x")
    (destination / "way").symlink_to(tmp_path)
    for path in ("../precious", "way/precious"):
        with pytest.raises(RuntimeFailure, match="is not in"):
            remove(destination, [path])
    remove(destination, ["way", "never there"])
    assert (tmp_path / "precious").exists() and not (destination / "way").is_symlink()


def test_what_is_no_archive(layers):
    _, destination, spool = layers
    spool.write_text("rubbish" * 1000)
    with pytest.raises(RuntimeFailure, match="can't be written"):
        extract(destination, spool)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(RuntimeFailure, match="can't be read"):
        list(pack(tmp_path / "nowhere"))
