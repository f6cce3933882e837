"""Root file systems of containers: the image below, an own layer of changes above, own user ids throughout.

The image is shared and is never written. overlayfs puts a directory of each container over it. The image's files
belong to the ids 0.. of the machine; an identity-mapped mount shows them to overlayfs as the container's own range
(Linux 5.19). Where the kernel or the file system can't do that, a copy of the image with changed owners is made once
and its range of ids is shared by all containers of that image. Where the state directory's file system can't hold
an overlay's upper layer (it is an overlay itself, as inside a Docker container), that layer is kept in memory.
"""

import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from .base import RuntimeFailure
from .idrange import SIZE
from .mounts import clone_idmapped, is_mount, mount, mounts_under, umount

__all__ = ["Lower", "Rootfs", "Support", "Upper", "probe", "remove_tree", "shifted_copy"]


class Lower(StrEnum):
    """How the image's files get the container's ids."""

    IDMAPPED = "idmapped"
    COPIED = "copied"


class Upper(StrEnum):
    """Where a container's changes are kept."""

    DISK = "disk"
    MEMORY = "memory"


class Support(NamedTuple):
    """What this machine can do for a pair of image and state directory."""

    lower: Lower
    upper: Upper


def _escape(path: Path) -> str:
    text = str(path)
    for char in "\\:,":
        text = text.replace(char, "\\" + char)
    return text


def _mount_overlay(lower: Path, scratch: Path, target: Path) -> None:
    options = (
        f"lowerdir={_escape(lower)},upperdir={_escape(scratch / 'upper')},workdir={_escape(scratch / 'work')},"
        "redirect_dir=off,index=off,metacopy=off"
    )
    mount("overlay", target, "overlay", options)


def remove_tree(path: Path) -> None:
    """Unmount everything at and below a path, then remove it. A path that isn't there is fine.

    Raises
    ------
    OSError
        If something can't be unmounted; nothing is removed then, as it might belong to somebody else.
    """
    for point in mounts_under(path):
        umount(Path(point))
    if left := mounts_under(path):
        raise OSError(f"{left[0]} is still mounted, so {path} is not removed")
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def probe(images: Path, state: Path) -> Support:
    """Find out by doing it: make a small overlay between the two directories and look at a file's owner.

    Raises
    ------
    RuntimeFailure
        If overlayfs doesn't work at all.
    """
    first = 0x7000_0000
    reasons = []
    below = Path(tempfile.mkdtemp(prefix=".probe-", dir=images))
    above = Path(tempfile.mkdtemp(prefix=".probe-", dir=state))
    try:
        (below / "image").mkdir()
        (below / "image" / "file").touch()
        for name in ("lower", "rootfs", "scratch"):
            (above / name).mkdir()
        for upper in Upper:
            for lower in Lower:
                try:
                    if upper is Upper.MEMORY:
                        mount("tmpfs", above / "scratch", "tmpfs")
                    for name in ("upper", "work"):
                        (above / "scratch" / name).mkdir(exist_ok=True)
                    source = below / "image"
                    if lower is Lower.IDMAPPED:
                        source = above / "lower"
                        clone_idmapped(below / "image", source, first, SIZE)
                    _mount_overlay(source, above / "scratch", above / "rootfs")
                    # Copying a file up shows whether the upper layer takes the attributes that overlayfs needs.
                    with open(above / "rootfs" / "file", "a") as file:
                        file.write("x")
                    if lower is Lower.COPIED or (above / "rootfs" / "file").stat().st_uid == first:
                        return Support(lower, upper)
                    reasons.append(f"{lower}, {upper}: owners are not mapped")
                except OSError as error:
                    reasons.append(f"{lower}, {upper}: {error.strerror or error}")
                finally:
                    for name in ("rootfs", "lower", "scratch"):
                        umount(above / name)
    finally:
        remove_tree(above)
        remove_tree(below)
    raise RuntimeFailure(f"overlayfs does not work under {state} ({'; '.join(reasons)}); is the overlay module loaded?")


def _shift(top: Path, first: int) -> None:
    """Add `first` to every owner below and at `top`."""
    linked: set[int] = set()
    for directory, directories, files, fd in os.fwalk(top, follow_symlinks=False):
        # Links to directories are listed with the directories, but not entered.
        links = [name for name in directories if stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)]
        for name in (".", *links, *files):
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                if info.st_ino in linked:
                    continue
                linked.add(info.st_ino)
            if info.st_uid >= SIZE or info.st_gid >= SIZE:
                raise RuntimeFailure(f"{directory}/{name} belongs to {info.st_uid}:{info.st_gid}, beyond {SIZE} ids")
            os.chown(name, first + info.st_uid, first + info.st_gid, dir_fd=fd, follow_symlinks=False)
            # chown takes away the set-id bits of executables.
            if info.st_mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(info.st_mode):
                os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=fd)


