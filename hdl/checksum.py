"""Incremental update of the Internet checksums of a packet whose header is changed."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .headers import Field, Ipv4

__all__ = ["CHANGES", "CHANGED_FIELDS", "CHECKSUMS", "LATENCY", "TCP_CHECKSUM", "UDP_CHECKSUM", "ChecksumUpdate"]

#: Checksum of TCP (RFC 9293, 3.1) and UDP (RFC 768) behind an IPv4 header without options.
TCP_CHECKSUM = Field(Ipv4.L4_SOURCE.offset + 16, 2)
UDP_CHECKSUM = Field(Ipv4.L4_SOURCE.offset + 6, 2)

#: What may be changed in an IPv4 packet besides the TTL.
CHANGED_FIELDS = data.StructLayout({
    "tos": 8, "ip_source": 32, "ip_destination": 32, "l4_source": 16, "l4_destination": 16,
})
#: Which of them are changed, and which checksums have to follow.
CHANGES = data.StructLayout({
    "tos": 1, "ip_source": 1, "ip_destination": 1, "l4_source": 1, "l4_destination": 1,
    "l4": 1,                # so is a checksum of TCP or UDP
    "udp": 1,               # UDP's
})
_FLAGS = data.StructLayout({"set_ip": 1, "set_l4": 1, "udp": 1})
#: Checksums after the change, and whether they are to be written.
CHECKSUMS = data.StructLayout({"ip": 16, "l4": 16, **{str(name): entry.shape for name, entry in _FLAGS}})

#: Cycles from ``start`` to ``done``.
LATENCY = 4


class ChecksumUpdate(wiring.Component):
    """Computes new checksums from the old ones, the old values of the changed fields and the new ones.

    RFC 1624, equation 3: HC' = ~(~HC + ~m + m'), with all changed words in one sum, whose carries are added at its
    end. The layer-4 checksum covers the addresses by its pseudo header. A UDP checksum of zero means that there is none
    and stays; one that comes out as zero is sent as all ones (RFC 768).

    Takes a packet each cycle; latency ``LATENCY`` cycles.

    Attributes
    ----------
    start : Signal, in
        The other inputs are valid.
    changes : CHANGES, in
    old, new : CHANGED_FIELDS, in
    ip, l4 : Signal(16), in
        Checksums so far.
    done : Signal, out
        ``checksums`` is valid.
    checksums : CHECKSUMS, out
    """

    def __init__(self) -> None:
        super().__init__({
            "start": In(1),
            "changes": In(CHANGES),
            "old": In(CHANGED_FIELDS),
            "new": In(CHANGED_FIELDS),
            "ip": In(16),
            "l4": In(16),
            "done": Out(1),
            "checksums": Out(CHECKSUMS),
        })

    def elaborate(self, platform):
        m = Module()
        old, new, changes = self.old, self.new, self.changes

        def words(name):
            """(old, new) of each 16-bit word of a field."""
            pair = old[name], new[name]
            if name == "tos":       # its word begins with version and IHL: whatever they are, ~m + m' is all ones
                return [(Cat(old.tos, Const(0, 8)), Cat(new.tos, Const(0, 8)))]
            return list(zip(*(
                [value.word_select(k, 16) for k in range(len(value) // 16)] for value in pair), strict=True))

        def delta(name):
            """Sum of ~m + m' over a field's words; a field that is not changed adds nothing."""
            return sum(Mux(changes[name], ~a & 0xFFFF, 0) + Mux(changes[name], b, 0) for a, b in words(name))

        # First cycle: the fields, each by itself.
        valid = Signal(LATENCY)
        flags = [Signal(_FLAGS, name=f"flags_{k}") for k in range(LATENCY)]
        address = [Signal(18, name=f"address_{name}") for name in ("source", "destination")]
        ip_start = Signal(18)
        ports = Signal(18)
        l4_start = Signal(16)
        m.d.sync += [
            valid.eq(Cat(self.start, valid)),
            address[0].eq(delta("ip_source")),
            address[1].eq(delta("ip_destination")),
            ip_start.eq((~self.ip & 0xFFFF) + delta("tos")),
            ports.eq(delta("l4_source") + delta("l4_destination")),
            l4_start.eq(~self.l4),
            flags[0].set_ip.eq(changes.tos | changes.ip_source | changes.ip_destination),
            flags[0].set_l4.eq(changes.l4 & ~(changes.udp & (self.l4 == 0))),
            flags[0].udp.eq(changes.udp),
            *(after.eq(before) for before, after in pairwise(flags)),
        ]

        # Then the sums, and their carries; twice, because the first time may give one more.
        for name, terms in ("ip", ip_start), ("l4", ports + l4_start):
            total = Signal(20, name=f"{name}_total")
            folded = Signal(17, name=f"{name}_folded")
            final = Signal(16, name=f"{name}_final")
            m.d.sync += [
                total.eq((address[0] + address[1]) + terms),
                folded.eq(total[:16] + total[16:]),
                final.eq(folded[:16] + folded[16]),
            ]
            m.d.comb += self.checksums[name].eq(~final)
            if name == "l4":
                with m.If(flags[-1].udp & final.all()):
                    m.d.comb += self.checksums.l4.eq(0xFFFF)
        m.d.comb += [
            self.done.eq(valid[-1]),
            *(self.checksums[name].eq(flags[-1][name]) for name, _ in _FLAGS),
        ]
        return m
