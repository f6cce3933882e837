"""PHY manager: resets the PHYs of an MDIO bus, sets them up, and watches their links for ever."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.hdl.config import ConfigError
from polyrouter.hdl.mdio import MDIO_COMMAND, MDIO_RESPONSE, PHY_STATUS

from .mdio import MDC_HZ, MdioMaster, MdioSignature
from .phy import Phy, Step, StepKind

__all__ = ["ManagedPhy", "PhyManager"]

#: 22.2.4.1.1: a software reset has ended after that many seconds.
_LONGEST_AWAIT = 0.5
#: A frame at 2.5 MHz takes no less, in seconds.
_FRAME_TIME = 26e-6
_GIGABIT = 2
#: What is read of a PHY, in this order: who it is, twice whether there is a link (latching low, 22.2.4.2.13), and what
#: decides speed and duplex.
_POLLED = (2, 3, 1, 1, 0, 4, 5, 9, 10)

_STEP = data.StructLayout({"kind": 2, "register": 5, "value": 16, "mask": 16, "last": 1})


@dataclass(frozen=True)
class ManagedPhy:
    """A PHY on the bus of a manager.

    Attributes
    ----------
    phy : Phy
        What it is.
    address : int
        PHY address on the bus, 0 to 31.
    rx_delay, tx_delay : bool or None
        RGMII delays that it is to add; None: as strapped.
    """

    phy: Phy
    address: int
    rx_delay: bool | None = None
    tx_delay: bool | None = None


class PhyManager(wiring.Component):
    """Runs small programs of register accesses from one ROM: a set-up for each kind of PHY, and a poll for all.

    After the reset each PHY is polled in turn. One that answers with the id that is expected, and was not there in the
    poll before, is set up first; so no other PHY is ever written to, and one that lost its power is set up again.

    Speed and duplex are those of annex 28B.3 (priority resolution, with 40.5.1.1 for 1000BASE-T) while
    auto-negotiation is on, else those of register 0; also in loop-back (22.2.4.1.2), where there is always a link. The
    MAC has no half duplex: such a link counts as none.

    The host's accesses take place between two programs. Polls see page 0 of a PHY's registers only if nobody selects
    another one: a host that does holds them off until it has selected page 0 again.

    Parameters
    ----------
    clock_hz : float
        Clock of ``sync``, in Hz.
    phys : Sequence[ManagedPhy]
        PHYs of this bus, in the order of their ports.
    mdc_hz : float
        Highest frequency of MDC, in Hz.
    poll_ms : float
        Pause between two rounds of polls, in ms. A poll takes a quarter of a ms at 2.5 MHz.
    time_scale : float
        All times in ms are multiplied by it: for simulation.

    Attributes
    ----------
    bus : MdioSignature
        To the pads.
    reset : Signal, out
        Reset of all PHYs, active high; for the longest time that one of them asks for. Managers that share a reset pin
        need the same PHYs, or any of them may assert it.
    status : array of PHY_STATUS, out
        Of each PHY. ``speed`` is that of the last link while there is none, 1000 Mb/s before there was one.
    i, o : streams of MDIO_COMMAND and MDIO_RESPONSE
        The host's accesses.
    hold : Signal, in
        No poll begins.

    Raises
    ------
    ConfigError
        If there is no PHY, two have one address, or one can't do what is asked of it.
    """

    def __init__(self, clock_hz: float, phys: Sequence[ManagedPhy], *, mdc_hz: float = MDC_HZ, poll_ms: float = 10,
                 time_scale: float = 1) -> None:
        if not phys:
            raise ConfigError("an MDIO bus has at least one PHY")
        for number, managed in enumerate(phys):
            if not 0 <= managed.address <= 31:
                raise ConfigError(f"address of PHY {number} must be 0 to 31, not {managed.address}")
            if managed.address in [other.address for other in phys[:number]]:
                raise ConfigError(f"two PHYs of one bus have the address {managed.address}: give each its own, or its "
                                  "own bus")
        self._phys = tuple(phys)
        self._clock_hz, self._mdc_hz = clock_hz, mdc_hz

        def cycles(milliseconds: float) -> int:
            return max(1, ceil(milliseconds * 1e-3 * clock_hz * time_scale))

        self._reset_cycles = cycles(max(managed.phy.reset_ms for managed in phys))
        self._ready_cycles = cycles(max(managed.phy.ready_ms for managed in phys))
        self._poll_cycles = cycles(poll_ms)
        self._await_reads = max(4, ceil(_LONGEST_AWAIT / _FRAME_TIME * time_scale))
        # The ROM: the poll, then each set-up once.
        self._rom = _program([Step(StepKind.AWAIT, register, 0, 0) for register in _POLLED])
        self._starts: list[int] = []
        known: dict[tuple[Step, ...], int] = {}
        for number, managed in enumerate(phys):
            try:
                steps = managed.phy.setup(managed.rx_delay, managed.tx_delay)
            except ConfigError as error:
                raise ConfigError(f"PHY {number} at address {managed.address}: {error}") from error
            if steps not in known:
                known[steps] = len(self._rom)
                self._rom += _program(steps)
            self._starts.append(known[steps])
        super().__init__({
            "bus": Out(MdioSignature),
            "reset": Out(1, init=1),
            "status": Out(PHY_STATUS, init={"speed": _GIGABIT}).array(len(phys)),
            "i": In(stream.Signature(MDIO_COMMAND)),
            "o": Out(stream.Signature(MDIO_RESPONSE)),
            "hold": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        phys = self._phys
        m.submodules.master = master = MdioMaster(self._clock_hz, self._mdc_hz)
        connect(m, master.bus, flipped(self.bus))

        timer = Signal(range(max(self._reset_cycles, self._ready_cycles, self._poll_cycles)))
        tries = Signal(range(self._await_reads))
        number = Signal(range(max(2, len(phys))))       # PHY whose turn it is
        counter = Signal(range(len(self._rom)))
        m.submodules.rom = rom = Memory(shape=_STEP, depth=len(self._rom), init=self._rom)
        read = rom.read_port()
        step = Signal(_STEP)
        setting_up = Signal()
        writing = Signal()                              # the second half of a MODIFY
        to_write = Signal(16)
        was_set_up = Signal(len(phys))
        host = Signal()                                 # the access is the host's
        answer = master.o.payload
        m.d.comb += [
            read.addr.eq(counter),
            step.eq(read.data),         # a cycle after ``counter``
            master.i.payload.phy.eq(Array(managed.address for managed in phys)[number]),
            master.i.payload.register.eq(step.register),
            master.i.payload.write.eq((step.kind == StepKind.WRITE) | writing),
            master.i.payload.data.eq(Mux(writing, to_write, step.value)),
            self.o.payload.eq(answer),
        ]
        with m.If(host):
            m.d.comb += master.i.payload.eq(self.i.payload)
        seen = self._polled(m, (master.o.valid & master.o.ready) & ~host & ~setting_up, step.register, answer, number)

        with m.FSM():
            with m.State("RESET"):
                m.d.sync += timer.eq(timer + 1)
                with m.If(timer == self._reset_cycles - 1):
                    m.d.sync += [timer.eq(0), self.reset.eq(0)]
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += timer.eq(timer + 1)
                with m.If(timer == self._ready_cycles - 1):
                    m.d.sync += timer.eq(0)
                    m.next = "BEGIN"
            with m.State("PAUSE"):
                m.d.sync += [timer.eq(timer + 1), host.eq(self.i.valid)]
                with m.If(self.i.valid):
                    m.d.sync += timer.eq(timer)
                    m.next = "ACCESS"
                with m.Elif(timer == self._poll_cycles - 1):
                    m.d.sync += timer.eq(0)
                    m.next = "BEGIN"
            # Before each program; ``counter`` is its first step.
            with m.State("BEGIN"):
                m.d.sync += [host.eq(self.i.valid), tries.eq(0), writing.eq(0)]
                with m.If(self.i.valid | ~self.hold):
                    m.next = "ACCESS"
            with m.State("ACCESS"):
                m.d.comb += [master.i.valid.eq(1), self.i.ready.eq(host & master.i.ready)]
                with m.If(master.i.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [self.o.valid.eq(master.o.valid & host), master.o.ready.eq(~host | self.o.ready)]
                m.d.sync += to_write.eq(answer.data & ~step.mask | step.value)
                with m.If(master.o.valid & master.o.ready):
                    m.next = "NEXT"
                    with m.If(host):
                        m.next = "HOST-DONE"
                    with m.Elif((step.kind == StepKind.MODIFY) & ~writing):
                        m.d.sync += writing.eq(1)
                        m.next = "ACCESS"
                    with m.Elif((step.kind == StepKind.AWAIT) & (answer.data & step.mask != step.value)
                                & (tries != self._await_reads - 1)):
                        m.d.sync += tries.eq(tries + 1)
                        m.next = "ACCESS"
            with m.State("HOST-DONE"):
                m.d.sync += host.eq(0)
                m.next = "BEGIN"
            with m.State("NEXT"):
                m.d.sync += [counter.eq(counter + 1), writing.eq(0), tries.eq(0)]
                m.next = "FETCH"
                with m.If(step.last):
                    m.next = "END"
            with m.State("FETCH"):
                m.next = "ACCESS"
            with m.State("END"):
                m.d.sync += [counter.eq(0), setting_up.eq(0)]
                mine = Const(1, len(phys)) << number
                m.next = "BEGIN"
                with m.If(~setting_up & seen.present & ~was_set_up.bit_select(number, 1)):
                    m.d.sync += [counter.eq(Array(self._starts)[number]), setting_up.eq(1)]
                with m.Else():
                    m.d.sync += was_set_up.eq(Mux(setting_up | seen.present, was_set_up | mine, was_set_up & ~mine))
                    with m.If(~setting_up):
                        self._show(m, number, seen)
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == len(phys) - 1):
                        m.d.sync += number.eq(0)
                        m.next = "PAUSE"
        return m

    def _polled(self, m: Module, take, register, answer, number):
        """Collects what a poll reads; gives PHY_STATUS, right after its last step."""
        seen = Signal(PHY_STATUS)
        answered = Signal()
        up, complete, extended = Signal(), Signal(), Signal()
        control = Signal(16)
        ours, common = Signal(16), Signal(10)
        gigabit = Signal(2)         # half, full
        with m.If(take):
            m.d.sync += answered.eq(answer.ok & (answered | (register == _POLLED[0])))
            with m.Switch(register):
                with m.Case(2):
                    m.d.sync += seen.id[16:].eq(answer.data)
                with m.Case(3):
                    m.d.sync += seen.id[:16].eq(answer.data)
                with m.Case(1):
                    m.d.sync += [up.eq(answer.data[2]), complete.eq(answer.data[5]), extended.eq(answer.data[8])]
                with m.Case(0):
                    m.d.sync += control.eq(answer.data)
                with m.Case(4, 9):
                    m.d.sync += ours.eq(answer.data)
                with m.Case(5):
                    m.d.sync += common.eq(ours & answer.data)
                with m.Case(10):
                    m.d.sync += gigabit.eq(Mux(extended, ours[8:10] & answer.data[10:12], 0))

        # 22.2.4.1: of register 0. 28.2.4.1.3: bits 8 to 5 are 100 full, half, 10 full, half; 9 is 100BASE-T4, half.
        loopback, negotiate, full = control[14], control[12], control[8]
        forced = Mux(control[6], _GIGABIT, control[13])
        speed, duplex = Signal(2), Signal()
        m.d.comb += [speed.eq(0), duplex.eq(common[6])]
        with m.If(loopback | ~negotiate):
            m.d.comb += [speed.eq(forced), duplex.eq(full)]
        with m.Elif(gigabit.any()):
            m.d.comb += [speed.eq(_GIGABIT), duplex.eq(gigabit[1])]
        with m.Elif(common[7:10].any()):
            m.d.comb += [speed.eq(1), duplex.eq(common[8])]
        matches = Array((seen.id ^ managed.phy.identifier) & managed.phy.mask == 0 for managed in self._phys)[number]
        status = Signal(PHY_STATUS)
        m.d.comb += [
            status.id.eq(seen.id),
            status.present.eq(answered & matches),
            status.link.eq(status.present & duplex & (loopback | (up & (complete | ~negotiate)))),
            status.speed.eq(speed),
            status.full_duplex.eq(status.link),
        ]
        return status

    def _show(self, m: Module, number, seen) -> None:
        """The outcome of a poll."""
        with m.Switch(number):
            for k, status in enumerate(self.status):
                with m.Case(k):
                    m.d.sync += [status[name].eq(seen[name]) for name, _ in PHY_STATUS if name != "speed"]
                    with m.If(seen.link):
                        m.d.sync += status.speed.eq(seen.speed)


def _program(steps: Sequence[Step]) -> list[dict[str, int]]:
    """Words of the ROM."""
    return [{"kind": step.kind, "register": step.register, "value": step.value, "mask": step.mask,
             "last": k == len(steps) - 1} for k, step in enumerate(steps)]
