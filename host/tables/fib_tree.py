"""The tree bitmap of a FIB as objects, with the leaf words of the pool in place of subtrees that hold one prefix.

There are two roots, one for each value of an address's first bit. A leaf has room for 46 bits: nodes with one child
lead to a prefix that is longer than that.

The tree is changed by copy on write: a change copies the nodes on its path once for each :meth:`FibTree.begin`, so
that the tree as it was stays whole, to be compared with and to be returned to.
"""

from collections.abc import Iterator, Mapping

from polyrouter.hdl.layouts import ADDRESS_BITS, FIB_BRANCH, FIB_LEAF, FIB_RESULTS, RESULTS_PER_WORD, unpack

__all__ = ["IPV4_BITS", "IPV6_BITS", "RESULT_BITS", "ROOTS", "FibNode", "FibTree", "branch_word", "leaf_fields",
           "leaf_word"]

IPV4_BITS = 32
IPV6_BITS = ADDRESS_BITS
RESULT_BITS = FIB_LEAF["result"].width
#: Bits of an address that choose the root, and how many roots there are.
_ROOT_BITS = 1
ROOTS = 1 << _ROOT_BITS
_STRIDE = 4

# The layouts' offsets as plain integers: these run for every prefix of a full table.
_LEAF_BITS = FIB_LEAF["bits"].width
_LEAF_MASK = (1 << _LEAF_BITS) - 1
_LEAF = 1 << FIB_LEAF["leaf"].offset
_LENGTH, _LENGTH_MASK = FIB_LEAF["length"].offset, (1 << FIB_LEAF["length"].width) - 1
_BITS = FIB_LEAF["bits"].offset
_RESULT, _RESULT_MASK = FIB_LEAF["result"].offset, (1 << RESULT_BITS) - 1
_INTERNAL = FIB_BRANCH["internal"].offset
_EXTERNAL = FIB_BRANCH["external"].offset
_CHILD = FIB_BRANCH["child"].offset
_WHERE = FIB_BRANCH["result"].offset


def leaf_word(bits: int, length: int, result: int) -> int:
    """A subtree with one prefix: the ``length`` further bits that are the highest of ``bits``."""
    return _LEAF | length << _LENGTH | bits << _BITS | result << _RESULT


def leaf_fields(word: int) -> tuple[int, int, int]:
    """(bits, length, result) of a leaf."""
    return word >> _BITS & _LEAF_MASK, word >> _LENGTH & _LENGTH_MASK, word >> _RESULT & _RESULT_MASK


def branch_word(internal: int, external: int, child: int, where: int) -> int:
    """A node; ``child`` and ``where`` are its first child and its first result."""
    return internal << _INTERNAL | external << _EXTERNAL | child << _CHILD | where << _WHERE


class FibNode:
    """A subtree with two prefixes or more, or with one that is too long for a leaf.

    Attributes
    ----------
    internal, external : int
        The bitmaps.
    results : list of int
        Of the prefixes in ``internal``, in its order.
    kids : list of int or FibNode
        Of the bits in ``external``, in its order; a leaf is its word.
    block, where : int
        First row of the children and place of the first result in the pool, as far as there are any.
    word : int
        The node's word in the pool.
    owner : object
        The transaction that made this copy; only it may change it.
    origin : FibNode or None
        What this is a changed copy of, while the transaction lasts.
    """

    __slots__ = ("block", "external", "internal", "kids", "origin", "owner", "results", "where", "word")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.origin: FibNode | None = None
        self.internal = self.external = 0
        self.results: list[int] = []
        self.kids: list[int | FibNode] = []
        self.block = self.where = 0
        self.word = 0

    def copy(self, owner: object) -> "FibNode":
        """A copy that ``owner`` may change."""
        node = FibNode.__new__(FibNode)
        node.owner, node.origin = owner, self
        node.internal, node.external = self.internal, self.external
        node.results, node.kids = self.results.copy(), self.kids.copy()
        node.block, node.where, node.word = self.block, self.where, self.word
        return node


#: What a tree holds: its roots, and the prefixes of no bits and of one.
_Saved = tuple[list[int | FibNode], int | None, list[int | None]]


