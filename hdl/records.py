"""Records that travel between the stages of the core, beside or instead of the frame's bytes.

One :func:`meta_layout` goes through all look-up stages; each stage copies it and sets the fields that it found out. The
last one turns it into a :func:`verdict_layout`. Fields without a meaning for a frame are zero or do not matter.
"""

from enum import IntEnum

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .layouts import ADDRESS_BITS
from .stream import LENGTH_BITS

__all__ = ["FibOutcome", "TAG", "META", "VERDICT", "EVENT", "REFUSED", "HIT", "LEARN", "POLICE", "PASSED",
           "paired_layout", "queued_layout", "egress_layout", "owned_layout", "punted_layout", "TableSignature",
           "LEAST_LENGTH_BITS", "PORT_BITS", "ROUTER_BITS"]

#: A router number, the number for "none" included.
ROUTER_BITS = 11
#: A port number, the host port included.
PORT_BITS = 4
#: The least length of a frame that an IP header asks for, which may be more than there is.
LEAST_LENGTH_BITS = 17


class FibOutcome(IntEnum):
    """How a walk of the FIB ended."""

    MISS = 0
    HIT = 1
    FAULT = 2


#: Where a frame came from, known before its bytes are looked at.
TAG = data.StructLayout({
    "port": PORT_BITS,          # ingress port
    "injected": 1,              # from the host, for ``router`` and ``egress``
    "given": 1,                 # a tunnel's packet: ``router`` is to route it
    "router": ROUTER_BITS,
    "egress": PORT_BITS,
})

META = data.StructLayout({
    # tag, from the arbiter
    "port": PORT_BITS,
    "injected": 1,
    "given": 1,
    "router": ROUTER_BITS,      # injected or given: known; else set by the VMAC-VE stage (no_router if there is none)
    "egress": PORT_BITS,
    # parser
    "dmac": 48,
    "smac": 48,
    "group": 1,                 # destination is a broadcast or multicast address
    "reserved_group": 1,        # destination is 01:80:c2:00:00:00 to :0f
    "tagged": 1,                # an 802.1Q tag was taken off
    "tci": 16,                  # what it said; zero if there was none
    "ethertype": 16,            # behind the tag
    "ipv4": 1,                  # EtherType 0x0800
    "ipv6": 1,                  # EtherType 0x86DD
    "good_header": 1,           # of IPv4 or IPv6, as far as the header alone tells
    "least_length": LEAST_LENGTH_BITS,  # bytes that a whole packet needs, 14 and total length, tag included
    "multicast": 1,             # IP multicast to be looked up, if the router wants it
    "options": 1,               # IHL > 5, or hop-by-hop options
    "ttl": 8,                   # or hop limit
    "tos": 8,                   # or traffic class
    "protocol": 8,              # or next header
    "checksum": 16,
    "checksum_ok": 1,           # also for IPv6, which has none
    "total_length": 17,         # of the IP packet
    "ip_source": ADDRESS_BITS,          # left-aligned
    "ip_destination": ADDRESS_BITS,
    "l4_source": 16,            # zero if they are not taken
    "l4_destination": 16,
    "l4_ports": 1,              # TCP or UDP, and they are taken
    # VMAC-VE
    "own": 1,                   # an OWN entry matched
    "peer": 1,                  # a PEER entry matched: ``peer_router`` is set
    "peer_router": 10,
    "segment": 1,               # a SEGMENT entry matched: ``segment_router`` is set
    "segment_router": 10,
    "segment_guard": 1,         # the SEGMENT entry says so
    # context
    "enable": 1,                # enabled, and the mode is a known one
    "mode": 2,
    "guarded": 1,               # ingress port is in ``guard``, or the segment is guarded
    "asks": 1,                  # ingress port is in ``group``
    "ports": 8,
    "fib_base": 20,
    "fib_size": 19,
    "ipv4_root": 18,
    "ipv6_root": 18,
    "adj_base": 18,
    "adj_size": 19,
    "takes_multicast": 1,
    "mirror": 1,
    "learn": 1,
    "tunnels": 1,
    "filter_base": 12,
    "filter_size": 12,
    "policer_base": 12,
    "policer_size": 12,
    "mac_base": 18,
    "mac_size": 19,
    "flow_hash": 16,
    # filter
    "rule_hit": 1,
    "rule": 12,                 # row, absolute
    "action": 2,                # of the rule, zero if there is none; likewise the following
    "rule_ports": 8,
    "rule_mirror": 1,
    "set_class": 1,
    "traffic_class": 1,
    "police": 1,
    "rule_policer": 12,         # relative to the router's window
    "rule_changes": 1,          # any of the rewrites
    "rule_smac": 1,             # it sets the source MAC address
    "rule_tag": 1,              # it sets the VLAN id, or strips the tag
    # bridge
    "mac_hit": 1,
    "mac_port": PORT_BITS,
    "mac_vid": 12,
    # FIB
    "fib": 2,                   # FibOutcome
    "result": 18,               # adjacency, relative to adj_base
    # adjacency
    "adj_fault": 1,             # row outside the router's window or the table, or ECMP without an end
    "adj_kind": 3,
    "adj_port": PORT_BITS,
    "adj_mac": 48,              # MULTICAST: the fields of ADJACENCY_MULTICAST in its place
    "adj_mtu": 14,
    "adj_vid": 12,
})

