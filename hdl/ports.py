"""Sets of data ports."""

from amaranth.hdl import Cat, Value

from .config import CoreConfig

__all__ = ["existing", "includes", "only"]


def includes(config: CoreConfig, ports: Value, port: Value) -> Value:
    """Whether ``port`` is a data port of this core and is in the set ``ports``, one bit each.

    Ports that the core does not have, the host port among them, are in no set, whatever its bits say.
    """
    return Cat(ports[k] & (port == k) for k in range(config.ports)).any()


def existing(config: CoreConfig, ports: Value) -> Value:
    """The set without ports that the core does not have."""
    return ports[:config.ports]


def only(config: CoreConfig, port: Value) -> Value:
    """The set of one data port; empty if the core does not have it."""
    return Cat(port == k for k in range(config.ports))
