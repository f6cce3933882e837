"""SipHash-2-4 as the paper has it (Aumasson and Bernstein 2012, section 2), to test others by."""

__all__ = ["siphash24"]

_MASK = (1 << 64) - 1


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> 64 - by) & _MASK


def _rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0] = v[0] + v[1] & _MASK
        v[1] = _rotate(v[1], 13) ^ v[0]
        v[0] = _rotate(v[0], 32)
        v[2] = v[2] + v[3] & _MASK
        v[3] = _rotate(v[3], 16) ^ v[2]
        v[0] = v[0] + v[3] & _MASK
        v[3] = _rotate(v[3], 21) ^ v[0]
        v[2] = v[2] + v[1] & _MASK
        v[1] = _rotate(v[1], 17) ^ v[2]
        v[2] = _rotate(v[2], 32)


def siphash24(key: bytes, message: bytes) -> int:
    """Tag of a message; its first byte on a wire is the lowest.

    Parameters
    ----------
    key : bytes
        16 of them.
    message : bytes
        Of any length.
    """
    k0, k1 = (int.from_bytes(key[start:start + 8], "little") for start in (0, 8))
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) & 0xFF])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start:start + 8], "little")
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
