"""Every table row, host-frame header and enumeration of the data plane, declared once.

The RTL instantiates these layouts, the host driver packs and unpacks rows with :func:`pack` and :func:`unpack`,
the golden model reads them, and ``docs/registers.md`` is generated from them. A row wider than 64 bits is accessed
as consecutive 64-bit words, least significant first.
"""

from enum import IntEnum

from amaranth.lib import data

__all__ = [
    "Reason", "RxError", "RouterMode", "AdjacencyKind", "FilterAction", "Table", "Opcode", "OpStatus", "HostFrameType",
    "HostStatus", "HostLinkKind", "LinkKind", "Role", "Info", "Register", "BoardRow", "QueueStat", "HitStat",
    "TrafficClass", "HOST_ETHERTYPE", "HOST_VERSION", "BOARD_MAC", "MAX_OPS", "QUEUE_STATS", "REASONS",
    "ADDRESS_BITS", "RESULTS_PER_WORD", "FIB_LEVELS", "FIB_LEVELS_IPV6", "INFO_MAGIC",
    "HOST_HEADER", "CONTROL_OP", "VMAC_ROW", "CONTEXT_ROW", "PORT_ROW", "FIB_BRANCH", "FIB_LEAF", "FIB_RESULTS",
    "FIB_WORD_BITS", "ADJACENCY_ROW", "ADJACENCY_ECMP", "ADJACENCY_MULTICAST", "FILTER_KEY", "FILTER_ROW", "ACTION_ROW",
    "POLICER_ROW", "SHAPER_ROW", "QUOTA_ROW", "MAC_ROW", "ECMP_KEY_BITS", "ECMP_HASH_BITS", "RATE_FRACTION", "MAC_AGES",
    "LINK_ROW", "TERMINATION_KEY", "TERMINATION_ROW", "TUNNEL", "TunnelKind",
    "BOARD_VERSION", "BOARD_NAME_BYTES", "BOARD_PORTS", "BOARD_ROWS", "BOARD_WRITABLE", "BOARD_IDENTITY",
    "BOARD_MDIO", "BOARD_WATCHDOG", "BOARD_PORT_BITS", "BOARD_LEDS", "BOARD_PHY", "BOARD_LAYOUTS", "WATCHDOG_UNIT",
    "ROWS", "VMAC_KEY_BITS", "row_words", "pack", "unpack",
]

#: Local experimental EtherType 1 (IEEE 802, clause 9.2.4) of all frames on the host port.
HOST_ETHERTYPE = 0x88B5
HOST_VERSION = 1
#: Source address of every frame from the board's host port, as on the wire: 02, and "poly" cut short.
BOARD_MAC = bytes.fromhex("02706f6c7900")
#: Accesses that one request frame may carry.
MAX_OPS = 64
#: Rows that a port has in the queue table; statistics not in :class:`QueueStat` are not there.
QUEUE_STATS = 8
#: Row 0 of the information table: "polyrout" in ASCII.
INFO_MAGIC = int.from_bytes(b"polyrout", "big")


