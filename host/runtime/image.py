"""Images: root file systems with FRR that containers start from.

An image is a directory `<state>/images/<name>` with `rootfs`, owned by the ids 0.. as packages have it, and
`image.json`. It is made under another name and renamed when it is complete, so an image that exists is whole.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ..progress import Progress, quiet
from .base import RuntimeFailure
from .debian import bootstrap, output
from .idrange import IdRanges
from .rootfs import remove_tree

__all__ = ["PACKAGES", "ImageError", "ImageInfo", "Images"]

#: What goes into a built image besides Debian's minimal system.
PACKAGES = ("frr", "frr-pythontools", "iproute2", "iputils-ping", "procps", "tcpdump", "traceroute")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

# `Images` has a method called `list`.
_Strings = list[str]


class ImageError(RuntimeFailure):
    """An image is missing, in use, not fit, or couldn't be made; the message says which and why."""


class ImageInfo(BaseModel):
    """What is known of an image.

    Attributes
    ----------
    name, source : str
        `source`: e.g. "Debian trixie", or the path that was imported.
    created : str
        ISO 8601, UTC.
    frr_version : str
    reload : bool
        Whether it has FRR's frr-reload.py, which changes to a running router's configuration need.
    frr_uid, frr_gid, frrvty_gid : int
        Ids of FRR's user and groups in the image.
    size_bytes : int
    packages : dict
        Debian packages and their versions; empty for other distributions.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    source: str
    created: str
    frr_version: str
    reload: bool
    frr_uid: int
    frr_gid: int
    frrvty_gid: int
    size_bytes: int
    packages: dict[str, str] = {}


def _version(text: str) -> tuple[int, ...]:
    match = re.search(r"version (\d+)((?:\.\d+)*)", text)
    return tuple(int(part) for part in (match[1] + match[2]).split(".")) if match else ()


class Images:
    """The images of a state directory.

    Parameters
    ----------
    state_dir : Path
    """

    def __init__(self, state_dir: Path):
        self._state = state_dir
        self._directory = state_dir / "images"

    def path(self, name: str) -> Path:
        """Directory of an image, which need not exist.

        Raises
        ------
        ImageError
            If it isn't a name.
        """
        if _NAME.fullmatch(name) is None:
            raise ImageError(f"image name {name!r}: expected letters, digits, '-' or '_', at most 64")
        return self._directory / name

    def exists(self, name: str = "default") -> bool:
        """Whether the image can be used."""
        return (self.path(name) / "image.json").is_file()

    def describe(self, name: str = "default") -> ImageInfo:
        """What is known of an image.

        Raises
        ------
        ImageError
            If there is no such image.
        """
        try:
            return ImageInfo.model_validate_json((self.path(name) / "image.json").read_text())
        except FileNotFoundError:
            have = ", ".join(info.name for info in self.list()) or "none"
            raise ImageError(
                f"no image {name!r} (there are: {have}); make it with: polyrouter image build --name {name}"
            ) from None

    def list(self) -> Sequence[ImageInfo]:
        """All images, by name."""
        return [
            ImageInfo.model_validate_json(file.read_text())
            for file in sorted(self._directory.glob("*/image.json"))
            if _NAME.fullmatch(file.parent.name)
        ]

    def users(self, name: str) -> _Strings:
        """Containers that were made from an image and still exist, as `network/node/vr`."""
        found = []
        for file in sorted(self._state.glob("networks/*/*/vrs/*/spec.json")):
            with suppress(OSError, ValueError):
                if json.loads(file.read_text())["image"] == name:
                    found.append("/".join((*file.parts[-5:-3], file.parts[-2])))
        return found

    @contextmanager
    def using(self, name: str) -> Iterator[ImageInfo]:
        """While in here the image isn't removed; for the time until its new user can be seen by `users`.

        Raises
        ------
        ImageError
            If there is no such image.
        """
        with self._lock(self.path(name), fcntl.LOCK_SH, name):
            yield self.describe(name)

    @contextmanager
    def _lock(self, directory: Path, operation: int, name: str) -> Iterator[int]:
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.describe(name)
            raise
        try:
            fcntl.flock(fd, operation)
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _building(self, name: str, replace: bool, progress: Progress) -> Iterator[tuple[Path, int]]:
        """A directory to make an image in, and a descriptor that locks out others who make one."""
        target = self.path(name)
        self._directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another image to be completed")
                fcntl.flock(fd, fcntl.LOCK_EX)
            for rest in self._directory.glob(".*-*"):
                if rest.name.startswith((".build-", ".old-")):
                    remove_tree(rest)
            if self.exists(name):
                if not replace:
                    raise ImageError(f"there is an image {name!r} already; remove it first or ask to replace it")
                self._refuse_used(name)
            building = Path(tempfile.mkdtemp(prefix=f".build-{name}-", dir=self._directory))
            # apt's unprivileged user must be able to come here, or its downloads run as root.
            building.chmod(0o755)
            try:
                yield building, fd
                if target.exists():
                    self._discard(name)
                building.rename(target)
            finally:
                remove_tree(building)
        finally:
            os.close(fd)

    def _refuse_used(self, name: str) -> None:
        if users := self.users(name):
            shown = ", ".join(users[:5]) + (", ..." if len(users) > 5 else "")
            raise ImageError(f"image {name!r} is in use by {shown}; take those networks down first")

    def _discard(self, name: str) -> None:
        with self._lock(self.path(name), fcntl.LOCK_EX, name):
            self._refuse_used(name)
            old = Path(tempfile.mkdtemp(prefix=f".old-{name}-", dir=self._directory))
            self.path(name).rename(old / "image")
            IdRanges(self._state / "idranges").release(f"images/{name}")
            remove_tree(old)

    def build(
        self,
        name: str = "default",
        suite: str = "trixie",
        progress: Progress = quiet,
        *,
        mirror: str | None = None,
        replace: bool = False,
    ) -> ImageInfo:
        """Make an image of Debian's minimal system with FRR, about 200 MB, in about half a minute.

        Parameters
        ----------
        name, suite : str
        progress : callable
            Called with a line for each step.
        mirror : str or None
            Address of a Debian mirror; None takes the one that this machine's apt is set up with.
        replace : bool
            Whether an image of that name is replaced when the new one is complete.

        Raises
        ------
        ImageError
            Also if the suite's FRR is older than 10. Nothing is left behind.
        """
        with self._building(name, replace, progress) as (building, lock):
            try:
                bootstrap(building / "rootfs", suite, PACKAGES, progress, mirror=mirror, lock=lock)
            except RuntimeFailure as error:
                raise ImageError(str(error)) from None
            return self._complete(building, name, f"Debian {suite}", progress)

    def import_(
        self, name: str, source: Path, progress: Progress = quiet, *, replace: bool = False
    ) -> ImageInfo:
        """Make an image of a root file system of any distribution, in a directory or a tar archive.

        Raises
        ------
        ImageError
            If it isn't one, or lacks FRR 10 or later, FRR's user, or bash.
        """
        source = source.resolve()
        with self._building(name, replace, progress) as (building, _):
            rootfs = building / "rootfs"
            rootfs.mkdir(mode=0o755)
            if source.is_dir():
                progress(f"copying {source}")
                output("cp", "--archive", "--one-file-system", "--reflink=auto", f"{source}/.", str(rootfs))
            elif source.is_file():
                progress(f"extracting {source}")
                keep = ("--numeric-owner", "--preserve-permissions", "--same-owner", "--xattrs", "--xattrs-include=*")
                output("tar", "--extract", f"--file={source}", f"--directory={rootfs}", *keep, "--exclude=./dev/*")
                if (rootfs / "manifest.json").exists() or (rootfs / "oci-layout").exists():
                    raise ImageError(
                        f"{source} holds the layers of a container image; give the root file system itself, "
                        "as docker export or podman export write it"
                    )
            else:
                raise ImageError(f"{source}: no such directory or archive")
            return self._complete(building, name, str(source), progress)

    def _complete(self, building: Path, name: str, source: str, progress: Progress) -> ImageInfo:
        """Check a root file system, take out what is one machine's own, and write `image.json`."""
        progress("checking FRR")
        rootfs = building / "rootfs"
        for path in ("bin/bash", "usr/bin/vtysh", "usr/lib/frr/zebra", "usr/lib/frr/frrcommon.sh", "etc/passwd"):
            if not (rootfs / path).is_file():
                raise ImageError(f"{source} has no /{path}; a router's image needs bash and FRR 10 or later")
        for path in ("etc", "etc/frr", "var/log", "var/log/frr"):
            if (rootfs / path).is_symlink():
                raise ImageError(f"{source}: /{path} is a symbolic link, expected a directory")
        # Run without any right, and confined to the image: it may be somebody else's program.
        version = output(
            "chroot", "--userspec=65534:65534", "--groups=", str(rootfs), "/usr/lib/frr/zebra", "--version"
        )
        number = _version(version)
        if number < (10,):
            raise ImageError(f"{source} has FRR {'.'.join(map(str, number)) or version!r}; 10 or later is needed")
        users = {line.split(":")[0]: line.split(":") for line in (rootfs / "etc/passwd").read_text().splitlines()}
        groups = {line.split(":")[0]: line.split(":") for line in (rootfs / "etc/group").read_text().splitlines()}
        for kind, table, entry in (("user", users, "frr"), ("group", groups, "frrvty")):
            if entry not in table:
                raise ImageError(f"{source} has no {kind} {entry!r}, which FRR's packages make")

        for path in ("etc/hostname", "etc/resolv.conf", "etc/hosts", "etc/frr/frr.conf", "var/lib/dbus/machine-id"):
            (rootfs / path).unlink(missing_ok=True)
        # Empty rather than missing: the file is then filled at start by whoever needs it.
        (rootfs / "etc/machine-id").unlink(missing_ok=True)
        (rootfs / "etc/machine-id").touch()
        for pattern in ("var/log/*.log", "var/log/apt/*", "var/cache/apt/*.bin", "var/cache/ldconfig/aux-cache"):
            for file in rootfs.glob(pattern):
                file.unlink()
        packages = {}
        if (rootfs / "var/lib/dpkg/status").is_file() and shutil.which("dpkg-query"):
            listing = output(
                "dpkg-query", f"--admindir={rootfs / 'var/lib/dpkg'}", "--show", "--showformat=${Package} ${Version}\\n"
            )
            packages = dict(line.split(" ", 1) for line in listing.splitlines())
        size = int(output("du", "--summarize", "--block-size=1", "--one-file-system", str(rootfs)).split()[0])
        info = ImageInfo(
            name=name,
            source=source,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            frr_version=".".join(map(str, number)),
            reload=(rootfs / "usr/lib/frr/frr-reload.py").is_file(),
            frr_uid=int(users["frr"][2]),
            frr_gid=int(users["frr"][3]),
            frrvty_gid=int(groups["frrvty"][2]),
            size_bytes=size,
            packages=packages,
        )
        (building / "image.json").write_text(info.model_dump_json(indent=2) + "\n")
        progress(f"image {name}: {source}, FRR {info.frr_version}, {size / 1e6:.0f} MB")
        return info

    def remove(self, name: str) -> None:
        """Remove an image.

        Raises
        ------
        ImageError
            If there is no such image, or a container of it exists.
        """
        self.describe(name)
        self._discard(name)
