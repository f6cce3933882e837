"""What goes wrong with a network as a whole."""

__all__ = ["NetworkError"]


class NetworkError(RuntimeError):
    """A network can't be made, changed or removed; the message says why."""