class Reason(IntEnum):
    """What became of a frame. Every frame, and every copy of a replicated one, is counted under exactly one."""

    FORWARDED = 0           # routed by the hardware to a data port
    INJECTED = 1            # sent by the host through a router's port
    PUNT_GROUP = 2          # broadcast or multicast, copied to a router that asks for it
    PUNT_NOT_IP = 3         # EtherType other than IPv4 and IPv6
    PUNT_LOCAL = 4          # addressed to the router itself
    PUNT_OPTIONS = 5        # IPv4 header longer than 20 bytes, or IPv6 hop-by-hop options
    PUNT_TTL = 6            # TTL or hop limit 0 or 1
    PUNT_NO_ROUTE = 7       # no route, or one of type unreachable
    PUNT_UNRESOLVED = 8     # next hop's MAC address is not known yet
    PUNT_MTU = 9            # longer than the egress port's MTU
    DROP_FCS = 10           # bad FCS, or an error signalled by the PHY
    DROP_LENGTH = 11        # shorter or longer than allowed
    DROP_OVERFLOW = 12      # the ingress buffer was full
    DROP_NO_ROUTER = 13     # no router for this destination MAC address on this port
    DROP_DISABLED = 14      # the router is disabled, or not on this port
    DROP_SOURCE = 15        # guarded port, and the source MAC address is not a peer of the router
    DROP_MALFORMED = 16     # IP header truncated or inconsistent (RFC 1812, 5.2.2; RFC 8200, 3)
    DROP_CHECKSUM = 17      # IPv4 header checksum wrong
    DROP_BLACKHOLE = 18     # route of type blackhole
    DROP_FAULT = 19         # a table row outside the router's window, or a port that is not the router's
    DROP_QUEUE = 20         # the egress port's queue or the frame buffer was full
    DROP_PUNT_QUEUE = 21    # the host port's queue or the frame buffer was full
    DROP_INJECT = 22        # the host injected for a router that is disabled or not on that port
    DROP_HOST = 23          # malformed frame from the host
    BRIDGED = 24            # by a bridged router to a data port, found or flooded
    SWITCHED = 25           # to the port of a filter rule
    PUNT_FILTER = 26        # by a filter rule
    PUNT_MIRROR = 27        # copy for capture
    DROP_FILTER = 28        # by a filter rule, or none matched in a flow-switched router
    DROP_POLICER = 29       # more than the router's or the rule's policer lets through
    DROP_RPF = 30           # multicast that came in on another port than the one towards its source
    DROP_NO_PORT = 31       # no port is left to send it to


#: Counters a router has for each port; reasons not in :class:`Reason` stay zero.
REASONS = 32


class RxError(IntEnum):
    """``error`` of the last beat of a received frame."""

    NONE = 0
    FCS = 1
    LENGTH = 2
    PHY = 3


class RouterMode(IntEnum):
    """What a router does with a frame."""

    ROUTED = 0              # IP forwarding; everything else is punted
    BRIDGED = 1             # IEEE 802.1D: forwarded by learned MAC addresses, whatever is inside
    SWITCHED = 2            # only the filter table decides


class TrafficClass(IntEnum):
    """Queues that a router has at each port; the higher one is served first."""

    NORMAL = 0
    CONTROL = 1


class Role(IntEnum):
    """What a VMAC-VE entry says of a MAC address on a port."""

    OWN = 0                 # it is the router's: matched against a frame's destination
    PEER = 1                # it is a neighbour's: matched against a frame's source
    SEGMENT = 2             # MAC address zero: the router owns this VLAN of this port


class TunnelKind(IntEnum):
    """What carries a tunnel's frames: GRE with a key (RFC 2784, RFC 2890), or VXLAN (RFC 7348)."""

    GRE = 0
    VXLAN = 1


class LinkKind(IntEnum):
    """Where a frame goes that leaves the link port on a circuit."""

    NONE = 0                # nowhere: there is no such circuit
    DIRECT = 1              # it comes in again on circuit ``peer``
    TUNNEL = 2              # into an IP packet of the router ``underlay``
    LIST = 3                # to each circuit of a list, from ``next`` on


class AdjacencyKind(IntEnum):
    """What is done with a frame whose route points at this adjacency."""

    INVALID = 0             # drop, as a fault
    FORWARD = 1             # rewrite and send
    LOCAL = 2               # punt: the router's own address
    UNRESOLVED = 3          # punt: the next hop's MAC address is not known yet
    BLACKHOLE = 4           # drop
    UNREACHABLE = 5         # punt, for an ICMP error
    ECMP = 6                # one of several adjacencies, by flow: see ADJACENCY_ECMP
    MULTICAST = 7           # a set of ports: see ADJACENCY_MULTICAST


class FilterAction(IntEnum):
    """What a filter rule does with a frame, besides its rewrites."""

    PERMIT = 0              # go on as if there were no filter
    DROP = 1
    PUNT = 2
    SEND = 3                # to ``ports``, without asking FIB or MAC table


class Table(IntEnum):
    """Tables of the control engine."""

    INFO = 0
    REGISTER = 1
    VMAC = 2
    CONTEXT = 3
    PORT = 4
    FIB = 5
    ADJACENCY = 6
    COUNTER = 7
    QUEUE = 8
    FILTER = 9
    ACTION = 10
    HIT = 11
    POLICER = 12
    MAC = 13
    SHAPER = 14
    QUOTA = 15
    LINK = 16
    TERMINATION = 17
    BOARD = 18


