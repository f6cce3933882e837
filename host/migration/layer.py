"""A container's own files, the layer over its image, as they are sent: all of them, and later what has changed.

GNU tar does it, with owners by number, and with the extended attributes and devices by which overlayfs says that a file
of the image is hidden (Linux ``Documentation/filesystems/overlayfs.rst``).
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..runtime.base import RuntimeFailure

__all__ = ["Manifest", "changed_since", "extract", "manifest_of", "pack", "remove"]

#: By path: what is another after a change.
Manifest = dict[str, tuple[int, ...]]

_ATTRIBUTES = ("--numeric-owner", "--xattrs", "--xattrs-include=*")
#: By these overlayfs says what is hidden; they mean nothing above it.
_NOT_ABOVE = "--xattrs-exclude=trusted.overlay.*"
_WHITEOUT = stat.S_IFCHR
_PART = 1 << 18


def manifest_of(top: Path) -> Manifest:
    """What there is in a directory, without itself."""
    found: Manifest = {}
    for directory, directories, files, descriptor in os.fwalk(top, follow_symlinks=False):
        for name in (*directories, *files):
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            path = os.path.relpath(os.path.join(directory, name), top)
            found[path] = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, info.st_size, info.st_mtime_ns,
                           info.st_ctime_ns, info.st_ino)
    return found


def changed_since(before: Manifest, now: Manifest) -> tuple[list[str], list[str]]:
    """Paths that are new or others, and paths that are gone or are of another kind now, which goes first.

    What a layer hides of those below it is gone.
    """
    different = [path for path, info in now.items() if before.get(path) != info]
    hidden = [path for path in different if stat.S_IFMT(now[path][0]) == _WHITEOUT and not now[path][3]]
    changed = [path for path in different if path not in set(hidden)]
    gone = hidden + [path for path, info in before.items()
            if path not in now or (info[0] ^ now[path][0]) & 0o170000 or
            (info[-1] != now[path][-1] and info[0] & 0o170000 == 0o040000)]
    return changed, gone


def pack(top: Path, paths: Iterable[str] | None = None) -> Iterator[bytes]:
    """An archive of a directory, or of these paths in it, part by part.

    Raises
    ------
    RuntimeFailure
        If tar fails.
    """
    command = ["tar", "--create", *_ATTRIBUTES, "--directory", str(top)]
    names = b""
    if paths is None:
        command.append(".")
    else:
        command += ["--no-recursion", "--null", "--files-from=-"]
        names = b"".join(os.fsencode(f"./{path}") + b"\0" for path in paths)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(names)
        process.stdin.close()
        while part := process.stdout.read(_PART):
            yield part
        said = process.stderr.read().decode(errors="replace").strip()
        # 1: some files changed while they were read; they are sent again when nobody writes to them any more.
        if process.wait() > 1:
            raise RuntimeFailure(f"the files of {top} can't be read: {said}")


def extract(top: Path, archive: Path, *, above: bool = False) -> None:
    """Put an archive's files into a directory, in the place of others of their names.

    Parameters
    ----------
    top, archive : Path
    above : bool
        The directory is not a layer, but what overlayfs makes of it.

    Raises
    ------
    RuntimeFailure
        If tar fails, for instance as there is no room.
    """
    command = ["tar", "--extract", *_ATTRIBUTES, "--same-owner", "--preserve-permissions", "--directory", str(top),
               "--file", str(archive), *([_NOT_ABOVE] if above else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeFailure(f"the files of the container can't be written to {top}: {done.stderr.strip()}")


def remove(top: Path, paths: Iterable[str]) -> None:
    """Remove paths from a directory, with all that is in them. Links are not followed."""
    base = top.resolve()
    for name in paths:
        path = base / name
        if base not in path.parent.resolve().parents and path.parent.resolve() != base:
            raise RuntimeFailure(f"{name} is not in {top}")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
