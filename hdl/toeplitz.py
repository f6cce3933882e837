"""The Toeplitz hash: of the VMAC-VE table's keys, and of flows."""

from amaranth.hdl import Cat, Value

__all__ = ["toeplitz"]


def toeplitz(seed: Value, key: Value, bits: int) -> Value:
    """XOR of ``seed >> k`` over the set bits ``k`` of ``key``, cut to ``bits`` bits (Krawczyk 1994; Microsoft RSS).

    Combinational: a key of 66 to 128 bits takes four levels of four-input look-up tables, so register what comes out.
    ``seed`` needs ``len(key) + bits - 1`` bits; the ones beyond its end are zero.
    """
    # Bit by bit, as parities, which yosys makes balanced trees of; it does not of a chain.
    return Cat((seed[n:n + len(key)] & key).xor() for n in range(bits))