class Info(IntEnum):
    """Rows of the information table (read only)."""

    MAGIC = 0
    PORTS = 1
    ROUTERS = 2
    DATA_WIDTH = 3
    VMAC_SLOTS = 4
    FIB_WORDS = 5
    ADJACENCIES = 6
    BUFFER_BYTES = 7
    CELL_BYTES = 8
    QUEUE_FRAMES = 9
    MAX_FRAME = 10
    HAS_MACS = 11
    FILTER_RULES = 12
    POLICERS = 13
    MAC_ROWS = 14
    CLOCK_HZ = 15           # core clock
    POLICER_CYCLES = 16     # core cycles from one refill of a policer to the next
    SHAPER_CYCLES = 17      # core cycles from one refill of a shaper to the next, on average
    CIRCUITS = 18           # rows of the LINK and TERMINATION tables; 0: there is no link port


class Register(IntEnum):
    """Rows of the register table; 64 bits each. Zero after reset, but for SHARED_CELLS."""

    HASH_SEED_0 = 0
    HASH_SEED_1 = 1
    EPOCH = 2               # free for the host: tells whether the board was reset since it was written
    MAC_AGE_CYCLES = 3      # core cycles after which learned MAC addresses are one step older; 0: they don't age
    SHARED_CELLS = 4        # cells beyond what quotas reserve; all cells after reset


class HostLinkKind(IntEnum):
    """How the host gets to a board."""

    PORT = 0                # a port of its own
    AUTHENTICATED = 1       # authenticated frames on a data port
    UART = 2


class BoardRow(IntEnum):
    """Rows of the board table; 64 bits each. Row ``PHY + p`` is that of the board's port ``p``; others read as zero.

    Only MDIO, WATCHDOG, LOOPBACK and LEDS can be written.
    """

    IDENTITY = 0            # BOARD_IDENTITY
    NAME_LOW = 1            # what board this is, in ASCII: first character in the lowest byte, zeros behind the last
    NAME_HIGH = 2           # characters 8 to 15
    MDIO = 3                # BOARD_MDIO
    WATCHDOG = 4            # BOARD_WATCHDOG
    LOOPBACK = 5            # BOARD_PORT_BITS: ports whose MAC hears what it sends
    LEDS = 6                # BOARD_LEDS
    ACCEPTED = 8            # frames that the host link gave on; since reset, modulo 2**32, as all down to FRAMING
    GREETED = 9             # authentic requests for the board's nonce
    FORGED = 10             # frames with a wrong authenticator
    REPLAYED = 11           # frames with a right one, but a sequence number that is not new
    FOREIGN = 12            # frames that are none of the host link's
    OVERFLOW = 13           # frames for which there was no room
    FRAMING = 14            # errors on the link's line: UART bytes without a stop bit, frames cut short
    PHY = 16                # BOARD_PHY of port 0; those of the other ports follow


class QueueStat(IntEnum):
    """Rows of the queue table are ``port * 8 + stat`` of a router (read only).

    Both traffic classes together. FREE_CELLS and UNDERFLOW are those of the board, whatever the router.
    """

    DEPTH = 0               # frames waiting now
    HIGH_WATER = 1          # most frames that ever waited
    ENQUEUED = 2            # frames accepted since reset, copies counted each
    DROPPED = 3             # frames refused since reset
    FREE_CELLS = 4          # cells free now, the same for every port
    UNDERFLOW = 5           # frames that the port's MAC aborted because data came too late


class HitStat(IntEnum):
    """Rows of the hit table are ``rule * 2 + stat``, relative to the router's filter window."""

    FRAMES = 0
    BYTES = 1               # without FCS, as received


class Opcode(IntEnum):
    """Operations of the control engine."""

    READ = 1
    WRITE = 2
    FENCE = 3               # wait until every lookup that was under way has ended


class OpStatus(IntEnum):
    """Outcome of one operation, in its response."""

    OK = 0
    BAD_OPCODE = 1
    BAD_TABLE = 2
    BAD_ROUTER = 3
    BAD_ROW = 4             # outside the table
    BAD_WORD = 5            # the row has fewer words
    WINDOW = 6              # outside the router's window
    READ_ONLY = 7


class HostFrameType(IntEnum):
    """Frames on the host port."""

    PUNT = 1
    INJECT = 2
    REQUEST = 3
    RESPONSE = 4


