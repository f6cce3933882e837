"""Parameters of a data plane: how many ports and routers, how wide, how large each table is."""

from dataclasses import asdict, dataclass, field, fields
from math import log2

__all__ = ["ConfigError", "CoreConfig", "HOST_HEADER_BYTES", "MAX_FRAME_JUMBO", "MAX_FRAME_STANDARD",
           "MAX_FRAME_TAGGED", "MOST_FILTER_RULES", "LEAST_CIRCUITS", "MOST_CIRCUITS", "TAG_BYTES",
           "power_of_two_at_least", "power_of_two_at_most"]

#: Bytes of the header that punted and injected frames and register accesses carry on the host port.
HOST_HEADER_BYTES = 32
#: Longest frame with FCS, IEEE 802.3 clause 3.2.7 (no tag).
MAX_FRAME_STANDARD = 1518
#: A tag of 802.1Q (clause 9.3).
TAG_BYTES = 4
#: The longest frame with a tag.
MAX_FRAME_TAGGED = MAX_FRAME_STANDARD + TAG_BYTES
#: Longest frame with FCS of the jumbo setting.
MAX_FRAME_JUMBO = 9018
#: Rows that the filter table may have.
MOST_FILTER_RULES = 2048
#: What the shortest frame takes of a line, with preamble and gap.
_SHORTEST_BITS = (64 + 8 + 12) * 8
#: What a core must take from a port of 1 Gb/s: both clocks may be 100 ppm off (IEEE 802.3, 35.5.2.3).
_LEAST_PORT_RATE = 1.001e9
#: Cycles of a ring of the FIB that an IPv4 packet takes.
_RING_CYCLES = 10
#: Cycles of the parser for a header, as a whole, or in narrow beats.
_PARSER_CYCLES, _NARROW_PARSER_CYCLES = 3, 19
#: Circuits of a core that has any; at most as many as there are VLAN ids.
LEAST_CIRCUITS, MOST_CIRCUITS = 16, 4096


class ConfigError(ValueError):
    """A parameter is outside of what the core can be built for; the message names it, its value and its range."""