class FibTree:
    """Longest-prefix match by a tree bitmap.

    Prefixes are left-aligned integers of ``width`` bits without bits set beyond their length.

    Parameters
    ----------
    address_bits : int
        Bits of an address, at most 128.

    Attributes
    ----------
    width : int
        Bits of an address as it is given to the methods: as many as a leaf has at least, so that the short addresses
        of IPv4 need no shift.
    roots : list of int or FibNode
        For each first bit: zero if there is no prefix, a leaf word if there is one. A prefix of no bits is in both, as
        far as there is none of one bit.
    owner : object
        The present transaction.
    dropped : list of FibNode
        Nodes, as they were before the transaction, whose place is no longer that of a node.
    """

    def __init__(self, address_bits: int = IPV4_BITS) -> None:
        self.address_bits = address_bits
        self.width = max(address_bits, _LEAF_BITS)
        self._mask = (1 << self.width) - 1
        self._excess = self.width - _LEAF_BITS      # bits of an address that a leaf has no room for
        self.roots: list[int | FibNode] = [0] * ROOTS
        self._of_no_bits: int | None = None
        self._of_one_bit: list[int | None] = [None] * ROOTS
        self.begin()

    @classmethod
    def from_image(cls, image: Mapping[int, int], root_row: int, address_bits: int = IPV4_BITS) -> "FibTree":
        """The tree that lookups find in the words of a pool.

        If both roots have the same result, it is taken for that of a prefix of no bits.

        Raises
        ------
        ValueError
            If it is not one that this module could have made.
        """
        tree = cls(address_bits)
        seen: set[int] = set()
        for half in range(ROOTS):
            if _fetch(image, root_row + half):
                tree.roots[half] = tree._read(image, root_row + half, address_bits - _ROOT_BITS, seen)
        for bits, length, result in tree.prefixes():
            if length > _ROOT_BITS:
                break
            if length:
                tree._of_one_bit[bits >> tree.width - _ROOT_BITS] = result
            else:
                tree._of_no_bits = result
        tree.begin()
        return tree

    def _read(self, image: Mapping[int, int], row: int, bits_left: int, seen: set[int]) -> int | FibNode:
        word = _fetch(image, row)
        if row in seen:
            raise ValueError(f"row {row} is referred to twice")
        seen.add(row)
        if word & _LEAF:
            bits, length, result = leaf_fields(word)
            if (length > min(bits_left, _LEAF_BITS) or bits << length & _LEAF_MASK
                    or word != leaf_word(bits, length, result)):
                raise ValueError(f"row {row}: {word:#x} is not a leaf")
            return word
        node = FibNode(self.owner)
        fields = unpack(FIB_BRANCH, word)
        node.word, node.internal, node.external = word, fields["internal"], fields["external"]
        node.block, node.where = fields["child"], fields["result"]
        longest = (node.internal.bit_length() or 1).bit_length() - 1
        if longest > bits_left or (node.external and bits_left < _STRIDE):
            raise ValueError(f"row {row}: {word:#x} is not a node {self.address_bits - bits_left} bits below the root")
        for place in range(node.where, node.where + node.internal.bit_count()):
            results = _fetch(image, place // RESULTS_PER_WORD)
            node.results.append(results >> FIB_RESULTS[place % RESULTS_PER_WORD].offset & _RESULT_MASK)
        for kid in range(node.block, node.block + node.external.bit_count()):
            node.kids.append(self._read(image, kid, bits_left - _STRIDE, seen))
        if not (node.results or node.kids) or _single(node) is not None:
            raise ValueError(f"row {row}: {word:#x} is a node that should be a leaf")
        return node

    def prefixes(self) -> Iterator[tuple[int, int, int]]:
        """All prefixes that an address can have as its longest: (bits, length, result), the shortest ones first."""
        shortest = [next(self._below(half), (0, 0, 0)) for half in range(ROOTS)]
        short = [result if length == _ROOT_BITS else None for _, length, result in shortest]
        if short[0] is not None and short.count(short[0]) == ROOTS:
            yield 0, 0, short[0]
        else:
            for half, result in enumerate(short):
                if result is not None:
                    yield half << self.width - _ROOT_BITS, _ROOT_BITS, result
        for half in range(ROOTS):
            yield from (prefix for prefix in self._below(half) if prefix[1] > _ROOT_BITS)

    def _below(self, half: int) -> Iterator[tuple[int, int, int]]:
        """What is below a root; what is in it for all of its addresses comes first, as a prefix of one bit."""
        waiting: list[tuple[int | FibNode, int, int]] = [
            (self.roots[half], half << self.width - _ROOT_BITS, _ROOT_BITS)]
        while waiting:
            slot, head, depth = waiting.pop()
            if isinstance(slot, int):
                if slot:
                    bits, length, result = leaf_fields(slot)
                    yield head | bits << self._excess >> depth, depth + length, result
                continue
            results, kids = iter(slot.results), iter(slot.kids)
            for length in range(_STRIDE):
                for value in range(1 << length):
                    if slot.internal >> (1 << length) - 1 + value & 1:
                        yield head | value << self.width - depth - length, depth + length, next(results)
            for value in range(1 << _STRIDE):
                if slot.external >> value & 1:
                    below = depth + _STRIDE
                    waiting.append((next(kids), head | value << self.width - below, below))

    def save(self) -> _Saved:
        """All that :meth:`restore` needs to undo the transactions that follow."""
        return self.roots.copy(), self._of_no_bits, self._of_one_bit.copy()

    def restore(self, saved: _Saved) -> None:
        """Go back to what :meth:`save` gave."""
        self.roots, self._of_no_bits, self._of_one_bit = saved

    def begin(self) -> None:
        """Start a transaction: from now on nodes are copied before they are changed."""
        self.owner = object()
        self.dropped: list[FibNode] = []

    def lookup(self, address: int) -> int | None:
        """Result of the longest prefix that matches."""
        width = self.width
        slot = self.roots[address >> width - _ROOT_BITS]
        address = address << _ROOT_BITS & self._mask
        best: int | None = None
        while not isinstance(slot, int):
            for length in range(_STRIDE - 1, -1, -1):
                below = (1 << (1 << length) - 1 + (address >> width - length)) - 1
                if slot.internal & below + 1:
                    best = slot.results[(slot.internal & below).bit_count()]
                    break
            below = (1 << (address >> width - _STRIDE)) - 1
            if not slot.external & below + 1:
                return best
            slot = slot.kids[(slot.external & below).bit_count()]
            address = address << _STRIDE & self._mask
        bits, length, result = leaf_fields(slot)
        return result if slot and not (address >> self._excess ^ bits) >> _LEAF_BITS - length else best

    def put(self, bits: int, length: int, result: int) -> None:
        """Add a prefix, or give it another result."""
        if length > _ROOT_BITS:
            self._put(bits >> self.width - _ROOT_BITS, bits << _ROOT_BITS & self._mask, length - _ROOT_BITS, result)
        elif length:
            half = bits >> self.width - _ROOT_BITS
            self._of_one_bit[half] = result
            self._put(half, 0, 0, result)
        else:
            self._of_no_bits = result
            for half in range(ROOTS):
                if self._of_one_bit[half] is None:
                    self._put(half, 0, 0, result)

    def _put(self, half: int, bits: int, length: int, result: int) -> None:
        """The same for a prefix below a root."""
        owner, stride, width, mask, excess = self.owner, _STRIDE, self.width, self._mask, self._excess
        node = self.roots[half]
        if isinstance(node, int):
            if not node or leaf_fields(node)[:2] == (bits >> excess, length):
                self.roots[half] = self._subtree(bits, length, result)
                return
            self.roots[half] = node = self._split(node)
        elif node.owner is not owner:
            self.roots[half] = node = node.copy(owner)
        while length >= stride:
            number = bits >> width - stride
            bits, length = bits << stride & mask, length - stride
            bit = 1 << number
            external = node.external
            index = (external & bit - 1).bit_count()
            if not external & bit:
                node.external = external | bit
                node.kids.insert(index, self._subtree(bits, length, result))
                return
            kid = node.kids[index]
            if isinstance(kid, int):
                if kid >> _LENGTH & _LENGTH_MASK == length and kid >> _BITS & _LEAF_MASK == bits >> excess:
                    node.kids[index] = leaf_word(bits >> excess, length, result)
                    return
                node.kids[index] = kid = self._split(kid)
            elif kid.owner is not owner:
                node.kids[index] = kid = kid.copy(owner)
            node = kid
        bit = 1 << (1 << length) - 1 + (bits >> width - length)
        internal = node.internal
        index = (internal & bit - 1).bit_count()
        if internal & bit:
            node.results[index] = result
        else:
            node.internal = internal | bit
            node.results.insert(index, result)

    def _subtree(self, bits: int, length: int, result: int) -> int | FibNode:
        """What holds a prefix alone: a leaf, or nodes that lead to it."""
        if length <= _LEAF_BITS:
            return _LEAF | length << _LENGTH | bits >> self._excess << _BITS | result << _RESULT
        node = FibNode(self.owner)
        node.external = 1 << (bits >> self.width - _STRIDE)
        node.kids = [self._subtree(bits << _STRIDE & self._mask, length - _STRIDE, result)]
        return node

    def _split(self, leaf: int) -> FibNode:
        """A node with what the leaf holds; a second prefix is to follow."""
        node = FibNode(self.owner)
        bits, length, result = leaf_fields(leaf)
        if length < _STRIDE:
            node.internal = 1 << (1 << length) - 1 + (bits >> _LEAF_BITS - length)
            node.results = [result]
        else:
            node.external = 1 << (bits >> _LEAF_BITS - _STRIDE)
            node.kids = [leaf_word(bits << _STRIDE & _LEAF_MASK, length - _STRIDE, result)]
        return node

    def remove(self, bits: int, length: int) -> None:
        """Take out a prefix that is there; a subtree that is left with one becomes a leaf."""
        if length > _ROOT_BITS:
            self._remove(bits >> self.width - _ROOT_BITS, bits << _ROOT_BITS & self._mask, length - _ROOT_BITS)
        elif length:
            half = bits >> self.width - _ROOT_BITS
            self._of_one_bit[half] = None
            if self._of_no_bits is None:
                self._remove(half, 0, 0)
            else:
                self._put(half, 0, 0, self._of_no_bits)
        else:
            self._of_no_bits = None
            for half in range(ROOTS):
                if self._of_one_bit[half] is None:
                    self._remove(half, 0, 0)

    def _remove(self, half: int, bits: int, length: int) -> None:
        """The same for a prefix below a root."""
        owner, stride, width, mask = self.owner, _STRIDE, self.width, self._mask
        node = self.roots[half]
        if isinstance(node, int):
            self.roots[half] = 0
            return
        if node.owner is not owner:
            self.roots[half] = node = node.copy(owner)
        path: list[tuple[FibNode, int, int]] = []   # node, bit and index of its child
        while length >= stride:
            bit = 1 << (bits >> width - stride)
            bits, length = bits << stride & mask, length - stride
            index = (node.external & bit - 1).bit_count()
            kid = node.kids[index]
            if isinstance(kid, int):
                node.external ^= bit
                del node.kids[index]
                break
            if kid.owner is not owner:
                node.kids[index] = kid = kid.copy(owner)
            path.append((node, bit, index))
            node = kid
        else:
            bit = 1 << (1 << length) - 1 + (bits >> width - length)
            del node.results[(node.internal & bit - 1).bit_count()]
            node.internal ^= bit
        while (leaf := _single(node)) is not None:
            if node.origin is not None:
                self.dropped.append(node.origin)
            if not path:
                self.roots[half] = leaf
                return
            node, bit, index = path.pop()
            if leaf:
                node.kids[index] = leaf
            else:
                node.external ^= bit
                del node.kids[index]


def _single(node: FibNode) -> int | None:
    """The leaf that says the same as a node, if that holds one prefix; zero if it holds none."""
    if not (node.results or node.kids):
        return 0
    if len(node.results) + len(node.kids) != 1:
        return None
    if node.results:
        position = node.internal.bit_length()           # 2**length + value
        length = position.bit_length() - 1
        return leaf_word(position - (1 << length) << _LEAF_BITS - length, length, node.results[0])
    kid = node.kids[0]
    if not isinstance(kid, int):
        return None
    bits, length, result = leaf_fields(kid)
    number = node.external.bit_length() - 1
    if length + _STRIDE > _LEAF_BITS:
        return None
    return leaf_word(number << _LEAF_BITS - _STRIDE | bits >> _STRIDE, length + _STRIDE, result)


def _fetch(image: Mapping[int, int], row: int) -> int:
    try:
        return image[row]
    except KeyError:
        raise ValueError(f"row {row} is not in the image, but is referred to") from None