class HostStatus(IntEnum):
    """``reason`` of a REQUEST (SYNC or zero) and of a RESPONSE."""

    OK = 0
    SYNC = 1                # request: take this sequence number as the next one
    OUT_OF_SEQUENCE = 2     # response: nothing was done; ``expected`` tells the number awaited


#: 32 bytes before the payload of every frame on the host port; fields after the EtherType are little-endian.
HOST_HEADER = data.StructLayout({
    "destination": 48,      # as on the wire: first byte in the lowest lane
    "source": 48,
    "ethertype": 16,        # as on the wire: 0xB588 read as little-endian
    "version": 8,
    "type": 8,              # HostFrameType
    "sequence": 32,
    "router": 16,
    "port": 8,              # PUNT: ingress port; INJECT: egress port
    "reason": 8,            # PUNT: Reason; REQUEST and RESPONSE: HostStatus
    "length": 16,           # bytes after the header that count, without padding
    "expected": 32,         # RESPONSE: sequence number of the next request
    "tci": 16,              # PUNT: the 802.1Q tag that was taken off the frame, or zero
})

#: One access in a REQUEST, and its answer in the RESPONSE; 16 bytes, little-endian.
CONTROL_OP = data.StructLayout({
    "opcode": 4,            # Opcode
    "status": 4,            # OpStatus, zero in a request
    "table": 8,             # Table
    "word": 4,              # 64-bit word of the row; a WRITE of the last word commits the row
    "router": 12,
    "row": 32,              # relative to the router's window, for tables that have windows
    "data": 64,
})

#: A slot of the VMAC-VE table. The row number is ``(hash * 2 + way) << vmac_index_bits | index``.
VMAC_ROW = data.StructLayout({
    "mac": 48,
    "port": 4,
    "vid": 12,              # VLAN id; 0 for untagged and priority-tagged frames
    "role": 2,              # Role
    "valid": 1,
    "router": 10,
    "guard": 1,             # SEGMENT: frames of this VLAN count only if their source is a peer of this router
})
#: Key of the VMAC-VE hashes: the low bits of the row, mac, port, vid and role.
VMAC_KEY_BITS = 66

#: A router's context registers.
CONTEXT_ROW = data.StructLayout({
    "enable": 1,
    "mode": 2,              # RouterMode
    "ports": 8,             # ports that the router is on, one bit each
    "group": 8,             # ports on which it asks for broadcast and multicast
    "guard": 8,             # ports on which it takes frames from its peers only
    "fib_base": 20,         # first word of its FIB window
    "fib_size": 19,         # words of the window, at most 2**18
    "ipv4_root": 18,        # root word, relative to the window
    "adj_base": 18,         # first row of its adjacency window
    "adj_size": 19,         # rows of the window
    "ipv6_root": 18,        # root word for IPv6, relative to the FIB window
    "multicast": 1,         # IP multicast is looked up in the FIB; else it is delivered as a group frame
    "mirror": 1,            # a copy of every frame to the host
    "learn": 1,             # bridged: MAC addresses are learned
    "filter_base": 12,      # first row of its window of the filter, action and hit tables
    "filter_size": 12,      # rules of the window
    "policer_base": 12,     # first row of its window of the policer table
    "policer_size": 12,     # rows of the window; the first one polices all that comes in for the router
    "mac_base": 18,         # first row of its window of the MAC table
    "mac_size": 19,         # rows of the window: zero, or a power of two, at least 4
    "ecmp_seed": 112,       # key of the flow hash
    "tunnels": 1,           # packets of GRE and VXLAN to the router itself are for the tunnels that end here
})
#: Bits of the key of the flow hash, and of the hash.
ECMP_KEY_BITS = 96
ECMP_HASH_BITS = 16

#: What a router is on a port.
PORT_ROW = data.StructLayout({
    "mac": 48,              # its own MAC address
    "vid": 12,              # VLAN of its frames there; 0: untagged
})

FIB_WORD_BITS = 72
#: Results of 18 bits in a word of the FIB pool.
RESULTS_PER_WORD = 4
#: Bits of an address in a walk; shorter ones are left-aligned.
ADDRESS_BITS = 128
#: Nodes of stride 4 on the longest walk for IPv4, behind a root of one bit that is no node.
FIB_LEVELS = 8
#: The same for IPv6.
FIB_LEVELS_IPV6 = 32

