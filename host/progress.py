"""What those who wait for long work are told."""

from collections.abc import Callable

__all__ = ["Progress", "quiet"]

#: Is told, in a few words, what is being done.
Progress = Callable[[str], None]


def quiet(_: str) -> None:
    """Nobody wants to know."""
