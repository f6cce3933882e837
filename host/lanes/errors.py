"""What a lane can't do."""

__all__ = ["LaneError"]


class LaneError(RuntimeError):
    """VNICs can't be made as wanted; the message says which, why, and what to do."""
