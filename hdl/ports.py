"""Sets of data ports."""

from amaranth.hdl import Cat, Value

from .config import CoreConfig

__all__ = ["includes"]


def includes(config: CoreConfig, ports: Value, port: Value) -> Value:
    """Whether ``port`` is a data port of this core and is in the set ``ports``, one bit each.

    Ports that the core does not have, the host port among them, are in no set, whatever its bits say.
    """
    return Cat(ports[k] & (port == k) for k in range(config.ports)).any()