#: What is to be done with a frame, once it is whole.
VERDICT = data.StructLayout({
    "router": ROUTER_BITS,
    "port": PORT_BITS,          # ingress port
    "copies": 8,                # data ports, one bit each; no copy at all: drop
    "reason": 5,                # of the copies to data ports; without any: of the drop
    "host": 1,                  # copy to the host, besides
    "host_reason": 5,
    "count_drop": 1,            # mirrored, but dropped: count ``reason`` besides
    "least_length": LEAST_LENGTH_BITS,  # a shorter frame is DROP_MALFORMED instead
    "traffic_class": 1,         # of the copies to data ports
    "host_class": 1,
    "group": 1,                 # to every router that asks for it, by the replicator
    "peer": 1,
    "peer_router": 10,
    "segment": 1,
    "segment_router": 10,
    # the tag that the frame came with; it is not in the frame that is stored
    "tagged": 1,
    "tci": 16,
    "keep_tag": 1,              # copies to data ports have that tag, else the one of PORT[router, egress]
    "own_source": 1,            # copies to data ports have PORT[router, egress].mac as their source
    "vid": 12,                  # not zero: without ``keep_tag``, copies to data ports have this VLAN id
    "untag": 1,                 # copies to data ports have no tag at all
    "entropy": 14,              # of the frame's flow, for the packets of tunnels
    # changes
    "set_dmac": 1,
    "dmac": 48,
    "set_ttl": 1,               # ``ttl``, and for IPv4 ``checksum``, take the place of those in the frame
    "ipv4": 1,                  # IPv4 with a good header
    "ipv6": 1,
    "ttl": 8,                   # already decremented
    "checksum": 16,             # already updated
    "l4_ports": 1,              # TCP or UDP behind a header of 20 bytes (IPv4), not a fragment
    "udp": 1,
    "total_length": 17,
    # effects, if the frame is whole and good
    "rule_hit": 1,              # count it for ``rule``
    "rule": 12,
    "rule_changes": 1,          # ACTION[rule] says what else to change
    "police_router": 1,         # policer rows, absolute; inside of window and table
    "router_policer": 12,
    "police_rule": 1,
    "rule_policer": 12,
    "learn": 1,                 # put (smac, port) into the MAC table's window
    "smac": 48,
    "mac_base": 18,
    "mac_size": 19,
})

#: One increment of a counter.
EVENT = data.StructLayout({"router": ROUTER_BITS, "port": PORT_BITS, "reason": 5})
#: A frame that the link engine drops, and who sent it.
REFUSED = data.StructLayout({"router": ROUTER_BITS, "reason": 5})
#: A frame of ``length`` bytes that a filter rule matched.
HIT = data.StructLayout({"rule": VERDICT["rule"].shape, "length": LENGTH_BITS})
#: A source address for a window of the MAC table.
LEARN = data.StructLayout({
    "mac": VERDICT["smac"].shape,
    "port": VERDICT["port"].shape,
    "vid": VERDICT["vid"].shape,    # circuit that it came in by; zero for other ports
    "base": VERDICT["mac_base"].shape,
    "size": VERDICT["mac_size"].shape,
})
#: A question to the policers: does the frame pass these buckets, if any?
POLICE = data.StructLayout({
    "router_en": 1,
    "router_row": VERDICT["router_policer"].shape,
    "rule_en": 1,           # charged only if the router's lets the frame pass
    "rule_row": VERDICT["rule_policer"].shape,
    "length": LENGTH_BITS,  # without FCS, as received
})
#: And their answer.
PASSED = data.StructLayout({"passed": 1})


def paired_layout(width: int) -> data.StructLayout:
    """A beat of a frame that is to be sent; all but ``data`` and ``last`` hold for every beat of the frame.

    The frame is as it was received, and ``length`` its length, tag included.
    """
    return data.StructLayout({"data": width, "last": 1, "length": LENGTH_BITS, "verdict": VERDICT})


def queued_layout(width: int) -> data.StructLayout:
    """A beat on its way into the frame buffer; all but ``data`` and ``last`` hold for every beat of the frame.

    The fields of :data:`VERDICT` mean the same here, with the filter rule's changes made; ``length`` is that of the
    frame as it is stored, without a tag.
    """
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS,
        **{name: VERDICT[name].shape for name in (
            "router", "port", "copies", "reason", "host", "host_reason", "traffic_class", "host_class",
            "group", "peer", "peer_router", "segment", "segment_router", "tagged", "tci", "keep_tag", "own_source",
            "entropy")},
        "host_tci": 16,         # the tag that the frame came with, for copies to the host: zero if there was none
    })


def egress_layout(width: int) -> data.StructLayout:
    """A beat from a data port's queues to the port; all but ``data`` and ``last`` hold for the whole frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS, "router": ROUTER_BITS,
        **{name: VERDICT[name].shape for name in ("tagged", "tci", "keep_tag", "own_source", "entropy")},
        "from_link": 1,         # it came in at the link port
    })


def owned_layout(width: int) -> data.StructLayout:
    """A beat of a whole frame of ``router``; all but ``data`` and ``last`` hold for every beat of the frame."""
    return data.StructLayout({"data": width, "last": 1, "length": LENGTH_BITS, "router": ROUTER_BITS})


def punted_layout(width: int) -> data.StructLayout:
    """A beat from the host port's queues to the enframer; all but ``data`` and ``last`` hold for the whole frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS, "router": ROUTER_BITS, "port": PORT_BITS, "reason": 5,
        "tci": 16,
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
