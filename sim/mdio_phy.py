"""PHYs behind an MDIO bus, for simulation: registers and management frames as IEEE 802.3 clause 22 has them.

:class:`Clause22Phy` is what station management sees of a PHY; :class:`MdioBus` the wire, watched edge by edge.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["AccessFrame", "BroadcomPhy", "Clause22Phy", "LinkPartner", "MdioBus", "MdioViolation", "MmdPhy",
           "PagedPhy", "PRIORITY"]

#: Annex 28B.3, highest first: speed in Mb/s, and whether full duplex.
PRIORITY = ((1000, True), (1000, False), (100, True), (100, False), (10, True), (10, False))
#: Their bits in the advertisement and in what the partner can do (28.2.4.1.3, 40.5.1.1): register and bit of each.
_ADVERTISED = {(1000, True): (9, 9), (1000, False): (9, 8), (100, True): (4, 8), (100, False): (4, 7),
               (10, True): (4, 6), (10, False): (4, 5)}
_PARTNER = {(1000, True): (10, 11), (1000, False): (10, 10), (100, True): (5, 8), (100, False): (5, 7),
            (10, True): (5, 6), (10, False): (5, 5)}
_RESET, _LOOPBACK, _NEGOTIATE, _POWER_DOWN, _ISOLATE, _RESTART = (1 << bit for bit in (15, 14, 12, 11, 10, 9))
_SPEED_LOW, _FULL, _SPEED_HIGH = (1 << bit for bit in (13, 8, 6))


class MdioViolation(AssertionError):
    """Someone broke a rule of the bus; the message says which, and when."""


@dataclass(frozen=True)
class LinkPartner:
    """What is at the other end of the cable.

    Attributes
    ----------
    abilities : frozenset[tuple[int, bool]]
        Speeds in Mb/s, and whether at full duplex.
    negotiates : bool
        It takes part in auto-negotiation; else it has one ability, and shows no other sign of it than its idle signal.
    """

    abilities: frozenset[tuple[int, bool]] = frozenset(PRIORITY)
    negotiates: bool = True


class Clause22Phy:
    """Registers 0 to 15 of a PHY. What it keeps beyond them has no meaning here.

    Parameters
    ----------
    identifier : int
        Registers 2 (upper half) and 3.
    gigabit : bool
        It has registers 9, 10 and 15.
    reset_reads : int
        Reads of register 0 for which a software reset lasts; it takes no writes of it meanwhile (22.2.4.1.1).
    negotiation_reads : int
        Reads of register 1 for which auto-negotiation lasts.

    Attributes
    ----------
    partner : LinkPartner or None
        Set by :meth:`connect`.
    """

    def __init__(self, identifier: int, *, gigabit: bool = True, reset_reads: int = 1, negotiation_reads: int = 0):
        self.identifier = identifier
        self.gigabit = gigabit
        self.reset_reads = reset_reads
        self.negotiation_reads = negotiation_reads
        self.partner: LinkPartner | None = None
        self.reset()

    def reset(self) -> None:
        """As after a pulse on the reset pin."""
        self.vendor: dict[int, int] = {}
        self._reset_left = 0
        self._start()

    def _start(self) -> None:
        self.control = _NEGOTIATE | _FULL | (_SPEED_HIGH if self.gigabit else _SPEED_LOW)
        self.advertised = {4: 0x01E1, 9: 0x0300 if self.gigabit else 0}
        self._latched_down = True
        self._negotiation_left = self.negotiation_reads

    def connect(self, partner: LinkPartner | None) -> None:
        """Plug another cable, or none."""
        self._down()
        self.partner = partner

    def _down(self) -> None:
        self._latched_down = True
        self._negotiation_left = self.negotiation_reads

    def abilities(self) -> frozenset[tuple[int, bool]]:
        """What it advertises."""
        return frozenset(ability for ability, (register, bit) in _ADVERTISED.items()
                         if self.advertised[register] >> bit & 1)

    def _parallel(self) -> tuple[int, bool] | None:
        """28.2.3.1: what a partner that does not negotiate is found to be: half duplex, whatever it is."""
        if self.partner is None or self.partner.negotiates:
            return None
        (speed, _), = self.partner.abilities
        return (speed, False) if speed < 1000 else None

    def forced(self) -> tuple[int, bool]:
        """Speed and duplex that register 0 asks for."""
        high, low = bool(self.control & _SPEED_HIGH), bool(self.control & _SPEED_LOW)
        return {(False, False): 10, (False, True): 100, (True, False): 1000, (True, True): 1000}[high, low], \
            bool(self.control & _FULL)

    def technology(self) -> tuple[int, bool] | None:
        """Speed and duplex of the link that there is, or None."""
        if self.partner is None or self.control & (_POWER_DOWN | _RESET | _LOOPBACK | _ISOLATE):
            return None
        if not self.control & _NEGOTIATE:
            speed, duplex = self.forced()
            return (speed, duplex) if speed in {speed for speed, _ in self.partner.abilities} else None
        if self._negotiation_left:
            return None
        found = self.partner.abilities if self.partner.negotiates else {self._parallel()}
        return next((best for best in PRIORITY if best in self.abilities() and best in found), None)

    @property
    def loopback(self) -> bool:
        """It sends back what it is given (22.2.4.1.2)."""
        return bool(self.control & _LOOPBACK)

    def read(self, register: int) -> int:
        """As a management frame does: with its side effects."""
        match register:
            case 0:
                value = self.control
                if self._reset_left:
                    self._reset_left -= 1
                    if not self._reset_left:
                        self.control &= ~_RESET
                return value
            case 1:
                value = self._status()
                self._latched_down = self.technology() is None
                if self._negotiation_left and self.partner is not None:
                    self._negotiation_left -= 1
                return value
            case 2:
                return self.identifier >> 16
            case 3:
                return self.identifier & 0xFFFF
            case 4 | 9:
                return self.advertised[register]
            case 5 | 10:
                return self._of_partner(register)
            case 15:
                return 0x3000 if self.gigabit else 0
            case _:
                return self.vendor.get(register, 0)

    def _status(self) -> int:
        """22.2.4.2: 10 and 100 Mb/s at either duplex, auto-negotiation, extended registers."""
        up = self.technology() is not None
        complete = bool(self.control & _NEGOTIATE) and up
        return (0x7809 | self.gigabit << 8 | complete << 5 | (up and not self._latched_down) << 2)

    def _of_partner(self, register: int) -> int:
        if self.partner is None or not self.control & _NEGOTIATE or self._negotiation_left:
            return 0
        found = self.partner.abilities if self.partner.negotiates else {self._parallel()}
        if register == 10 and not self.gigabit:
            return 0
        value = sum(1 << bit for ability, (where, bit) in _PARTNER.items() if where == register and ability in found)
        return value | (0x4001 if register == 5 and self.partner.negotiates else 0)

    def write(self, register: int, value: int) -> None:
        """As a management frame does. Read-only registers stay as they are."""
        match register:
            case 0:
                if self._reset_left:
                    return
                if value & _RESET:
                    self._start()
                    self._reset_left = self.reset_reads
                    self.control |= _RESET if self.reset_reads else 0
                    return
                before = self.technology()
                self.control = value & ~_RESTART
                if (value & _RESTART and value & _NEGOTIATE) or self.technology() != before:
                    self._down()
            case 4:
                self.advertised[4] = value
            case 9:
                self.advertised[9] = value if self.gigabit else 0
            case 1 | 2 | 3 | 5 | 6 | 10 | 15:
                pass
            case _:
                self.vendor[register] = value


class PagedPhy(Clause22Phy):
    """A PHY whose register ``page_register`` says which page all the others are on; page 0 has the standard's.

    Attributes
    ----------
    pages : dict[tuple[int, int], int]
        Other pages: values by page and register. A software reset leaves them.
    """

    def __init__(self, identifier: int, page_register: int, *, pages: Mapping[tuple[int, int], int] | None = None,
                 **more):
        self.page_register = page_register
        self._initial = dict(pages or {})
        super().__init__(identifier, **more)

    def reset(self) -> None:
        super().reset()
        self.page = 0
        self.pages = dict(self._initial)

    def read(self, register: int) -> int:
        if register == self.page_register:
            return self.page
        return self.pages.get((self.page, register), 0) if self.page else super().read(register)

    def write(self, register: int, value: int) -> None:
        if register == self.page_register:
            self.page = value
        elif self.page:
            self.pages[self.page, register] = value
        else:
            super().write(register, value)


class MmdPhy(Clause22Phy):
    """A PHY with MDIO manageable devices behind registers 13 and 14 (annex 22D), without post-increment.

    Attributes
    ----------
    mmd : dict[tuple[int, int], int]
        Values by device and register.
    """

    def reset(self) -> None:
        super().reset()
        self.mmd: dict[tuple[int, int], int] = {}
        self._function = 0
        self._address = 0

    def read(self, register: int) -> int:
        if register == 14:
            if self._function >> 14:
                return self.mmd.get((self._function & 31, self._address), 0)
            return self._address
        return self._function if register == 13 else super().read(register)

    def write(self, register: int, value: int) -> None:
        if register == 13:
            self._function = value
        elif register == 14 and not self._function >> 14:
            self._address = value
        elif register == 14:
            self.mmd[self._function & 31, self._address] = value
        else:
            super().write(register, value)


class BroadcomPhy(Clause22Phy):
    """A PHY with shadow registers behind registers 0x18 and 0x1C, as those of Broadcom have them.

    Attributes
    ----------
    auxiliary : dict[int, int]
        Of 0x18: written with their number in bits 2:0; read after a write of number 7 without bit 15, which has the
        number in bits 14:12.
    shadow : dict[int, int]
        Of 0x1C: 10 bits each, with their number in bits 14:10, and bit 15 for a write.
    """

    def reset(self) -> None:
        super().reset()
        self.auxiliary = {7: 0x0100}
        self.shadow = {3: 0x0200}
        self._read_auxiliary = 0
        self._read_shadow = 0

    def read(self, register: int) -> int:
        if register == 0x18:
            return self.auxiliary.get(self._read_auxiliary, 0) | self._read_auxiliary
        if register == 0x1C:
            return self._read_shadow << 10 | self.shadow.get(self._read_shadow, 0)
        return super().read(register)

    def write(self, register: int, value: int) -> None:
        if register == 0x18:
            number = value & 7
            if number == 7 and not value & 0x8000:
                self._read_auxiliary = value >> 12 & 7
            else:
                self.auxiliary[number] = value & 0x7FF8
        elif register == 0x1C:
            if value & 0x8000:
                self.shadow[value >> 10 & 31] = value & 0x3FF
            else:
                self._read_shadow = value >> 10 & 31
        else:
            super().write(register, value)


class AccessFrame(NamedTuple):
    """A management frame that was on the bus."""

    write: bool
    phy: int
    register: int
    data: int


class MdioBus:
    """The two wires, with PHYs at them: decodes what the station sends and lets the PHY that is meant answer.

    Watches times (22.2.2.11, 22.3.4), the preamble, the turnaround, and that never two drive MDIO.

    Parameters
    ----------
    phys : Mapping[int, Clause22Phy]
        PHYs by address.
    reset_ns, ready_ns : float
        How long their reset pin must be held, and how long they must be left alone after it.
    rng : random.Random
        Chooses how late within 300 ns the PHYs are.

    Attributes
    ----------
    frames : list[AccessFrame]
        Every frame, whether a PHY has its address or not.
    """

    def __init__(self, phys: Mapping[int, Clause22Phy], *, reset_ns: float = 0, ready_ns: float = 0,
                 rng: random.Random | None = None):
        self.phys = dict(phys)
        self.frames: list[AccessFrame] = []
        self._rng = rng or random.Random(0)
        self._reset_ns, self._ready_ns = reset_ns, ready_ns
        self._in_reset_since: float | None = None
        self._ready_at = float("-inf")
        self._mdc = 0
        self._station = (1, 0)
        self._changed = self._rose = self._fell = float("-inf")
        self._preamble = 0
        self._bits: list[int] = []
        self._value: int | None = None              # of the register being read, if the PHY is there
        self._drives: int | None = None
        self._next: list[tuple[float, int | None]] = []     # when what the PHYs drive changes

    def set_reset(self, now: float, asserted: bool) -> None:
        """The reset pin of all PHYs, at ``now`` ns."""
        if asserted and self._in_reset_since is None:
            self._in_reset_since = now
        elif not asserted and self._in_reset_since is not None:
            if now - self._in_reset_since < self._reset_ns:
                raise MdioViolation(f"{now} ns: reset was held for {now - self._in_reset_since} ns, "
                                    f"not {self._reset_ns}")
            self._in_reset_since = None
            self._ready_at = now + self._ready_ns
            for phy in self.phys.values():
                phy.reset()

    def next_change(self) -> float | None:
        """When a PHY is going to change MDIO, in ns, if nothing happens before."""
        return self._next[0][0] if self._next else None

    def step(self, now: float, mdc: int, o: int, oe: int) -> int:
        """What the station drives at ``now`` ns, which never goes back; gives the level of MDIO.

        To be called whenever one of these changes, and at :meth:`next_change`.
        """
        while self._next and self._next[0][0] <= now:
            self._drives = self._next.pop(0)[1]
        station = (o if oe else 1, oe)
        if station != self._station:
            if now - self._rose < 10:
                raise MdioViolation(f"{now} ns: MDIO changed {now - self._rose} ns after the rising MDC; hold is 10 ns")
            self._station, self._changed = station, now
        if oe and self._drives is not None:
            raise MdioViolation(f"{now} ns: station and PHY both drive MDIO")
        level = station[0] if oe else 1 if self._drives is None else self._drives
        if mdc != self._mdc:
            self._edge(now, mdc, level, oe)
        return level

    def _edge(self, now: float, mdc: int, level: int, oe: int) -> None:
        self._mdc = mdc
        if not mdc:
            if now - self._rose < 160:
                raise MdioViolation(f"{now} ns: MDC was high for {now - self._rose} ns; least is 160 ns")
            self._fell = now
            return
        for what, since, least in (("MDC was low for", self._fell, 160), ("MDC's period was", self._rose, 400),
                                   ("MDIO was set up for", self._changed, 10)):
            if now - since < least - 1e-6:
                raise MdioViolation(f"{now} ns: {what} {now - since} ns; least is {least} ns")
        self._rose = now
        self._bit(now, level, oe)

    def _bit(self, now: float, level: int, oe: int) -> None:
        bits = self._bits
        if not bits and level:
            self._preamble = self._preamble + 1 if oe else 0
            return
        if not bits and self._preamble < 32:
            raise MdioViolation(f"{now} ns: preamble of {self._preamble} bits, not 32")
        bits.append(level)
        position = len(bits)
        if position <= 14 and not oe:
            raise MdioViolation(f"{now} ns: nobody drives bit {position} of the frame")
        if position < 4:
            return
        start, operation = tuple(bits[:2]), tuple(bits[2:4])
        if start != (0, 1) or operation not in ((1, 0), (0, 1)):
            raise MdioViolation(f"{now} ns: start {start}, operation {operation}: not a frame of clause 22")
        write = operation == (0, 1)
        if position > 14 and oe != write:
            raise MdioViolation(f"{now} ns: station {'drives' if oe else 'does not drive'} bit {position} of a "
                                f"{'write' if write else 'read'}")
        if position == 14:
            if now < self._ready_at or self._in_reset_since is not None:
                raise MdioViolation(f"{now} ns: access to PHYs that are not ready until {self._ready_at} ns")
            if not write:
                phy = self.phys.get(_number(bits[4:9]))
                self._value = None if phy is None else phy.read(_number(bits[9:14]))
        elif not write and self._value is not None and position <= 32:
            # What is driven from this edge on is the next bit.
            drive = {15: 0, 32: None}.get(position, self._value >> 31 - position & 1 if position < 32 else None)
            self._next.append((now + self._rng.uniform(0, 300), drive))
        if write and position == 16 and bits[14:] != [1, 0]:
            raise MdioViolation(f"{now} ns: turnaround of a write is {bits[14:]}, not [1, 0]")
        if position == 32:
            self._end(write)

    def _end(self, write: bool) -> None:
        bits = self._bits
        phy, register, value = _number(bits[4:9]), _number(bits[9:14]), _number(bits[16:])
        self.frames.append(AccessFrame(write, phy, register, value))
        if write and phy in self.phys:
            self.phys[phy].write(register, value)
        self._bits, self._preamble, self._value = [], 0, None


def _number(bits: list[int]) -> int:
    return int("".join(map(str, bits)), 2)
