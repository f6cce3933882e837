"""Seeded single-line faults in the RTL: each must make a test fail.

``FAULTS`` lists them. One test checks that each still applies, to exactly one line; the other plants each in a copy of
the project and runs the tests that should notice.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hdl", "boards", "sim", "host")


class Fault(NamedTuple):
    """``line`` of ``file`` becomes ``becomes``; one of ``tests`` has to fail."""

    name: str
    file: str
    line: str
    becomes: str
    tests: str


FAULTS = [
    Fault("a counter's sum is short by a carry", "hdl/counters.py",
          "read.data + 1))", "Cat(read.data[:8] + 1, read.data[9:])))", "tests/unit/hdl/test_counters.py"),
    Fault("an event is lost while a counter is accessed", "hdl/counters.py",
          "m.d.comb += [read.en.eq(1), take.eq(~start)]", "m.d.comb += [read.en.eq(1), take.eq(1)]",
          "tests/unit/hdl/test_counters.py"),
    Fault("frames may be one beat too long", "hdl/ingress.py",
          "excess.eq(beats == longest_beats),", "excess.eq(beats == longest_beats + 1),",
          "tests/unit/hdl/test_ingress.py"),
    Fault("a dropped frame's beats stay in the buffer", "hdl/ingress.py",
          "head.eq(Mux(good, head + 1, start)),", "head.eq(Mux(good, head + 1, head)),",
          "tests/unit/hdl/test_ingress.py"),
    Fault("the row behind the FIB window is inside", "hdl/fib_ring.py",
          "with m.If(walk.active & ((walk.row >= walk.size) | (pool_row >= self._words))):",
          "with m.If(walk.active & ((walk.row > walk.size) | (pool_row >= self._words))):",
          "tests/unit/hdl/test_fib.py"),
    Fault("a read of the FIB that missed counts as done", "hdl/fib_ring.py",
          "with m.If(walk.active & ~walk.missed):", "with m.If(walk.active):", "tests/unit/hdl/test_fib.py"),
    Fault("a walk of the FIB goes on from its neighbour's level", "hdl/fib_ring.py",
          "after.level.eq(walk.level + 1),", "after.level.eq(stages[4].level + 1),",
          "tests/formal/test_fib_isolation.py"),
    Fault("the control engine takes reads of the FIB away without a rest", "hdl/fib_pool.py",
          "start.eq(self.table.stb & ~self.table.ack & (~self.second.en | (resting == 0))),",
          "start.eq(self.table.stb & ~self.table.ack),", "tests/unit/hdl/test_fib_pool.py"),
    Fault("the last bit of a leaf is not compared", "hdl/fib_ring.py",
          "covered = [bit & (k >= _LEAF_BITS - leaf.length)", "covered = [bit & (k > _LEAF_BITS - leaf.length)",
          "tests/unit/hdl/test_fib_compiled.py"),
    Fault("every record gets the first ring's outcome", "hdl/fib.py",
          "outcome.eq(Array(ring.o.payload.as_value() for ring in self.rings)[leaving]),",
          "outcome.eq(self.rings[0].o.payload),", "tests/unit/hdl/test_fib.py"),
    Fault("an IPv6 header's version is not looked at", "hdl/parser.py",
          "bad_header.eq((Ipv6.VERSION.of(octets)[4:] != 6) | (length < _IPV6_END)),",
          "bad_header.eq(length < _IPV6_END),", "tests/unit/hdl/test_parser.py"),
    Fault("a packet whose TTL ends is forwarded", "hdl/verdict.py",
          "tests.ttl_ends.eq(meta.ttl <= 1),", "tests.ttl_ends.eq(meta.ttl < 1),", "tests/unit/hdl/test_verdict.py"),
    Fault("the hop limit is put where IPv4 has its TTL", "hdl/rewrite.py",
          "for which, bytes_ in (Const(1), ethernet), (~verdict.ipv6, ipv4), (verdict.ipv6, ipv6):",
          "for which, bytes_ in (Const(1), ethernet), (Const(1), ipv4), (verdict.ipv6, ipv6):",
          "tests/unit/hdl/test_rewrite.py"),
    Fault("a gap between frames is a byte short", "hdl/mac/tx.py",
          "with m.If(step == GAP_BYTES - 2):", "with m.If(step == GAP_BYTES - 3):", "tests/unit/hdl/mac/test_tx.py"),
    Fault("the FCS of padded frames leaves out the last byte of padding", "hdl/mac/tx.py",
          "m.d.comb += [enable.eq(1), crc.valid.eq(1)]",
          "m.d.comb += [enable.eq(1), crc.valid.eq(length != least - 1)]",
          "tests/unit/hdl/mac/test_tx.py"),
    Fault("an inject for a port that isn't there gets through", "hdl/deframer.py",
          "& (header.router < config.routers) & (header.port < config.ports)),",
          "& (header.router < config.routers) & (header.port <= config.ports)),",
          "tests/unit/hdl/test_deframer.py"),
    Fault("a cell counts as free a cycle before it can be taken", "hdl/cells.py",
          "returning.eq(self.free),", "self.available.eq(self.available + self.free),",
          "tests/formal/test_queues.py tests/unit/hdl/test_buffer.py"),
    Fault("the grant moves in the middle of a frame", "hdl/arbiter.py",
          "turn.advance.eq(~busy | done),", "turn.advance.eq(1),", "tests/unit/hdl/test_arbiter.py"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_applies(fault):
    assert (ROOT / fault.file).read_text().count(fault.line) == 1
    for path in fault.tests.split():
        assert (ROOT / path).exists()


def plant(fault: Fault, where: Path) -> None:
    """Copy the project, with the fault in it."""
    for folder in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / folder, where / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", where)
    packages = where / "path" / "polyrouter"
    packages.mkdir(parents=True)
    for folder in PACKAGES:
        (packages / folder).symlink_to(where / folder)
    faulty = where / fault.file
    faulty.write_text(faulty.read_text().replace(fault.line, fault.becomes))


def run(where: Path, log: Path, *arguments: str) -> int:
    """Exit code of Python in the copy, whose packages come ahead of the installed project's in the path."""
    environment = os.environ | {"PYTHONPATH": str(where / "path")}
    environment.pop("PYTEST_XDIST_WORKER", None)
    with log.open("w") as output:
        return subprocess.run([sys.executable, *arguments], cwd=where, env=environment, stdout=output,
                              stderr=output).returncode


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_caught(fault, tmp_path):
    where, log = tmp_path / "copy", tmp_path / "log"
    plant(fault, where)
    assert run(where, log, "-c", "import polyrouter.hdl.config as it; print(it.__file__)") == 0
    assert Path(log.read_text().strip()).is_relative_to(where)
    code = run(where, log, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout", "100", "-m", "not slow",
               *fault.tests.split())
    text = log.read_text()
    # 1: tests ran, and one failed; a copy that can't be imported or collected would be another code
    assert code == 1 and "1 failed" in text.splitlines()[-1], text[-3000:]
