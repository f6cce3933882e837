"""Executables of the data-plane bench: the core with GMII MACs, or bare, Verilated with a harness that drives it."""

from pathlib import Path

from ...hdl.config import HOST_HEADER_BYTES
from ...hdl.layouts import CONTROL_OP, HOST_HEADER, HostFrameType, HostStatus, Opcode
from ..verilated.build import Harness

__all__ = ["HARNESS"]


def _host_header() -> str:
    """``host_frames.h``: where the host's frames have what."""
    status, opcode = CONTROL_OP["status"], CONTROL_OP["opcode"]
    return f"""#pragma once
#include <cstddef>
#include <cstdint>
namespace host {{
constexpr std::size_t HEADER_BYTES = {HOST_HEADER_BYTES}, OP_BYTES = {CONTROL_OP.size // 8};
constexpr std::size_t LENGTH_AT = {HOST_HEADER["length"].offset // 8};
constexpr std::size_t TYPE_AT = {HOST_HEADER["type"].offset // 8}, SEQUENCE_AT = {HOST_HEADER["sequence"].offset // 8};
constexpr std::size_t REASON_AT = {HOST_HEADER["reason"].offset // 8}, STATUS_AT = {status.offset // 8};
constexpr unsigned STATUS_SHIFT = {status.offset % 8}, STATUS_MASK = {(1 << status.width) - 1};
constexpr std::size_t OPCODE_AT = {opcode.offset // 8}, DATA_AT = {CONTROL_OP["data"].offset // 8};
constexpr unsigned OPCODE_SHIFT = {opcode.offset % 8}, OPCODE_MASK = {(1 << opcode.width) - 1};
constexpr std::uint8_t PUNT = {int(HostFrameType.PUNT)}, RESPONSE = {int(HostFrameType.RESPONSE)};
constexpr std::uint8_t OK = {int(HostStatus.OK)}, READ = {int(Opcode.READ)};
}}
"""


#: ``HARNESS.build(config, macs=...)`` gives the executable.
HARNESS = Harness("dataplane", Path(__file__).parent, {"host_frames.h": _host_header()})
