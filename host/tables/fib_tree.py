"""The tree bitmap of a FIB as objects, with the leaf words of the pool in place of subtrees that hold one prefix.

The tree is changed by copy on write: a change copies the nodes on its path once for each :meth:`FibTree.begin`, so
that the tree as it was stays whole, to be compared with and to be returned to.
"""

from collections.abc import Iterator, Mapping

from polyrouter.hdl.layouts import FIB_BRANCH, FIB_LEAF, FIB_RESULTS, RESULTS_PER_WORD, unpack

__all__ = ["ADDRESS_BITS", "RESULT_BITS", "FibNode", "FibTree", "branch_word", "leaf_fields", "leaf_word"]

ADDRESS_BITS = 32
RESULT_BITS = FIB_LEAF["result"].width
_ROOT_STRIDE = 1
_STRIDE = 4

# The layouts' offsets as plain integers: these run for every prefix of a full table.
_MASK = (1 << ADDRESS_BITS) - 1
_LEAF = 1 << FIB_LEAF["leaf"].offset
_LENGTH, _LENGTH_MASK = FIB_LEAF["length"].offset, (1 << FIB_LEAF["length"].width) - 1
_BITS = FIB_LEAF["bits"].offset + FIB_LEAF["bits"].width - ADDRESS_BITS   # left-aligned in a longer field
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
    return word >> _BITS & _MASK, word >> _LENGTH & _LENGTH_MASK, word >> _RESULT & _RESULT_MASK


def branch_word(internal: int, external: int, child: int, where: int) -> int:
    """A node; ``child`` and ``where`` are its first child and its first result."""
    return internal << _INTERNAL | external << _EXTERNAL | child << _CHILD | where << _WHERE