def shifted_copy(image: Path, take: Callable[[], int]) -> tuple[Path, int]:
    """The copy of an image with changed owners, made at the first call, and the first id of its range.

    Parameters
    ----------
    image : Path
        Directory of the image; its `rootfs` is copied to `rootfs-<first id>` beside it.
    take : callable
        Gives a range of ids if a copy must be made.

    Raises
    ------
    RuntimeFailure
    """
    fd = os.open(image, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        for path in image.glob("rootfs-*"):
            return path, int(path.name.removeprefix("rootfs-"))
        first = take()
        building = image / ".rootfs-copying"
        remove_tree(building)
        try:
            # The copy loses file capabilities: what they give, the container's root has anyway.
            command = ["cp", "--archive", "--no-preserve=xattr", "--reflink=auto", str(image / "rootfs"), str(building)]
            copied = subprocess.run(command, capture_output=True, text=True)
            if copied.returncode:
                raise RuntimeFailure(f"copying {image / 'rootfs'}: {copied.stderr.strip()}")
            _shift(building, first)
            path = image / f"rootfs-{first}"
            building.rename(path)
        finally:
            remove_tree(building)
        return path, first
    finally:
        os.close(fd)


class Rootfs:
    """One container's root file system.

    Parameters
    ----------
    directory : Path
        The container's own directory; `rootfs` in it is the mount point.
    lower : Path
        The image's files.
    first : int
        First of the container's ids.
    support : Support
    """

    def __init__(self, directory: Path, lower: Path, first: int, support: Support):
        self.directory, self.lower, self.first, self.support = directory, lower, first, support

    @property
    def path(self) -> Path:
        """Where it is mounted."""
        return self.directory / "rootfs"

    @property
    def upper(self) -> Path:
        """The container's changes. Only write here while it isn't mounted."""
        return self.directory / "scratch" / "upper"

    def prepare(self) -> None:
        """Make an empty layer of changes.

        Raises
        ------
        OSError
        """
        for name in ("rootfs", "lower", "scratch"):
            (self.directory / name).mkdir(exist_ok=True)
        if self.support.upper is Upper.MEMORY and not is_mount(self.directory / "scratch"):
            mount("tmpfs", self.directory / "scratch", "tmpfs", "mode=0755")
        self.upper.mkdir()
        (self.directory / "scratch" / "work").mkdir()
        os.chown(self.upper, self.first, self.first)
        self.upper.chmod(0o755)

    def put(self, name: str, text: str, *, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Write a file into the layer of changes before it is mounted, with the image's directories above it.

        Parameters
        ----------
        name : str
            Path in the container without a leading slash.
        text : str
        mode, uid, gid : int
            As the container sees them.
        """
        path = self.upper
        for part in Path(name).parts[:-1]:
            path = path / part
            if not path.exists():
                below = self.lower / path.relative_to(self.upper)
                owner, bits = (0, 0), 0o755
                if below.is_dir() and not below.is_symlink():
                    info = below.stat()
                    shift = self.first if self.support.lower is Lower.COPIED else 0
                    owner, bits = (info.st_uid - shift, info.st_gid - shift), stat.S_IMODE(info.st_mode)
                path.mkdir()
                os.chown(path, self.first + owner[0], self.first + owner[1])
                path.chmod(bits)
        file = self.upper / name
        file.write_text(text)
        os.chown(file, self.first + uid, self.first + gid)
        file.chmod(mode)

    def mount(self) -> None:
        """Mount it; does nothing if it is.

        Raises
        ------
        OSError
        """
        if is_mount(self.path):
            return
        if self.support.lower is Lower.COPIED:
            _mount_overlay(self.lower, self.directory / "scratch", self.path)
            return
        between = self.directory / "lower"
        umount(between)
        clone_idmapped(self.lower, between, self.first, SIZE)
        try:
            _mount_overlay(between, self.directory / "scratch", self.path)
        finally:
            # overlayfs holds a private copy of the mount, so this one need not be seen by anybody.
            umount(between)

    def unmount(self) -> None:
        """Unmount it; does nothing if it isn't mounted."""
        for name in ("rootfs", "lower"):
            umount(self.directory / name)
