"""Root file systems of Debian's packages, made by mmdebstrap from the mirror that this machine's apt is set up with."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..progress import Progress
from .base import RuntimeFailure

__all__ = ["apt_options", "bootstrap", "debian_sources", "output"]

_UNVERSIONED = frozenset({"sid", "unstable", "experimental"})
_EXCLUDED = ("man", "doc", "info", "locale", "lintian")
#: Of apt's settings, those that say how to reach a mirror.
_ACQUIRE = re.compile(r"Acquire::(https?|ftp|tor|Retries|ForceIPv[46]|Check-Valid-Until|Check-Date|Max-FutureTime)\b")


def debian_sources(suite: str, targets: str, host_suite: str) -> list[str]:
    """Lines of a sources.list for a suite on the mirrors that this machine takes Debian from.

    Parameters
    ----------
    suite : str
    targets : str
        Output of `apt-get indextargets` with the format ``$(SITE)|$(ORIGIN)|$(RELEASE)``.
    host_suite : str
        The machine's own suite if it runs Debian, else "". The origin of a mirror is only known after a first
        `apt-get update`; before, a source that offers the machine's own suite counts as Debian's.

    Returns
    -------
    list of str
        Empty if the machine takes nothing from a Debian mirror, as on Ubuntu; mmdebstrap has a mirror of its own then.
    """
    main: list[str] = []
    security: list[str] = []
    updates = False
    for line in targets.splitlines():
        site, origin, release = [*line.split("|"), "", ""][:3]
        known = origin if not origin.startswith("$(") else ""
        if known not in ("", "Debian") or (not known and not (host_suite and release.startswith(host_suite))):
            continue
        if "security" in release:
            security.append(site)
        elif release.endswith("-updates"):
            updates = True
            main.append(site)
        elif "backports" not in release:
            main.insert(0, site)
    if not main:
        return []
    lines = [f"deb {main[0]} {suite} main"]
    if suite not in _UNVERSIONED:
        if updates:
            lines.append(f"deb {main[0]} {suite}-updates main")
        if security:
            lines.append(f"deb {security[0]} {suite}-security main")
    return lines


def apt_options(dump: str, netrc: str = "", netrc_parts: str = "") -> list[str]:
    """Of this machine's apt configuration what is needed to reach its mirrors: proxies, certificates, passwords.

    mmdebstrap runs the machine's apt, but with a configuration of its own.

    Parameters
    ----------
    dump : str
        Output of `apt-config dump`.
    netrc, netrc_parts : str
        File and directory of passwords, with full paths; "" if there is none.
    """
    options = [line for line in dump.splitlines() if _ACQUIRE.match(line) and not line.endswith(' "";')]
    if netrc:
        options.append(f'Dir::Etc::netrc "{netrc}";')
    if netrc_parts:
        options.append(f'Dir::Etc::netrcparts "{netrc_parts}";')
    return options


def output(*command: str) -> str:
    """What a program prints.

    Raises
    ------
    RuntimeFailure
        If it is not installed, or fails; the message has its own.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise RuntimeFailure(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise RuntimeFailure(f"{shlex.join(command)}: {error.stderr.strip()}") from None


def _host_sources(suite: str) -> list[str]:
    fields = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    host_suite = fields.get("VERSION_CODENAME", "").strip('"') if fields.get("ID", "").strip('"') == "debian" else ""
    return debian_sources(
        suite, output("apt-get", "indextargets", "--format", "$(SITE)|$(ORIGIN)|$(RELEASE)"), host_suite
    )


def _host_apt_options() -> list[str]:
    paths = []
    for key in ("Dir::Etc::netrc/f", "Dir::Etc::netrcparts/d"):
        # The answer is a line of shell: value='/etc/apt/auth.conf'
        answer = shlex.split(output("apt-config", "shell", "value", key))
        path = answer[0].partition("=")[2] if answer else ""
        paths.append(path if path and os.path.exists(path) else "")
    return apt_options(output("apt-config", "dump"), *paths)


def _terminate(process: "subprocess.Popen[str]") -> None:
    """End a process group, by force if it doesn't in ten seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
            return


def bootstrap(rootfs: Path, suite: str, packages: Sequence[str], progress: Progress, *, variant: str = "minbase",
              mirror: str | None = None, lock: int | None = None) -> None:
    """Make a root file system.

    Parameters
    ----------
    rootfs : Path
        Directory that is not there yet.
    suite : str
        Of Debian.
    packages : sequence of str
        Besides those of the variant.
    progress : callable
        Called with a line for each step.
    variant : str
        Of mmdebstrap: "minbase", or "extract" for the packages' files without anything of them being run.
    mirror : str or None
        Address of a Debian mirror; None takes this machine's.
    lock : int or None
        Descriptor that is held while it is made.

    Raises
    ------
    RuntimeFailure
        The message has the end of what mmdebstrap said.
    """
    sources = [f"deb {mirror} {suite} main"] if mirror else _host_sources(suite)
    command = ["mmdebstrap", f"--variant={variant}", "--format=directory", f"--include={','.join(packages)}"]
    for part in _EXCLUDED:
        command.append(f"--dpkgopt=path-exclude=/usr/share/{part}/*")
    command.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    # A build that a power failure interrupts is thrown away anyway.
    command.append("--dpkgopt=force-unsafe-io")
    command += [f"--aptopt={option}" for option in _host_apt_options()]
    _run([*command, suite, str(rootfs), *sources], lock, progress)
    # Addresses of mirrors and proxies may hold passwords.
    for pattern in ("apt.conf.d/*mmdebstrap", "sources.list", "sources.list.d/*", "auth.conf.d/*"):
        for file in (rootfs / "etc/apt").glob(pattern):
            file.unlink()


def _run(command: list[str], lock: int | None, progress: Progress) -> None:
    try:
        # A group of its own: Ctrl-C at the terminal reaches only this process, which ends the group in order.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Should this process be killed, whoever builds next waits until mmdebstrap has ended.
            pass_fds=() if lock is None else (lock,),
        )
    except FileNotFoundError:
        raise RuntimeFailure("mmdebstrap is not installed; it is a Debian package of that name") from None
    said: list[str] = []
    with process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                said.append(line.rstrip())
                if line.startswith("I: ") and line.rstrip().endswith("..."):
                    progress(line[3:].rstrip().removesuffix("..."))
        except BaseException:
            _terminate(process)
            raise
    if process.returncode:
        tail = "\n".join(line for line in said[-30:] if not line.startswith("I: "))
        raise RuntimeFailure(f"mmdebstrap ended with code {process.returncode}:\n{tail}")
