"""Executables of the data-plane bench: the core with GMII MACs, or bare, Verilated with a harness that drives it."""

from pathlib import Path

from amaranth.lib import wiring

from ...hdl.config import HOST_HEADER_BYTES, CoreConfig
from ...hdl.layouts import CONTROL_OP, HOST_HEADER, HostFrameType, HostStatus
from ...hdl.mac import gmii
from ..live.build import HARNESS, Progress, board_top, cached, source_key, verilate
from ..live.pins import config_header, flat_ports, model_pins

__all__ = ["bench_header", "build_bench", "compile_bench"]

_HERE = Path(__file__).parent
_SOURCE = _HERE / "bench.cpp"


def bench_header(ports: dict, config: CoreConfig, *, macs: bool) -> str:
    """``bench_pins.h``: functions that reach the model's ports and clocks, and where the host's frames have what."""
    kind = "GmiiLine" if macs else "StreamLine"
    lines = "\n    ".join(f"lines.push_back(std::make_unique<{kind}>({pins}));"
                          for pins in model_pins(config, macs=macs))
    line_clocks = [name for name in ports if name.endswith("_clk")]
    per_line = config.clock_hz * 8 / gmii.LINE_RATE if macs else 1.0
    status = CONTROL_OP["status"]
    return f"""#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>
#include "Vboard.h"
#include "line.h"
namespace board {{
constexpr double CORE_CYCLES_PER_LINE_CYCLE = {per_line!r};
inline std::vector<std::unique_ptr<Line>> make_lines(Vboard &top) {{
    std::vector<std::unique_ptr<Line>> lines;
    {lines}
    return lines;
}}
inline void core_clock(Vboard &top, std::uint8_t level) {{ top.clk = level; }}
inline void line_clock(Vboard &top, std::uint8_t level) {{
    (void)top, (void)level;
    {" ".join(f"top.{name} = level;" for name in line_clocks)}
}}
}}
namespace host {{
constexpr std::size_t HEADER_BYTES = {HOST_HEADER_BYTES}, OP_BYTES = {CONTROL_OP.size // 8};
constexpr std::size_t TYPE_AT = {HOST_HEADER["type"].offset // 8}, SEQUENCE_AT = {HOST_HEADER["sequence"].offset // 8};
constexpr std::size_t REASON_AT = {HOST_HEADER["reason"].offset // 8}, STATUS_AT = {status.offset // 8};
constexpr unsigned STATUS_SHIFT = {status.offset % 8}, STATUS_MASK = {(1 << status.width) - 1};
constexpr std::uint8_t RESPONSE = {int(HostFrameType.RESPONSE)}, OK = {int(HostStatus.OK)};
}}
"""


def build_bench(config: CoreConfig, *, macs: bool = True, progress: Progress | None = None) -> Path:
    """Executable of the bench; built if there is none yet for these sources and parameters.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    macs : bool
        The core with its GMII MACs, or bare, at its frame streams.
    progress : Progress
        Is told what is being done.

    Raises
    ------
    BuildError
        If a step fails.
    """
    key = source_key([config.as_dict(), macs], [
        *sorted(_HERE.glob("*.cpp")), *sorted(_HERE.glob("*.h")), _HERE / "build.py",
        *(HARNESS / name for name in ("build.py", "pins.py", "top.py", "fcs.h", "model_pins.h"))])

    def make(directory: Path) -> None:
        compile_bench(board_top(config, macs=macs), config, directory, macs=macs, progress=progress)

    return cached("dataplane", key, make, progress)


def compile_bench(top: wiring.Component, config: CoreConfig, directory: Path, *, macs: bool,
                  progress: Progress | None = None) -> Path:
    """Compile a top component, with the harness, into ``directory/board``.

    Raises
    ------
    BuildError
        If a step fails.
    """
    ports = flat_ports(top)
    headers = {"board_config.h": config_header(config, has_idle="idle" in ports),
               "bench_pins.h": bench_header(ports, config, macs=macs)}
    return verilate(top, directory, headers, [_SOURCE], includes=[_HERE, HARNESS], progress=progress)
