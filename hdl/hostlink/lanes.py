"""Bytes of a last beat that count."""

from amaranth.hdl import Cat, Mux

__all__ = ["without_rubbish"]


def without_rubbish(beat, width: int):
    """Data of a ``frame_layout`` beat with zeros in its unused lanes; ``empty`` must be zero in all but last beats."""
    lanes = width // 8
    return Cat(Mux(beat.empty < lanes - lane, beat.data.word_select(lane, 8), 0) for lane in range(lanes))
