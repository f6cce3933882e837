"""What is kept of queues and of the copies in them: rows, descriptors, states."""

from amaranth.hdl import signed
from amaranth.lib import data
from amaranth.utils import bits_for

from .config import CoreConfig
from .layouts import RATE_FRACTION, SHAPER_ROW, TrafficClass
from .mac.gmii import FCS_BYTES, LINE_OVERHEAD
from .records import PORT_BITS, ROUTER_BITS, VERDICT
from .stream import LENGTH_BITS
from .table import table_addr_bits

__all__ = [
    "CHARGE_BITS", "COUNT_BITS", "LINE_BYTES", "TOKENS", "cell_count_bits", "copy_layout", "descriptor_layout",
    "least_quantum", "queue_row_bits", "queue_rows", "shaper_rows", "state_layout",
]

#: Byte times of a line that a frame takes besides its charge: those of preamble and gap.
LINE_BYTES = LINE_OVERHEAD - FCS_BYTES
#: Bits of a frame's charge, which is its length with FCS.
CHARGE_BITS = LENGTH_BITS + 1
#: Bits of a count of frames: at 1 Gb/s of the shortest frames it takes six years to wrap.
COUNT_BITS = 48
#: Tokens of a shaper, in bytes * 2**-RATE_FRACTION; below zero by one frame at most.
TOKENS = signed(SHAPER_ROW["burst"].width + RATE_FRACTION + 1)


def queue_rows(config: CoreConfig) -> int:
    """Rows of memories that have one for each router, "none" included, at each port: ``router * all_ports + port``."""
    return (config.routers + 1) * config.all_ports


def shaper_rows(config: CoreConfig) -> int:
    """Rows of the SHAPER table: the same without router "none"."""
    return config.routers * config.all_ports


def queue_row_bits(config: CoreConfig) -> int:
    """Bits of such a row's number."""
    return table_addr_bits(queue_rows(config))


def least_quantum(config: CoreConfig) -> int:
    """Least quantum of deficit round robin, in byte times: what the longest frame takes of a line."""
    return config.max_frame + LINE_BYTES


def cell_count_bits(config: CoreConfig) -> int:
    """Bits of a number of cells of one frame; the length may be any that fits its field."""
    return bits_for(((1 << LENGTH_BITS) - 1) // config.cell_bytes + 1)


def descriptor_layout(config: CoreConfig) -> data.StructLayout:
    """One copy of a frame in the buffer."""
    return data.StructLayout({
        "cell": table_addr_bits(config.cells),      # the first one
        "length": LENGTH_BITS,
        "sole": 1,                  # there is no other copy of these cells: free them one by one
        "group": 1,                 # a copy by the replicator: the cells are those of router "none"
        "router": ROUTER_BITS,
        "port": PORT_BITS,          # ingress port
        "reason": 5,                # of the punt, at the host port
        "tagged": 1,
        "tci": 16,
        "keep_tag": 1,
        "own_source": 1,
        # for the link port
        **({"from_link": 1, "entropy": VERDICT["entropy"].width} if config.circuits else {}),
    })


def copy_layout(config: CoreConfig) -> data.StructLayout:
    """One copy on its way into a queue, or one that was refused already."""
    return data.StructLayout({
        "row": queue_row_bits(config),      # router and port
        "port": range(config.all_ports),
        "traffic_class": 1,
        "refused": 1,               # the frame isn't stored: only count it
        "nowhere": 1,               # besides, there is no such port
        "reason": 5,                # to be counted if the copy is accepted
        "descriptor": descriptor_layout(config),
    })


def state_layout(config: CoreConfig) -> data.StructLayout:
    """A router's queues at a port. All zero: empty."""
    descriptor = table_addr_bits(config.cells)
    return data.StructLayout({
        "classes": data.ArrayLayout(data.StructLayout({
            "filled": 1,            # has frames
            "listed": 1,            # is on the port's active list; filled and not listed: waits for the shaper
            "head": descriptor,
            "tail": descriptor,
            "charge": CHARGE_BITS,  # of the head frame
            "alone": 1,             # when the last frame was sent, no other router waited
            "deficit": 1 + SHAPER_ROW["quantum"].width,
        }), len(TrafficClass)),
        "depth": range(config.queue_frames + 1),
        "high_water": range(config.queue_frames + 1),
    })
