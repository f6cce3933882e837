"""Clock domains of a line's clocks, as MACs need them."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal
from amaranth.lib.cdc import ResetSynchronizer

__all__ = ["add_line_domain"]


def add_line_domain(m: Module, name: str, clock) -> None:
    """Add a domain of a line's clock to a module; it is reset together with ``sync``.

    Parameters
    ----------
    m : Module
    name : str
        Name of the domain.
    clock : Signal
        Its clock.
    """
    m.domains += ClockDomain(name)
    m.d.comb += ClockSignal(name).eq(clock)
    m.submodules[f"{name}_reset"] = ResetSynchronizer(ResetSignal("sync", allow_reset_less=True), domain=name)
