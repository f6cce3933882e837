"""PHYs: each answers on MDIO with the id that the board expects; and their loop-back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..driver import Driver
from ..registers import BoardRegisters, MdioError, PhyStatus
from .result import CheckResult, failed, passed
from .waiting import afterwards, wait_for

__all__ = ["LoopedPhy", "check_mdio", "end_loopbacks", "has_link", "phy_loopback"]

_CHECK = "MDIO"
_CONTROL, _STATUS, _ID_HIGH, _ID_LOW = range(4)
#: IEEE 802.3, 22.2.4.1: loop-back; and that at 1000 Mb/s, full duplex, without auto-negotiation.
_LOOPED = 1 << 14
_LOOPBACK = _LOOPED | 1 << 6 | 1 << 8
_NEGOTIATE, _RESTART = 1 << 12, 1 << 9
#: 22.2.4.2: what a PHY can do at 10 and 100 Mb/s, or that there is a register 15, which says so for 1000 Mb/s.
_ABILITIES = 0x7F00
_LINK = 1 << 2
#: Seconds until the board's own polls see a change; a reset of a PHY may be part of it.
_PATIENCE = 5.0


def end_loopbacks(registers: BoardRegisters) -> None:
    """End loop-backs that a self-test has left, which was killed or whose board did not answer any more."""
    registers.set_loopback(())
    for phy in registers.phys():
        try:
            control = registers.mdio_read(phy.bus, phy.address, _CONTROL)
            if control & _LOOPED:
                registers.mdio_write(phy.bus, phy.address, _CONTROL, control & ~_LOOPED | _NEGOTIATE | _RESTART)
        except MdioError:
            continue        # the check of MDIO says so


def check_mdio(registers: BoardRegisters) -> Iterator[CheckResult]:
    """The PHY of each port, one after the other. A board that has just started is given time to set them up."""
    wait_for(lambda: all(phy.present for phy in registers.phys()), _PATIENCE)
    for port, phy in enumerate(registers.phys()):
        yield _check_phy(registers, f"port {port}", phy)


def _check_phy(registers: BoardRegisters, subject: str, phy: PhyStatus) -> CheckResult:
    where = f"address {phy.address} of bus {phy.bus}"
    try:
        high, low, status = (registers.mdio_read(phy.bus, phy.address, register)
                             for register in (_ID_HIGH, _ID_LOW, _STATUS))
    except MdioError as error:
        return failed(_CHECK, subject, str(error))
    found = high << 16 | low
    if found in (0, 0xFFFFFFFF):
        return failed(_CHECK, subject, f"{where} has the id {found:#010x}: MDIO is stuck at one level")
    if not phy.present:
        return failed(_CHECK, subject, f"{where} has the id {found:#010x}, which is not that of the PHY that the board "
                                       "was built for: check the board file, or which board this is")
    if phy.identifier != found:
        return failed(_CHECK, subject, f"{where} has the id {found:#010x}, but the board's own polls read "
                                       f"{phy.identifier:#010x}: MDIO is not reliable")
    if not status & _ABILITIES:
        return failed(_CHECK, subject, f"{where} says in register 1, {status:#06x}, that it can do nothing: it is in "
                                       "reset, or has no clock")
    return passed(_CHECK, subject, f"id {found:#010x} at {where}, {_link(phy)}")


def _link(phy: PhyStatus) -> str:
    return f"link at {phy.speed} Mb/s" if phy.link else "no link"


def has_link(registers: BoardRegisters, port: int) -> bool:
    """Whether a port has a link now, by its PHY: what the board's polls say may be from before.

    Raises
    ------
    MdioError
        If it does not answer.
    """
    phy = registers.phys()[port]
    # It tells first of a link that was lost since it was read last (22.2.4.2.13).
    registers.mdio_read(phy.bus, phy.address, _STATUS)
    return bool(registers.mdio_read(phy.bus, phy.address, _STATUS) & _LINK)


@dataclass(frozen=True)
class LoopedPhy:
    """A PHY that was told to loop back.

    Attributes
    ----------
    why_not : str or None
        Why it does not; None: as far as it says, it does.
    """

    why_not: str | None = None


@contextmanager
def phy_loopback(driver: Driver, registers: BoardRegisters, port: int) -> Iterator[LoopedPhy]:
    """A port's PHY gives back what it is sent, at 1000 Mb/s, and is deaf to the line. Afterwards it is as before, and
    negotiates anew."""
    phy = registers.phys()[port]
    try:
        before = registers.mdio_read(phy.bus, phy.address, _CONTROL)
    except MdioError as error:
        yield LoopedPhy(str(error))
        return

    def restore() -> None:
        registers.mdio_write(phy.bus, phy.address, _CONTROL, before | (_RESTART if before & _NEGOTIATE else 0))

    with afterwards(driver, restore):
        registers.mdio_write(phy.bus, phy.address, _CONTROL, _LOOPBACK)
        yield LoopedPhy(_why_not(registers, port, phy))


def _why_not(registers: BoardRegisters, port: int, phy: PhyStatus) -> str | None:
    control = registers.mdio_read(phy.bus, phy.address, _CONTROL)
    if control & _LOOPBACK != _LOOPBACK:
        return f"register 0 of the PHY reads {control:#06x}, so it did not take loop-back at 1000 Mb/s"

    def ready() -> bool:
        status = registers.phys()[port]
        return status.link and status.speed == 1000

    if not wait_for(ready, _PATIENCE):
        return "the board does not see the PHY in loop-back at 1000 Mb/s: check the MDIO checks"
    return None