#: A node of the tree bitmap (Eatherton, Varghese & Dittia 2004). ``internal`` bit ``2**l - 1 + v`` is the prefix of
#: ``l`` further bits with value ``v``; ``external`` bit ``v`` the child for the next stride's value ``v``.
FIB_BRANCH = data.StructLayout({
    "leaf": 1,              # 0
    "internal": 15,
    "external": 16,
    "child": 20,            # word of the first child, relative to the window
    "result": 20,           # first result, relative to the window: word * 4 + position
})
#: A subtree with a single prefix.
FIB_LEAF = data.StructLayout({
    "leaf": 1,              # 1
    "length": 6,            # further bits of the prefix, 0 to 46
    "bits": 46,             # those bits, left-aligned
    "result": 18,           # adjacency, relative to the router's window
    "reserved": 1,
})
#: Four results: adjacencies, relative to the router's window.
FIB_RESULTS = data.ArrayLayout(18, RESULTS_PER_WORD)

#: A resolved next hop, or what to do instead.
ADJACENCY_ROW = data.StructLayout({
    "kind": 3,              # AdjacencyKind
    "port": 4,              # egress port
    "mac": 48,              # destination MAC address
    "mtu": 14,              # longest IP packet, in bytes
    "vid": 12,              # VLAN (link port: circuit) that it leaves by; 0: that of PORT
})

#: The same row of kind ECMP: the flow's adjacency is ``first + (hash * count >> 16)``.
ADJACENCY_ECMP = data.StructLayout({
    "kind": 3,
    "port": 4,              # not used
    "first": 18,            # first of the adjacencies, relative to the router's window
    "count": 12,            # how many, next to each other
    "reserved": 44,
})
#: The same row of kind MULTICAST.
ADJACENCY_MULTICAST = data.StructLayout({
    "kind": 3,
    "port": 4,              # the only ingress port that is right: reverse path forwarding check
    "ports": 8,             # egress ports, one bit each
    "host": 1,              # a copy to the host as well
    "reserved": 39,
    "mtu": 14,              # longest IP packet, in bytes
    "vid": 12,              # if ``port`` is the link port: the only circuit that is right
})

#: What a filter rule looks at: OpenFlow 1.0's twelve fields (with the VLAN's presence as one more). Fields that a frame
#: does not have are zero.
FILTER_KEY = data.StructLayout({
    "port": 4,              # ingress port
    "tagged": 1,            # has an 802.1Q tag
    "vid": 12,
    "pcp": 3,
    "dmac": 48,
    "smac": 48,
    "ethertype": 16,        # behind the tag
    "ip_source": 32,        # IPv4; of an IPv6 address the upper 32 bits
    "ip_destination": 32,
    "protocol": 8,          # or next header
    "tos": 8,               # or traffic class
    "l4_source": 16,        # TCP and UDP; ICMP: type
    "l4_destination": 16,   # ICMP: code
})
#: A rule matches if all bits of the key with a one in ``mask`` are as in ``value``. The lowest row that matches counts.
FILTER_ROW = data.StructLayout({
    "value": FILTER_KEY.size,
    "mask": FILTER_KEY.size,
    "valid": 1,
})
#: What the filter rule of the same row does.
ACTION_ROW = data.StructLayout({
    "action": 2,            # FilterAction
    "ports": 8,             # SEND: egress ports
    "mirror": 1,            # a copy to the host as well
    "set_class": 1,         # use traffic class ``traffic_class``
    "traffic_class": 1,
    "police": 1,            # by row ``policer`` of the router's window of policers
    "policer": 12,
    "set_dmac": 1,
    "set_smac": 1,
    "strip_vlan": 1,
    "set_vid": 1,
    "set_pcp": 1,
    "set_ip_source": 1,     # these five: IPv4 only
    "set_ip_destination": 1,
    "set_tos": 1,
    "set_l4_source": 1,
    "set_l4_destination": 1,
    "dmac": 48,
    "smac": 48,
    "vid": 12,
    "pcp": 3,
    "ip_source": 32,
    "ip_destination": 32,
    "tos": 8,
    "l4_source": 16,
    "l4_destination": 16,
})

