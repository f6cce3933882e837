"""PHYs as data: how each is known, reset, and set up.

What a PHY has beyond IEEE 802.3 is from its data sheet, or, where that is not public, from what Linux' driver of it
writes (``drivers/net/phy``); each entry says which. Times that no public document gives are chosen longer than any
board's device tree has them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from polyrouter.hdl.config import ConfigError

__all__ = ["PHYS", "Phy", "Step", "StepKind", "phy_named"]


class StepKind(IntEnum):
    """What a step of a set-up does with a register."""

    WRITE = 0               # write ``value``
    MODIFY = 1              # replace the bits of ``mask`` by those of ``value``
    AWAIT = 2               # read until the bits of ``mask`` are as in ``value``


@dataclass(frozen=True)
class Step:
    """One step of a set-up."""

    kind: StepKind
    register: int
    value: int
    mask: int = 0xFFFF


def _write(register: int, value: int) -> Step:
    return Step(StepKind.WRITE, register, value)


def _modify(register: int, value: int, mask: int) -> Step:
    return Step(StepKind.MODIFY, register, value, mask)


#: Delays as a board wants them: receive, transmit; None: as strapped.
_Delays = Callable[[bool | None, bool | None], tuple[Step, ...]]

# 22.2.4: bits of register 0.
_RESET, _LOOPBACK, _NEGOTIATE, _POWER_DOWN, _ISOLATE, _RESTART = (1 << bit for bit in (15, 14, 12, 11, 10, 9))
#: Last steps of every set-up. The MAC has neither half duplex nor flow control, so neither is offered (28.2.4.1.3,
#: 40.5.1.1); then auto-negotiation starts anew.
_NEGOTIATION = (
    _modify(4, 1 << 8 | 1 << 6, 0x7F << 5),
    _modify(9, 1 << 9, 3 << 8),
    _modify(0, _NEGOTIATE | _RESTART, _LOOPBACK | _NEGOTIATE | _POWER_DOWN | _ISOLATE | _RESTART),
)


@dataclass(frozen=True)
class Phy:
    """A kind of PHY.

    Attributes
    ----------
    name : str
    identifier, mask : int
        Registers 2 (upper half) and 3, 22.2.4.3.1: OUI, model and revision; and which of their bits count.
    reset_ms : float
        How long the reset pin is held, in ms.
    ready_ms : float
        Time from then until MDIO may be used, in ms.
    delays : callable
        Steps that set the RGMII delays; see :meth:`setup`.
    """

    name: str
    identifier: int
    mask: int
    reset_ms: float
    ready_ms: float
    delays: _Delays

    def setup(self, rx_delay: bool | None = None, tx_delay: bool | None = None) -> tuple[Step, ...]:
        """What is done once after a reset.

        Parameters
        ----------
        rx_delay, tx_delay : bool or None
            The PHY delays the receive clock against its data, and the transmit clock that it is given, by about 2 ns
            (RGMII 2.0, RGMII-ID). None leaves it to the PHY's straps.

        Raises
        ------
        ConfigError
            If this PHY can't.
        """
        return (*self.delays(rx_delay, tx_delay), *_NEGOTIATION)

    def matches(self, identifier: int) -> bool:
        """Whether registers 2 and 3 are those of this PHY."""
        return (identifier ^ self.identifier) & self.mask == 0


def _bits(rx: bool | None, tx: bool | None, rx_bit: int, tx_bit: int) -> tuple[int, int]:
    """Value and mask of a register that has a bit for each delay."""
    value = (rx_bit if rx else 0) | (tx_bit if tx else 0)
    return value, (0 if rx is None else rx_bit) | (0 if tx is None else tx_bit)


def _strapped(name: str) -> _Delays:
    """A PHY whose delays are chosen by pins alone."""
    def steps(rx: bool | None, tx: bool | None) -> tuple[Step, ...]:
        for which, value in ("rx_delay", rx), ("tx_delay", tx):
            if value is not None:
                raise ConfigError(f"{name} takes its RGMII delays from its straps, so {which} can't be set to {value}: "
                                  f"leave {which} out in the board's description, and let the FPGA's delay be what "
                                  "the straps leave to it")
        return ()
    return steps


def _marvell(rx: bool | None, tx: bool | None) -> tuple[Step, ...]:
    value, mask = _bits(rx, tx, 1 << 5, 1 << 4)
    if not mask:
        return ()
    # They count after a software reset; register 0 takes no write until that has ended (22.2.4.1.1).
    return (_write(22, 2), _modify(21, value, mask), _write(22, 0),
            _modify(0, _RESET, _RESET), Step(StepKind.AWAIT, 0, 0, _RESET))


def _broadcom(rx: bool | None, tx: bool | None) -> tuple[Step, ...]:
    steps: list[Step] = []
    if rx is not None:
        # 0x18 has shadow registers: this selects number 7 for reading, and it is written with bit 15 set.
        steps += [_write(0x18, 0x7007), _modify(0x18, 0x8007 | rx << 8, 0x8107)]
    if tx is not None:
        # Shadow register 3 of 0x1C; bit 9 is all that there is.
        steps += [_write(0x1C, 0x8000 | 3 << 10 | tx << 9)]
    return tuple(steps)


def _mmd(device: int, register: int, value: int) -> tuple[Step, ...]:
    """A write through registers 13 and 14 (annex 22D)."""
    return _write(13, device), _write(14, register), _write(13, 0x4000 | device), _write(14, value)


def _ksz9031(rx: bool | None, tx: bool | None) -> tuple[Step, ...]:
    # Skews of 0.06 ns a step; 7 (of 15) and 15 (of 31) are no skew. The PHY itself delays RX_CLK by 1.2 ns.
    rx_data, rx_clock = (7, 25) if rx is not False else (12, 0)     # 1.2 + 0.6 ns; 1.2 - 0.9 - 0.3 ns
    tx_data, tx_clock = (0, 31) if tx else (7, 15)                  # 0.96 + 0.42 ns, the most there is; 0 ns
    if rx is None:
        rx_data, rx_clock = 7, 15
    pads: tuple[Step, ...] = ()
    if rx is not None or tx is not None:
        pads = (*_mmd(2, 4, rx_data << 4 | tx_data), *_mmd(2, 5, rx_data * 0x1111), *_mmd(2, 6, tx_data * 0x1111),
                *_mmd(2, 8, tx_clock << 5 | rx_clock))
    # Bursts of link pulses every 16 ms, as in 28.2.1.1.1, instead of every 8 (data sheet, figure 7-3).
    return (*pads, *_mmd(0, 4, 0x0006), *_mmd(0, 3, 0x1A80))


def _rtl8211f(rx: bool | None, tx: bool | None) -> tuple[Step, ...]:
    steps: list[Step] = []
    if tx is not None:
        steps += [_modify(0x11, tx << 8, 1 << 8)]
    if rx is not None:
        steps += [_modify(0x15, rx << 3, 1 << 3)]
    return (_write(31, 0xD08), *steps, _write(31, 0)) if steps else ()


#: The revision, the lowest four bits, does not count.
_ANY_REVISION = 0xFFFFFFF0

#: The PHYs that boards may name.
PHYS = {phy.name: phy for phy in (
    # Marvell Alaska. One die, so one model number. Delays: page 2, register 21, bits 5 and 4 (Linux marvell.c). Reset
    # is held for 10 ms (data sheet MV-S107146).
    Phy("88E1512", 0x01410DD0, _ANY_REVISION, 10, 50, _marvell),
    Phy("88E1510", 0x01410DD0, _ANY_REVISION, 10, 50, _marvell),
    # Broadcom, of the BCM54612E's family and with its model number (Linux broadcom.c, brcmphy.h).
    Phy("B50612D", 0x03625E60, _ANY_REVISION, 10, 50, _broadcom),
    # Microchip, data sheet DS00002117: 4.1, 5.1 and 7 (pad skews, reset for 10 ms, then 0.1 ms), Linux micrel.c.
    Phy("KSZ9031RNX", 0x00221620, _ANY_REVISION, 10, 1, _ksz9031),
    # Realtek. The revision tells E from F, so it counts. Reset for 10 ms, then 30 ms (data sheets); copies of the F's
    # have twice that. E: delays by pins RXDLY and TXDLY only. F: page 0xD08 (Linux realtek.c).
    Phy("RTL8211E", 0x001CC915, 0xFFFFFFFF, 10, 30, _strapped("RTL8211E")),
    Phy("RTL8211F", 0x001CC916, 0xFFFFFFFF, 20, 80, _rtl8211f),
    # Whatever follows clause 22 (22.2.4.1.1: a reset has ended after 0.5 s). Any answer is the right one.
    Phy("generic", 0, 0, 20, 500, _strapped("generic")),
)}


def phy_named(name: str) -> Phy:
    """A PHY by its name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if name not in PHYS:
        raise ConfigError(f"there is no PHY named {name!r}; known are {', '.join(PHYS)}. One that is not known may be "
                          "'generic', if its straps set its delays")
    return PHYS[name]
