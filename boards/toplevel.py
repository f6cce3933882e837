"""What the top levels of all vendors do alike: pads that are slow, and the RGMIIs' clock domains."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

__all__ = ["ETH_HZ", "connect_pads", "connect_rgmii"]

#: RGMII 2.0, 3.3: clock of all transmitters, and the fastest RXC.
ETH_HZ = 125e6


def connect_pads(m: Module, inner: wiring.Component, pads: wiring.Component) -> None:
    """Connect the members of pads to those of the same names of a board's top level."""
    for member, kind in pads.signature.members.items():
        one, other = getattr(inner, member), getattr(pads, member)
        if kind.is_signature:
            connect(m, one, other)
        elif kind.flow is wiring.In:
            m.d.comb += other.eq(one)
        else:
            m.d.comb += one.eq(other)


def connect_rgmii(m: Module, inner: wiring.Component, number: int, cells: wiring.Component, **domains: str) -> None:
    """Add a port's cells, in domains of their own, and connect them to a board's top level.

    Nothing in the cells is reset; the top level has domains of its own from the same clocks, for its MACs.

    Parameters
    ----------
    m : Module
    inner : BoardTop
    number : int
        Of the port.
    cells : Component
        With ``ddr`` and ``rx_clk``.
    **domains : str
        Of the transmitter: ``tx``, and whatever else the cells have but ``rx``.
    """
    domain = f"pins{number}_rx"
    m.domains += ClockDomain(domain, reset_less=True)
    m.submodules[f"rgmii{number}"] = DomainRenamer({"rx": domain, **domains})(cells)
    connect(m, getattr(inner, f"rgmii{number}"), cells.ddr)
    m.d.comb += [ClockSignal(domain).eq(cells.rx_clk), getattr(inner, f"rgmii{number}_rx_clk").eq(cells.rx_clk)]