class FibNode:
    """A subtree with two prefixes or more.

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


class FibTree:
    """Longest-prefix match by a tree bitmap.

    Prefixes are left-aligned integers of 32 bits without bits set beyond their length.

    Attributes
    ----------
    root : int or FibNode
        Zero if there is no prefix, a leaf word if there is one.
    owner : object
        The present transaction.
    dropped : list of FibNode
        Nodes, as they were before the transaction, whose place is no longer that of a node.
    """

    def __init__(self, root: int | FibNode = 0) -> None:
        self.root = root
        self.begin()

    @classmethod
    def from_image(cls, image: Mapping[int, int], root_row: int) -> "FibTree":
        """The tree that lookups find in the words of a pool.

        Raises
        ------
        ValueError
            If it is not one that this module could have made.
        """
        tree = cls()
        tree.root = tree._read(image, root_row, _ROOT_STRIDE, ADDRESS_BITS, set())
        tree.begin()
        return tree

    def _read(self, image: Mapping[int, int], row: int, stride: int, bits_left: int, seen: set[int]
              ) -> int | FibNode:
        word = _fetch(image, row)
        if row in seen:
            raise ValueError(f"row {row} is referred to twice")
        seen.add(row)
        if not word and bits_left == ADDRESS_BITS:
            return 0
        if word & _LEAF:
            bits, length, result = leaf_fields(word)
            if length > bits_left or bits << length & _MASK or word != leaf_word(bits, length, result):
                raise ValueError(f"row {row}: {word:#x} is not a leaf")
            return word
        node = FibNode(self.owner)
        fields = unpack(FIB_BRANCH, word)
        node.word, node.internal, node.external = word, fields["internal"], fields["external"]
        node.block, node.where = fields["child"], fields["result"]
        longest = (node.internal.bit_length() or 1).bit_length() - 1
        if longest >= min(stride, bits_left + 1) or (
                node.external and (bits_left < stride or node.external.bit_length() > 1 << stride)):
            raise ValueError(f"row {row}: {word:#x} is not a node {ADDRESS_BITS - bits_left} bits below the root")
        for place in range(node.where, node.where + node.internal.bit_count()):
            results = _fetch(image, place // RESULTS_PER_WORD)
            node.results.append(results >> FIB_RESULTS[place % RESULTS_PER_WORD].offset & _RESULT_MASK)
        for kid in range(node.block, node.block + node.external.bit_count()):
            node.kids.append(self._read(image, kid, _STRIDE, bits_left - stride, seen))
        if not (node.results or node.kids) or _single(node, stride) is not None:
            raise ValueError(f"row {row}: {word:#x} is a node with less than two prefixes")
        return node

    def prefixes(self) -> Iterator[tuple[int, int, int]]:
        """All prefixes: (bits, length, result)."""
        waiting: list[tuple[int | FibNode, int, int, int]] = [(self.root, _ROOT_STRIDE, 0, 0)]
        while waiting:
            slot, stride, head, depth = waiting.pop()
            if isinstance(slot, int):
                if slot:
                    bits, length, result = leaf_fields(slot)
                    yield head | bits >> depth, depth + length, result
                continue
            results, kids = iter(slot.results), iter(slot.kids)
            for length in range(stride):
                for value in range(1 << length):
                    if slot.internal >> (1 << length) - 1 + value & 1:
                        yield head | value << ADDRESS_BITS - depth - length, depth + length, next(results)
            for value in range(1 << stride):
                if slot.external >> value & 1:
                    below = depth + stride
                    waiting.append((next(kids), _STRIDE, head | value << ADDRESS_BITS - below, below))

    def begin(self) -> None:
        """Start a transaction: from now on nodes are copied before they are changed."""
        self.owner = object()
        self.dropped: list[FibNode] = []

    def lookup(self, address: int) -> int | None:
        """Result of the longest prefix that matches."""
        slot, stride = self.root, _ROOT_STRIDE
        best: int | None = None
        while not isinstance(slot, int):
            for length in range(stride - 1, -1, -1):
                below = (1 << (1 << length) - 1 + (address >> ADDRESS_BITS - length)) - 1
                if slot.internal & below + 1:
                    best = slot.results[(slot.internal & below).bit_count()]
                    break
            below = (1 << (address >> ADDRESS_BITS - stride)) - 1
            if not slot.external & below + 1:
                return best
            slot = slot.kids[(slot.external & below).bit_count()]
            address, stride = address << stride & _MASK, _STRIDE
        bits, length, result = leaf_fields(slot)
        return result if slot and not (address ^ bits) >> ADDRESS_BITS - length else best

    def put(self, bits: int, length: int, result: int) -> None:
        """Add a prefix, or give it another result."""
        owner, stride = self.owner, _ROOT_STRIDE
        node = self.root
        if isinstance(node, int):
            if not node or leaf_fields(node)[:2] == (bits, length):
                self.root = leaf_word(bits, length, result)
                return
            self.root = node = self._split(node, stride)
        elif node.owner is not owner:
            self.root = node = node.copy(owner)
        while length >= stride:
            number = bits >> ADDRESS_BITS - stride
            bits, length, stride = bits << stride & _MASK, length - stride, _STRIDE
            bit = 1 << number
            external = node.external
            index = (external & bit - 1).bit_count()
            if not external & bit:
                node.external = external | bit
                node.kids.insert(index, _LEAF | length << _LENGTH | bits << _BITS | result << _RESULT)
                return
            kid = node.kids[index]
            if isinstance(kid, int):
                if kid >> _LENGTH & _LENGTH_MASK == length and kid >> _BITS & _MASK == bits:
                    node.kids[index] = leaf_word(bits, length, result)
                    return
                node.kids[index] = kid = self._split(kid, stride)
            elif kid.owner is not owner:
                node.kids[index] = kid = kid.copy(owner)
            node = kid
        bit = 1 << (1 << length) - 1 + (bits >> ADDRESS_BITS - length)
        internal = node.internal
        index = (internal & bit - 1).bit_count()
        if internal & bit:
            node.results[index] = result
        else:
            node.internal = internal | bit
            node.results.insert(index, result)

    def _split(self, leaf: int, stride: int) -> FibNode:
        """A node with what the leaf holds; a second prefix is to follow."""
        node = FibNode(self.owner)
        bits, length, result = leaf_fields(leaf)
        if length < stride:
            node.internal = 1 << (1 << length) - 1 + (bits >> ADDRESS_BITS - length)
            node.results = [result]
        else:
            node.external = 1 << (bits >> ADDRESS_BITS - stride)
            node.kids = [leaf_word(bits << stride & _MASK, length - stride, result)]
        return node

    def remove(self, bits: int, length: int) -> None:
        """Take out a prefix that is there; a subtree that is left with one becomes a leaf."""
        owner, stride = self.owner, _ROOT_STRIDE
        node = self.root
        if isinstance(node, int):
            self.root = 0
            return
        if node.owner is not owner:
            self.root = node = node.copy(owner)
        path: list[tuple[FibNode, int]] = []
        while length >= stride:
            bit = 1 << (bits >> ADDRESS_BITS - stride)
            bits, length, stride = bits << stride & _MASK, length - stride, _STRIDE
            index = (node.external & bit - 1).bit_count()
            kid = node.kids[index]
            if isinstance(kid, int):
                node.external ^= bit
                del node.kids[index]
                break
            if kid.owner is not owner:
                node.kids[index] = kid = kid.copy(owner)
            path.append((node, index))
            node = kid
        else:
            bit = 1 << (1 << length) - 1 + (bits >> ADDRESS_BITS - length)
            del node.results[(node.internal & bit - 1).bit_count()]
            node.internal ^= bit
        while (leaf := _single(node, _STRIDE if path else _ROOT_STRIDE)) is not None:
            if node.origin is not None:
                self.dropped.append(node.origin)
            if not path:
                self.root = leaf
                return
            node, index = path.pop()
            node.kids[index] = leaf


def _single(node: FibNode, stride: int) -> int | None:
    """The leaf that says the same as a node, if that holds one prefix."""
    if len(node.results) + len(node.kids) != 1:
        return None
    if node.results:
        position = node.internal.bit_length()           # 2**length + value
        length = position.bit_length() - 1
        return leaf_word(position - (1 << length) << ADDRESS_BITS - length, length, node.results[0])
    kid = node.kids[0]
    if not isinstance(kid, int):
        return None
    bits, length, result = leaf_fields(kid)
    number = node.external.bit_length() - 1
    return leaf_word(number << ADDRESS_BITS - stride | bits >> stride, length + stride, result)


def _fetch(image: Mapping[int, int], row: int) -> int:
    try:
        return image[row]
    except KeyError:
        raise ValueError(f"row {row} is not in the image, but is referred to") from None
