"""Records that travel between the stages of the core, beside or instead of the frame's bytes.

One :func:`meta_layout` goes through all look-up stages; each stage copies it and sets the fields that it found out. The
last one turns it into a :func:`verdict_layout`. Fields without a meaning for a frame are zero or do not matter.
"""

from enum import IntEnum

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .layouts import ADDRESS_BITS
from .stream import LENGTH_BITS

__all__ = ["FibOutcome", "TAG", "META", "VERDICT", "EVENT", "queued_layout", "punted_layout", "TableSignature",
           "ROUTER_BITS", "PORT_BITS"]

#: A router number, the number for "none" included.
ROUTER_BITS = 11
#: A port number, the host port included.
PORT_BITS = 4


class FibOutcome(IntEnum):
    """How a walk of the FIB ended."""

    MISS = 0
    HIT = 1
    FAULT = 2


#: Where a frame came from, known before its bytes are looked at.
TAG = data.StructLayout({
    "port": PORT_BITS,          # ingress port
    "injected": 1,              # from the host, for ``router`` and ``egress``
    "router": ROUTER_BITS,
    "egress": PORT_BITS,
})

META = data.StructLayout({
    # tag and length, from the arbiter
    "port": PORT_BITS,
    "injected": 1,
    "router": ROUTER_BITS,      # injected: given; else set by the VMAC-VE stage (no_router if there is none)
    "egress": PORT_BITS,
    "length": LENGTH_BITS,      # of the whole frame
    # parser
    "dmac": 48,
    "smac": 48,
    "group": 1,                 # destination is a broadcast or multicast address
    "ipv4": 1,                  # EtherType 0x0800
    "ipv6": 1,                  # EtherType 0x86DD
    "malformed": 1,
    "options": 1,               # IHL > 5, or hop-by-hop options
    "ttl": 8,                   # or hop limit
    "checksum": 16,
    "checksum_ok": 1,           # also for IPv6, which has none
    "total_length": 17,         # of the IP packet
    "ip_source": ADDRESS_BITS,          # left-aligned
    "ip_destination": ADDRESS_BITS,
    # VMAC-VE
    "own": 1,                   # an OWN entry matched: ``router`` is set
    "peer": 1,                  # a PEER entry matched: ``peer_router`` is set
    "peer_router": 10,
    # context
    "enable": 1,                # enabled, and mode is ROUTED
    "guarded": 1,               # ingress port is in ``guard``
    "ports": 8,
    "fib_base": 20,
    "fib_size": 19,
    "ipv4_root": 18,
    "ipv6_root": 18,
    "adj_base": 18,
    "adj_size": 19,
    # FIB
    "fib": 2,                   # FibOutcome
    "result": 18,               # adjacency, relative to adj_base
    # adjacency
    "adj_fault": 1,             # row outside the router's window or the table
    "adj_kind": 3,
    "adj_port": PORT_BITS,
    "adj_mac": 48,
    "adj_mtu": 14,
    "own_mac": 48,              # the router's own address on ``adj_port``
})

#: What is to be done with a frame.
VERDICT = data.StructLayout({
    "send": 1,                  # to a queue; else dropped
    "router": ROUTER_BITS,
    "port": PORT_BITS,          # ingress port
    "reason": 5,
    "egress": PORT_BITS,        # queue; the host port for punts
    "group": 1,                 # to every router that asks for it, by the replicator
    "peer": 1,
    "peer_router": 10,
    "rewrite": 1,               # put the following in place
    "dmac": 48,
    "smac": 48,
    "ipv6": 1,                  # ``ttl`` is a hop limit, and there is no checksum
    "ttl": 8,                   # already decremented
    "checksum": 16,             # already updated
})

#: One increment of a counter.
EVENT = data.StructLayout({"router": ROUTER_BITS, "port": PORT_BITS, "reason": 5})


def queued_layout(width: int) -> data.StructLayout:
    """A beat on its way into the frame buffer; all but ``data`` and ``last`` hold for every beat of the frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS,
        "router": ROUTER_BITS, "port": PORT_BITS, "reason": 5, "egress": PORT_BITS,
        "group": 1, "peer": 1, "peer_router": 10,
    })


def punted_layout(width: int) -> data.StructLayout:
    """A beat from the host port's queue to the enframer; all but ``data`` and ``last`` hold for the whole frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS, "router": ROUTER_BITS, "port": PORT_BITS, "reason": 5,
    })


def TableSignature(addr_width: int, row_width: int) -> wiring.Signature:
    """Access to a table by the control engine, which has the ``Out`` side.

    ``stb`` is held, with the other outputs stable, until ``ack`` is high for one cycle; ``r_data`` is valid in the
    cycle of ``ack``. A write replaces the whole row. The stage may take any number of cycles, but must always ack.
    """
    return wiring.Signature({
        "stb": Out(1), "write": Out(1), "addr": Out(addr_width), "w_data": Out(row_width),
        "ack": In(1), "r_data": In(row_width),
    })