#: Fractional bits of a rate in bytes a refill.
RATE_FRACTION = 16
#: A token bucket that drops. A row of zeros lets everything through.
POLICER_ROW = data.StructLayout({
    "rate": 32,             # bytes a refill, times 2**RATE_FRACTION
    "burst": 18,            # size of the bucket, in bytes
    "limit": 1,             # the row polices
})
#: A token bucket that delays, and the router's weight. A row of zeros is not shaped, and has the least weight.
SHAPER_ROW = data.StructLayout({
    "rate": 34,             # bytes a refill, times 2**RATE_FRACTION
    "burst": 18,            # size of the bucket, in bytes
    "limit": 1,             # the row shapes
    "quantum": 16,          # byte times a round of deficit round robin; at least those of the longest frame count
})
#: A router's share of the frame buffer.
QUOTA_ROW = data.StructLayout({
    "reserved": 16,         # cells that nobody else can have
    "limited": 1,           # ``limit`` counts
    "limit": 16,            # most cells that it may have
})

#: Age of a MAC address that was just seen; an entry whose age is 0 is empty.
MAC_AGES = 7
#: An entry of a bridged router's MAC table.
MAC_ROW = data.StructLayout({
    "mac": 48,
    "port": 4,
    "static": 1,            # does not age, and is not learned anew
    "age": 3,               # MAC_AGES when it was seen last, one less each MAC_AGE_CYCLES; 0: no entry
    "vid": 12,              # if ``port`` is the link port: circuit
})

#: A tunnel, as its packets say it.
TUNNEL = data.StructLayout({
    "kind": 1,              # TunnelKind
    "key": 32,              # GRE: key (RFC 2890); VXLAN: VNI in the low 24 bits
    "source": 32,           # IPv4 addresses
    "destination": 32,
    "tos": 8,               # of the outer header (RFC 2474), whatever the inner one says: the pipe model of RFC 2983
    "ttl": 8,
})
#: A circuit: where frames go that leave the link port on it.
LINK_ROW = data.StructLayout({
    "router": 10,           # whose circuit it is; frames of no other leave on it
    "kind": 2,              # LinkKind
    "next": 12,             # LIST: the first of its circuits; else the one that follows it in its list. 0: none
    "peer": 12,             # DIRECT
    "underlay": 10,         # TUNNEL: the router that routes the packets
    "tunnel": TUNNEL,       # TUNNEL; its TTL is one more than on the wire
})
#: Whose packet it is, and what its outer headers say.
TERMINATION_KEY = data.StructLayout({
    "router": 10,           # underlay
    "kind": 1,              # TunnelKind
    "key": 32,
    "remote": 32,           # the packet's source: the tunnel's other end
})
#: A tunnel that ends here. The row number is ``(hash * 2 + way) << index bits | index``, as in the VMAC-VE table.
TERMINATION_ROW = data.StructLayout({
    **{name: field.width for name, field in TERMINATION_KEY},
    "circuit": 12,          # that its frames come in on
    "valid": 1,
})

