"""Bytes of a last beat that count."""

from amaranth.hdl import Cat

__all__ = ["lanes_used", "spread"]


def lanes_used(empty, width: int):
    """A bit for each lane of a beat, one if it is used; ``empty`` must be zero in all but last beats."""
    lanes = width // 8
    return Cat(empty < lanes - lane for lane in range(lanes))


def spread(lanes):
    """Each bit eight times: a mask for the bytes of a beat."""
    return Cat(lane.replicate(8) for lane in lanes)
