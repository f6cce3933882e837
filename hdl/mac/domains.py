"""Clock domains of a line's clocks, as MACs need them."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.lib.cdc import ResetSynchronizer

__all__ = ["add_line_domain"]


def add_line_domain(m: Module, name: str, clock, *, after: str | None = None) -> None:
    """Add a domain of a line's clock to a module; it is reset together with ``sync``.

    Parameters
    ----------
    m : Module
    name : str
        Name of the domain.
    clock : Signal
        Its clock.
    after : str or None
        Another domain of the same clock: the reset of this one is that of the other, two cycles later. Lines that are
        far from each other have no reset in common then, whose wires would be the longest of all.
    """
    m.domains += ClockDomain(name)
    m.d.comb += ClockSignal(name).eq(clock)
    if after is None:
        m.submodules[f"{name}_reset"] = ResetSynchronizer(ResetSignal("sync", allow_reset_less=True), domain=name)
        return
    on_its_way, reset = (Signal(init=1, reset_less=True, name=f"{name}_{part}") for part in ("on_its_way", "reset"))
    m.d[name] += [on_its_way.eq(ResetSignal(after)), reset.eq(on_its_way)]
    m.d.comb += ResetSignal(name).eq(reset)