def power_of_two_at_least(n: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(0, n - 1).bit_length()


def power_of_two_at_most(n: int) -> int:
    """The largest power of two that is not greater; 0 if there is none."""
    return 1 << n.bit_length() >> 1


@dataclass(frozen=True, kw_only=True)
class CoreConfig:
    """Parameters of a core, checked when the object is made.

    Parameters
    ----------
    ports : int
        Data ports, 1 to 8. The host port comes on top and has the index ``ports``. With ``circuits``, the last one is
        the link port, which has no wire.
    routers : int
        Virtual routers, 1 to 1024.
    data_width : int
        Bits a beat of every frame stream: 32, 64, 128 or 256.
    vmac_slots : int
        Slots of the VMAC-VE table, a power of two, 16 to 16384; 0 picks 16 slots a router (each router may
        have an own and a peer entry on each of four ports, at 50 % load).
    fib_words : int
        72-bit words of the FIB pool, shared by all routers, 64 to 2**20.
    fib_rings : int
        FIB walks are made in one ring or two: 1 or 2. An IPv4 packet takes ``10 / fib_rings`` cycles of them, an IPv6
        packet of the longest walk ``34 / fib_rings``.
    adjacencies : int
        Rows of the adjacency table, shared by all routers, 4 to 2**18.
    buffer_bytes : int
        Frame buffer shared by all output queues; a multiple of ``cell_bytes``.
    cell_bytes : int
        Allocation unit of the frame buffer, a power of two, 32 to 512 and at least one beat.
    queue_frames : int
        Frames that one router may have waiting at one port, a power of two, 4 to 1024.
    ingress_bytes : int
        Buffer at each port that holds a frame until it is whole; at least two of the longest frames.
        0 picks the smallest power of two that does.
    max_frame : int
        Longest frame accepted, in bytes with tag and FCS: 1518 to 9018.
    filter_rules : int
        Rules of the filter table, shared by all routers, 0 to 2048.
    filter_banks : int
        Rules that are compared at once: 1, 2, 4 or 8. A router's rules take ``rules / filter_banks`` cycles a frame.
    policers : int
        Token buckets that drop, shared by all routers, 1 to 4095; 0 picks two a router.
    mac_rows : int
        Rows of the bridges' MAC table, shared by all routers: a power of two, 16 to 2**18, or 0. With 0, bridges learn
        nothing, and what they get goes to all of their ports; the host makes none.
    circuits : int
        Attachments to the link port (VNICs, ports of virtual switches, ends of wires and tunnels), and as many places
        for tunnels that end here: 0, or a power of two, 16 to 4096. 0: there is no link port.
    vmac_cycles : int
        Cycles in which the four slots of a look-up in the VMAC-VE table are read, 1 or 2. With 2, both ways are in one
        memory, which takes half as many blocks if the table is small, and a frame 3 cycles more.
    context_words : int
        Words that a context row is read in, one a cycle: 1, 2 or 4. With 4, rows of more than 16 routers take 3 blocks
        of 18 kbit instead of 10, and a frame 3 cycles more.
    hash_cycles : int
        Cycles in which the hash of a packet's flow is made, 4 or 12, and a packet every so many.
    headers : int
        Headers of one port that may be on their way through the look-ups at once, and verdicts that wait there for the
        frame's end, a power of two, 4 to 16. Behind them, frames wait in the ingress.
    record_rows : int
        Rows of the memory in which records wait for their look-ups, 16 or 64. No more than 16 are used: with 64 it is
        cheaper as block RAM, 13 blocks of 18 kbit, than as 650 look-up tables.
    slices : int
        Registers, 1 or 0, between stages of the header path that need none at a slow clock: before the parser, ahead
        of each ring of the FIB, and two in the verdict. Without them, the parser has a cycle more between two records.
    stage_registers : int
        Registers of a whole record, 1 or 0: behind the VMAC-VE look-up, behind the context stage, in front of the
        engines, and ahead of the memory in which records wait for them. With 0, a record stays in the parser's register
        until the engines have it, so that no two of these stages work at once: a frame every ``context_words + 10``
        cycles at most, or one more without slices. Needs ``vmac_cycles`` 2 and ``context_words`` above 1.
    access_bits : int
        Bits of a row that travel at once between the control engine and its table, 64 or 16. With 16, fewer wires lead
        there. A read of a table that only the host changes is then four, some 30 cycles more; of other tables it takes
        3 cycles more, and a write one and a cycle for each 16 bits of the row.
    clock_hz : float
        Clock of the core, in Hz. With MACs, ``data_width * clock_hz`` must carry all ports at once.

    Raises
    ------
    ConfigError
        If a parameter, or a combination, is out of range.
    """

    ports: int = 4
    routers: int = 8
    data_width: int = 64
    vmac_slots: int = 0
    fib_words: int = 16384
    fib_rings: int = 2
    adjacencies: int = 1024
    buffer_bytes: int = 65536
    cell_bytes: int = 64
    queue_frames: int = 64
    ingress_bytes: int = 0
    max_frame: int = MAX_FRAME_TAGGED
    filter_rules: int = 64
    filter_banks: int = 1
    policers: int = 0
    mac_rows: int = 1024
    circuits: int = 0
    vmac_cycles: int = 1
    context_words: int = 1
    hash_cycles: int = 4
    headers: int = 16
    record_rows: int = 16
    slices: int = 1
    stage_registers: int = 1
    access_bits: int = 64
    clock_hz: float = field(default=125e6)

    def __post_init__(self) -> None:
        if self.vmac_slots == 0 and isinstance(self.routers, int):
            object.__setattr__(self, "vmac_slots", max(16, power_of_two_at_least(16 * self.routers)))
        if self.ingress_bytes == 0 and isinstance(self.max_frame, int):
            least = 2 * (self.max_frame + HOST_HEADER_BYTES)
            object.__setattr__(self, "ingress_bytes", power_of_two_at_least(least))
        if self.policers == 0 and isinstance(self.routers, int):
            object.__setattr__(self, "policers", 2 * self.routers)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name != "clock_hz" and (not isinstance(value, int) or isinstance(value, bool)):
                raise ConfigError(f"{entry.name} must be an integer, not {value!r}")
        self._between("ports", 1, 8)
        self._between("routers", 1, 1024)
        if self.data_width not in (32, 64, 128, 256):
            raise ConfigError(f"data_width must be 32, 64, 128 or 256, not {self.data_width}")
        self._between("vmac_slots", 16, 16384, power_of_two=True)
        self._between("fib_words", 64, 1 << 20)
        self._between("fib_rings", 1, 2)
        self._between("adjacencies", 4, 1 << 18)
        self._between("cell_bytes", max(32, self.beat_bytes), 512, power_of_two=True)
        self._between("queue_frames", 4, 1024, power_of_two=True)
        self._between("max_frame", MAX_FRAME_STANDARD, MAX_FRAME_JUMBO)
        self._between("ingress_bytes", 2 * (self.max_frame + HOST_HEADER_BYTES), 1 << 20, power_of_two=True)
        self._between("vmac_cycles", 1, 2)
        self._between("context_words", 1, 4, power_of_two=True)
        self._between("headers", 4, 16, power_of_two=True)
        self._between("slices", 0, 1)
        self._between("stage_registers", 0, 1)
        if not self.stage_registers and (self.vmac_cycles == 1 or self.context_words == 1):
            raise ConfigError("stage_registers 0 takes vmac_cycles 2 and context_words 2 or 4, "
                              f"not {self.vmac_cycles} and {self.context_words}")
        if self.hash_cycles not in (4, 12):
            raise ConfigError(f"hash_cycles must be 4 or 12, not {self.hash_cycles}")
        if self.record_rows not in (16, 64):
            raise ConfigError(f"record_rows must be 16 or 64, not {self.record_rows}")
        if self.access_bits not in (16, 64):
            raise ConfigError(f"access_bits must be 16 or 64, not {self.access_bits}")
        self._between("filter_rules", 0, MOST_FILTER_RULES)
        self._between("filter_banks", 1, 8, power_of_two=True)
        self._between("policers", 1, 4095)
        if self.mac_rows:
            self._between("mac_rows", 16, 1 << 18, power_of_two=True)
        if self.circuits:
            self._between("circuits", LEAST_CIRCUITS, MOST_CIRCUITS, power_of_two=True)
            self._between("ports", 2, 8)
        if self.buffer_bytes % self.cell_bytes:
            raise ConfigError(
                f"buffer_bytes must be a multiple of cell_bytes ({self.cell_bytes}), not {self.buffer_bytes}")
        if not 2 * self.max_frame <= self.buffer_bytes <= 1 << 24:
            raise ConfigError(f"buffer_bytes must be at least two frames of max_frame ({2 * self.max_frame}) "
                              f"and at most {1 << 24}, not {self.buffer_bytes}")
        if self.vmac_slots < 8 * self.routers:
            raise ConfigError(f"vmac_slots must be at least 8 x routers ({8 * self.routers}), so that 4 x routers "
                              f"entries are 50 % load, not {self.vmac_slots}")
        if not self.clock_hz > 0:
            raise ConfigError(f"clock_hz must be positive, not {self.clock_hz!r}")

    def _between(self, name: str, least: int, most: int, *, power_of_two: bool = False) -> None:
        value = getattr(self, name)
        if not least <= value <= most or (power_of_two and value & (value - 1)):
            kind = "a power of two, " if power_of_two else ""
            raise ConfigError(f"{name} must be {kind}{least} to {most}, not {value}")

    def check_port_rate(self) -> None:
        """Check that the core can take what one port delivers at 1 Gb/s, as a MAC's receiver must not wait.

        A core that can't carry all its ports at once drops whole frames at their ingress. A MAC sends none with a
        gap: it begins a frame when it has so much of it that the least rate of the frame buffer suffices for the rest.

        Raises
        ------
        ConfigError
            If ``data_width * clock_hz`` is less than that, and some for clocks that differ.
        """
        if self.data_width * self.clock_hz < _LEAST_PORT_RATE:
            raise ConfigError(f"data_width {self.data_width} at {self.clock_hz / 1e6:g} MHz carries "
                              f"{self.data_width * self.clock_hz / 1e9:g} Gb/s, less than a port of 1 Gb/s delivers: "
                              "use a wider data_width or a faster clock")

    def check_line_rate(self) -> None:
        """Check that the core can carry all its data ports at 1 Gb/s.

        A busy host port may then slow the others down, but never in the middle of a frame.

        Raises
        ------
        ConfigError
            If ``data_width * clock_hz`` is less than what the ports deliver together.
        """
        if self.data_width * self.clock_hz < self.wired_ports * 1e9:
            raise ConfigError(f"data_width {self.data_width} at {self.clock_hz / 1e6:g} MHz carries "
                              f"{self.data_width * self.clock_hz / 1e9:g} Gb/s, less than {self.wired_ports} ports of "
                              "1 Gb/s: use a wider data_width or a faster clock")
        if self.fib_rings * self.clock_hz * _SHORTEST_BITS < _RING_CYCLES * self.wired_ports * 1e9:
            rate = self.fib_rings * self.clock_hz / _RING_CYCLES / 1e6
            raise ConfigError(f"fib_rings {self.fib_rings} at {self.clock_hz / 1e6:g} MHz look up {rate:.2f} million "
                              f"IPv4 packets a second, less than {self.wired_ports} ports of 1 Gb/s: use fib_rings 2 "
                              "or a faster clock")

        if self.clock_hz * _SHORTEST_BITS < self.header_cycles * self.wired_ports * 1e9:
            raise ConfigError(f"a header every {self.header_cycles} cycles at {self.clock_hz / 1e6:g} MHz is "
                              f"{self.clock_hz / self.header_cycles / 1e6:.2f} million frames a second, less than "
                              f"{self.wired_ports} ports of 1 Gb/s: use vmac_cycles 1, slices 1 or a faster clock")

    @property
    def narrow_headers(self) -> bool:
        """Whether headers are kept and handed over beat by beat (``hdl/narrowheader.py``): if a tag is a beat."""
        return self.beat_bytes == TAG_BYTES

    @property
    def header_cycles(self) -> int:
        """Cycles from one header to the next in the stages ahead of the look-ups, if nothing holds them up."""
        parser = _NARROW_PARSER_CYCLES if self.narrow_headers else _PARSER_CYCLES
        # The VMAC-VE look-up, which leaves a record where it is if it has two cycles for a role. Without slices, the
        # next one is there a cycle later.
        records = 6 if self.vmac_cycles == 1 else 11 - self.slices
        if not self.stage_registers:
            records += self.context_words
        return max(parser, records)

    @property
    def wired_ports(self) -> int:
        """Data ports that have a wire: all but the link port."""
        return self.ports - (self.circuits > 0)

    @property
    def link_port(self) -> int | None:
        """Index of the link port: the last of the data ports, if there are circuits."""
        return self.ports - 1 if self.circuits else None

    @property
    def host_port(self) -> int:
        """Index of the host port: the one after the data ports."""
        return self.ports

    @property
    def all_ports(self) -> int:
        """Data ports and the host port."""
        return self.ports + 1

    @property
    def fates(self) -> int:
        """Fates of one port that may wait: those of the headers on their way, and of the one that waits to set out."""
        return self.headers + 2

    @property
    def no_router(self) -> int:
        """Router number under which frames that belong to no router are counted."""
        return self.routers

    @property
    def beat_bytes(self) -> int:
        """Bytes a beat."""
        return self.data_width // 8

    @property
    def cells(self) -> int:
        """Cells of the frame buffer."""
        return self.buffer_bytes // self.cell_bytes

    @property
    def vmac_index_bits(self) -> int:
        """Bits of a VMAC-VE hash; two hashes of two ways each make up the slots."""
        return int(log2(self.vmac_slots)) - 2

    @property
    def termination_index_bits(self) -> int:
        """Bits of a hash of the TERMINATION table; two hashes of two ways each make up its rows."""
        return int(log2(self.circuits)) - 2

    def as_dict(self) -> dict[str, int | float]:
        """The parameters by name, for JSON."""
        return asdict(self)