#: Version of the board table's layout.
BOARD_VERSION = 2
#: Characters of a board's name.
BOARD_NAME_BYTES = 16
#: Ports with a PHY that a board can have, the host port's included.
BOARD_PORTS = 16
BOARD_ROWS = BoardRow.PHY + BOARD_PORTS
#: Rows of the board table that can be written.
BOARD_WRITABLE = frozenset({BoardRow.MDIO, BoardRow.WATCHDOG, BoardRow.LOOPBACK, BoardRow.LEDS})
#: Core cycles that are one of the watchdog's timeout.
WATCHDOG_UNIT = 1 << 20
#: What the board table is.
BOARD_IDENTITY = data.StructLayout({
    "version": 8,           # BOARD_VERSION
    "ports": 8,             # ports that have a PHY row
    "buses": 8,             # MDIO buses
    "link": 2,              # HostLinkKind
    "link_port": 4,         # port that the host's frames come by; of a UART zero
})
#: An access to a PHY's register (IEEE 802.3 clause 22) by the host. A write of the row with ``start`` begins it, and is
#: ignored but for ``hold`` while ``busy``; the answer is in the row when ``done``.
BOARD_MDIO = data.StructLayout({
    "data": 16,             # to write, or read
    "register": 5,
    "phy": 5,               # PHY address
    "bus": 3,
    "write": 1,
    "start": 1,             # reads as zero
    "hold": 1,              # no PHY is polled: so the host may select another page of its registers
    "busy": 1,              # read only, as the next two
    "done": 1,              # the access begun last has ended
    "ok": 1,                # a PHY answered: for a read, it drove the turnaround low. A write has no answer
})
#: Acts when the host is gone: no frame from it for ``timeout``, after there was one.
BOARD_WATCHDOG = data.StructLayout({
    "timeout": 16,          # in units of WATCHDOG_UNIT core cycles; 0: off
    "expired": 1,           # read only; a write of the row, whatever its value, clears it
    "armed": 1,             # read only: a frame came since reset
    "disables": 1,          # read only, chosen when the board was built: no router is enabled while ``expired``
})
#: A bit for each of the board's ports.
BOARD_PORT_BITS = data.StructLayout({"ports": BOARD_PORTS})
#: Link LEDs that show what the host wants.
BOARD_LEDS = data.StructLayout({
    "override": BOARD_PORTS,    # ports whose LED is the host's
    "value": BOARD_PORTS,       # and what it shows
})
#: What is known of a port's PHY, by MDIO and from its in-band status (RGMII 2.0, 3.4.1).
BOARD_PHY = data.StructLayout({
    "link": 1,              # up, at full duplex
    "speed": 2,             # 0: 10 Mb/s, 1: 100, 2: 1000
    "full_duplex": 1,
    "present": 1,           # the PHY answered with the id that the board expects, and was set up
    "bus": 3,               # where it is on MDIO
    "address": 5,
    "inband_valid": 1,      # the PHY sends in-band status, the next three
    "inband_link": 1,
    "inband_speed": 2,
    "inband_full_duplex": 1,
    "reserved": 14,
    "id": 32,               # registers 2 (upper half) and 3, as last read
})
#: Layout of the rows that have fields.
BOARD_LAYOUTS: dict[BoardRow, data.StructLayout] = {
    BoardRow.IDENTITY: BOARD_IDENTITY,
    BoardRow.MDIO: BOARD_MDIO,
    BoardRow.WATCHDOG: BOARD_WATCHDOG,
    BoardRow.LOOPBACK: BOARD_PORT_BITS,
    BoardRow.LEDS: BOARD_LEDS,
    BoardRow.PHY: BOARD_PHY,
}

#: Bits of a row of each table.
ROWS: dict[Table, int] = {
    Table.INFO: 64,
    Table.REGISTER: 64,
    Table.VMAC: VMAC_ROW.size,
    Table.CONTEXT: CONTEXT_ROW.size,
    Table.PORT: PORT_ROW.size,
    Table.FIB: FIB_WORD_BITS,
    Table.ADJACENCY: ADJACENCY_ROW.size,
    Table.COUNTER: 64,
    Table.QUEUE: 64,
    Table.FILTER: FILTER_ROW.size,
    Table.ACTION: ACTION_ROW.size,
    Table.HIT: 64,
    Table.POLICER: POLICER_ROW.size,
    Table.MAC: MAC_ROW.size,
    Table.SHAPER: SHAPER_ROW.size,
    Table.QUOTA: QUOTA_ROW.size,
    Table.LINK: LINK_ROW.size,
    Table.TERMINATION: TERMINATION_ROW.size,
    Table.BOARD: 64,
}


def row_words(table: Table) -> int:
    """64-bit words of a row of ``table``."""
    return -(-ROWS[table] // 64)


def pack(layout: data.Layout, values: dict) -> int:
    """Bits of a row with the given fields, others zero.

    Raises
    ------
    KeyError
        If a field is not in the layout.
    ValueError
        If a value does not fit its field.
    """
    bits = 0
    for name, value in values.items():
        entry = layout[name]
        width = entry.width
        if not 0 <= int(value) < 1 << width:
            raise ValueError(f"{name} must fit {width} bits, not {value!r}")
        bits |= int(value) << entry.offset
    return bits


def unpack(layout: data.StructLayout, bits: int) -> dict[str, int]:
    """Fields of a row."""
    return {str(name): bits >> entry.offset & (1 << entry.width) - 1 for name, entry in layout}
