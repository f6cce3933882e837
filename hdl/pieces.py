"""The words of a wide row as its memory delivers them, one after the other."""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from .config import CoreConfig
from .layouts import CONTEXT_ROW
from .words import WORD_BITS

__all__ = ["PieceSignature", "context_pieces", "piece_bits"]


def piece_bits(row_bits: int, words: int, part_bits: int) -> int:
    """Bits of each of a row's words in memory, so that none of the row's parts is in two of them.

    Parameters
    ----------
    row_bits : int
        Bits of the row.
    words : int
        Words in memory that it is made of.
    part_bits : int
        Bits that are read back at once, from the row's first bit on; 1 if it does not matter.
    """
    return -(-row_bits // (words * part_bits)) * part_bits


class PieceSignature(wiring.Signature):
    """Pieces of the rows that are read for the control engine.

    Parameters
    ----------
    words : int
        Pieces of a row.
    bits : int
        Bits of a piece.

    Members
    -------
    en : Signal
        A piece is there, for this cycle.
    number : Signal
        Which; 0 has the row's first bits. They come in this order, the last one with the access' acknowledgement.
    data : Signal
        The piece.
    """

    def __init__(self, words: int, bits: int) -> None:
        self.words, self.bits = words, bits
        super().__init__({"en": Out(1), "number": Out(range(words)), "data": Out(bits)})


def context_pieces(config: CoreConfig) -> PieceSignature | None:
    """How context rows are read back: None if as a whole, as they are one piece or their words are not in parts."""
    if config.access_bits == WORD_BITS or config.context_words == 1:
        return None
    return PieceSignature(config.context_words, piece_bits(CONTEXT_ROW.size, config.context_words, config.access_bits))
