"""The Toeplitz hash: of the VMAC-VE table's keys, and of flows."""

from functools import reduce
from operator import xor

from amaranth.hdl import Const, Mux, Value

__all__ = ["toeplitz"]


def toeplitz(seed: Value, key: Value, bits: int) -> Value:
    """XOR of ``seed >> k`` over the set bits ``k`` of ``key``, cut to ``bits`` bits (Krawczyk 1994; Microsoft RSS).

    Combinational: a key of 66 to 128 bits takes four levels of four-input look-up tables, so register what comes out.
    ``seed`` needs ``len(key) + bits - 1`` bits; the ones beyond its end are zero.
    """
    return reduce(xor, (Mux(key[k], seed[k:k + bits], Const(0, bits)) for k in range(len(key))))
