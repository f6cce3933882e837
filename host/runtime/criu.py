"""CRIU, which writes running processes to files and makes processes of them again (https://criu.org).

Linux 6.16 and later need CRIU 4.2, which few distributions have yet. Where the machine's own is too old or missing, one
of Debian's packages is put into the state directory, with the libraries that it needs, and runs from there.
"""

import os
import re
import shutil
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path

from ..progress import Progress, quiet
from .base import RuntimeFailure
from .debian import bootstrap, output
from .rootfs import remove_tree

__all__ = ["CRIU_VARIABLE", "Criu", "find_criu", "install_criu"]

#: Path of another CRIU.
CRIU_VARIABLE = "POLYROUTER_CRIU"
#: The first kernel that gives no SO_PASSCRED for sockets that are not Unix', and the first CRIU that does without.
_STRICT_KERNEL, _CRIU_FOR_IT = (6, 16), (4, 2)
#: What restores in user namespaces as runc makes them.
_OLDEST = (3, 17)
#: The first suite that has it.
_SUITE = "forky"

#: Where programs for the administrator are, which are not in everybody's PATH.
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"

Version = tuple[int, ...]


class Criu:
    """A CRIU of this machine.

    Parameters
    ----------
    program : Path
    """

    def __init__(self, program: Path) -> None:
        self.program = program

    @cached_property
    def version(self) -> Version:
        """Its version.

        Raises
        ------
        RuntimeFailure
            If it does not run.
        """
        match = re.search(r"Version: (\d+(?:\.\d+)*)", output(str(self.program), "--version"))
        return tuple(int(part) for part in match[1].split(".")) if match else ()

    def problem(self, kernel: str | None = None) -> str | None:
        """Why it can't be used here, None if it can.

        Parameters
        ----------
        kernel : str or None
            Release of the kernel; None takes this machine's.
        """
        kernel = os.uname().release if kernel is None else kernel
        match = re.match(r"(\d+)\.(\d+)", kernel)
        strict = match is not None and (int(match[1]), int(match[2])) >= _STRICT_KERNEL
        needed = _CRIU_FOR_IT if strict else _OLDEST
        try:
            version = self.version
        except RuntimeFailure as error:
            return str(error)
        if version < needed:
            return (f"CRIU {_text(version)} is too old for Linux {kernel}, which needs {_text(needed)}: "
                    "polyrouter image criu")
        return None

    def tracks_memory(self) -> bool:
        """Whether the kernel tells which pages were written since (CONFIG_MEM_SOFT_DIRTY), so that memory can be copied
        while the processes run."""
        done = subprocess.run([str(self.program), "check", "--feature", "mem_dirty_track"], capture_output=True)
        return done.returncode == 0


def _text(version: Version) -> str:
    return ".".join(map(str, version)) or "of unknown version"


def _own(state: Path) -> Path:
    return state / "criu"


def find_criu(state: Path) -> Criu | None:
    """The CRIU to use: what the environment names, the first of the state directory's and the machine's that will do
    here, else the one that won't; None if there is none.

    Parameters
    ----------
    state : Path
        State directory.
    """
    if other := os.environ.get(CRIU_VARIABLE):
        return Criu(Path(other))
    own = _own(state) / "criu"
    system = shutil.which("criu", path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}")
    found = [Criu(path) for path in (own if own.exists() else None, Path(system) if system else None) if path]
    return next((criu for criu in found if criu.problem() is None), found[0] if found else None)


def install_criu(state: Path, progress: Progress = quiet, *, mirror: str | None = None) -> Criu:
    """Put Debian's CRIU into the state directory, in the place of one that is there; takes some 10 s.

    Parameters
    ----------
    state : Path
        State directory.
    progress : callable
        Called with a line for each step.
    mirror : str or None
        Address of a Debian mirror; None takes this machine's.

    Raises
    ------
    RuntimeFailure
        If it can't be had, or does not run here.
    """
    state.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".criu-", dir=state))
    try:
        building.chmod(0o755)
        new = building / "new"
        new.mkdir()
        bootstrap(new / "root", _SUITE, ["criu"], progress, variant="extract", mirror=mirror)
        _write_script(new)
        progress(f"CRIU {_text(Criu(new / 'criu').version)}")
        if _own(state).exists():
            _own(state).rename(building / "old")
        new.rename(_own(state))
    finally:
        remove_tree(building)
    return Criu(_own(state) / "criu")


def _write_script(directory: Path) -> None:
    """Write the script that runs it with the libraries it came with."""
    root = directory / "root"
    linkers = sorted(root.glob("usr/lib*/ld-linux*.so.*"))
    libraries = sorted(path.parent for path in root.glob("usr/lib/*/libc.so.6"))
    if not linkers or not libraries:
        raise RuntimeFailure("the packages of CRIU came without a dynamic linker or C library")
    script = directory / "criu"
    # Relative to the script, as the directory gets its name at last.
    script.write_text(
        "#!/bin/sh\n"
        "here=${0%/*}\n"
        f'exec "$here/root/{linkers[0].relative_to(root)}" '
        f'--library-path "$here/root/{libraries[0].relative_to(root)}" "$here/root/usr/sbin/criu" "$@"\n')
    script.chmod(0o755)
