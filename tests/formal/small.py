"""Configurations far below what a core is built with, so that a proof reaches every corner of a component."""

from polyrouter.hdl.config import CoreConfig

__all__ = ["small_config"]


def small_config(**parameters: int) -> CoreConfig:
    """A configuration with the given parameters, whose ranges are not checked."""
    config = CoreConfig()
    for name, value in parameters.items():
        object.__setattr__(config, name, value)
    return config
