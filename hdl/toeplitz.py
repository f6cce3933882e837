"""The hash of the VMAC-VE table."""

from functools import reduce
from operator import xor

from amaranth.hdl import Const, Mux, Value

__all__ = ["toeplitz"]


def toeplitz(seed: Value, key: Value, bits: int) -> Value:
    """XOR of ``seed >> k`` over the set bits ``k`` of ``key``, cut to ``bits`` bits (Toeplitz, as in Microsoft RSS)."""
    return reduce(xor, (Mux(key[k], seed[k:k + bits], Const(0, bits)) for k in range(len(key))))
