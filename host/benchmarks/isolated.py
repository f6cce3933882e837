"""A part of the core by itself, so that its clock can be measured: registers around it, and few pins."""

from amaranth.hdl import Cat, ClockDomain, Elaboratable, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Flow

__all__ = ["Isolated"]

#: Registers of one row that one of the next takes together: as many inputs as a look-up table has.
_FOLD = 4


class Isolated(Elaboratable):
    """A component whose every input comes from a register and whose every output goes to one, all on one clock.

    Inputs are a shift register. Outputs are brought together by exclusive or, four and four with registers in between,
    so that nothing of the part can be left out, and no path around it is longer than one look-up table.

    Parameters
    ----------
    part : wiring.Component

    Attributes
    ----------
    clk : Signal, in
        There is no reset: on ECP5 registers start with their initial values.
    i, o : Signal, in and out
        Ends of the shift register and of the tree.
    """

    def __init__(self, part: wiring.Component) -> None:
        self._part = part
        self.clk = Signal()
        self.i = Signal()
        self.o = Signal()
        self.ports = [self.clk, self.i, self.o]

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain(reset_less=True)
        m.submodules.part = part = self._part
        m.d.comb += sync.clk.eq(self.clk)
        flows: dict[Flow, list[Value]] = {Flow.In: [], Flow.Out: []}
        for _, member, value in part.signature.flatten(part):
            flows[member.flow].append(Value.cast(value))

        inputs = Cat(flows[Flow.In])
        shift = Signal(len(inputs))
        m.d.sync += shift.eq(Cat(self.i, shift))
        m.d.comb += inputs.eq(shift)

        row = Cat(flows[Flow.Out])
        registers = Signal(len(row), name="row_0")
        m.d.sync += registers.eq(row)
        level = 0
        while len(registers) > 1:
            level += 1
            groups = [registers[k:k + _FOLD].xor() for k in range(0, len(registers), _FOLD)]
            registers = Signal(len(groups), name=f"row_{level}")
            m.d.sync += registers.eq(Cat(groups))
        m.d.comb += self.o.eq(registers)
        return m
