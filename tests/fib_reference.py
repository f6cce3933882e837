"""The FIB walk as ``docs/dataplane.md`` tells it, on rows read through a function."""

from collections.abc import Callable

from polyrouter.hdl.layouts import FIB_BRANCH, FIB_LEAF, FIB_LEVELS, FIB_LEVELS_IPV6, unpack

MISS, FAULT = "miss", "fault"


def walk(read: Callable[[int], int], address: int, *, base: int, size: int, words: int, root: int = 0,
         ipv6: bool = False, source: int | None = None) -> tuple[int | str, list[int]]:
    """What a lookup of ``address`` gives (a result, MISS or FAULT), and the rows of the pool that it reads.

    ``address`` has 128 bits; an IPv4 address is in the upper 32. With ``source``, it is a multicast group.
    """
    outcome, rows = _walk(read, address, base=base, size=size, words=words, root=root, ipv6=ipv6)
    if source is None or isinstance(outcome, str):
        return outcome, rows
    outcome, more = _walk(read, source, base=base, size=size, words=words, root=outcome, ipv6=ipv6)
    return outcome, rows + more


def _walk(read, address, *, base, size, words, root, ipv6):
    rows: list[int] = []

    def fetch(row):
        if row >= size or base + row >= words:
            return None
        rows.append(base + row)
        return read(base + row)

    def first_bits(count):
        return a >> 128 - count

    def ones(bitmap, below):
        return bin(bitmap & (1 << below) - 1).count("1")

    best: tuple[str, int] | None = None
    row, a = root + (address >> 127), address << 1 & (1 << 128) - 1
    for _ in range(FIB_LEVELS_IPV6 if ipv6 else FIB_LEVELS):
        word = fetch(row)
        if word is None:
            return FAULT, rows
        leaf = unpack(FIB_LEAF, word)
        if leaf["leaf"]:
            length = min(leaf["length"], 46)
            if first_bits(length) == leaf["bits"] >> 46 - length:
                best = "direct", leaf["result"]
            break
        w = unpack(FIB_BRANCH, word)
        for bits in (3, 2, 1, 0):
            p = (1 << bits) - 1 + first_bits(bits)
            if w["internal"] >> p & 1:
                best = "indirect", w["result"] + ones(w["internal"], p)
                break
        i = first_bits(4)
        if not w["external"] >> i & 1:
            break
        row = w["child"] + ones(w["external"], i)
        a = a << 4 & (1 << 128) - 1
    else:
        return FAULT, rows
    if best is None:
        return MISS, rows
    kind, value = best
    if kind == "direct":
        return value, rows
    word = fetch(value // 4)
    if word is None:
        return FAULT, rows
    return word >> 18 * (value % 4) & (1 << 18) - 1, rows
