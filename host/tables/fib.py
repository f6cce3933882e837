"""Compiler of a router's routes into the words of its FIB, by few writes that never show a half-made state."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from polyrouter.hdl.layouts import FIB_BRANCH, FIB_WORD_BITS, RESULTS_PER_WORD

from .fib_memory import BLOCK_WORDS, FENCE, Fence, FibFull, FibWrite, WindowMemory
from .fib_tree import IPV4_BITS, IPV6_BITS, RESULT_BITS, ROOTS, FibNode, FibTree, branch_word

__all__ = ["FENCE", "IPV6_ROOT_ROW", "ROOTS", "ROOT_ROW", "Fence", "FibCompiler", "FibFull", "FibStatistics",
           "FibWrite", "statistics"]

#: Row of the first root within the window: ``ipv4_root`` of the context row. It has ROOTS rows.
ROOT_ROW = 0
#: The same for IPv6 in a window that both families share: ``ipv6_root``.
IPV6_ROOT_ROW = ROOT_ROW + ROOTS
#: Rows that a window may have at most, from the width of a result's place.
_LARGEST = (1 << FIB_BRANCH["result"].width) // RESULTS_PER_WORD

_LENGTH_BITS = IPV6_BITS.bit_length()
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1
#: Word of a root that was not written yet.
_UNWRITTEN = -1
#: Changes that a step makes when a transaction does not fit in one.
_STEP = 64

#: A prefix as a single integer: address, then length.
_Key = int
_Changes = list[tuple[_Key, int | None]]


@dataclass(frozen=True)
class FibStatistics:
    """What a FIB holds and takes up."""

    routes: int
    nodes: int
    leaves: int
    results: int
    words_used: int
    words_free: int
    bits_per_route: float

    def as_dict(self) -> dict[str, int | float]:
        """By name, for JSON."""
        return dict(vars(self))


class FibCompiler:
    """The FIB of one router, of one family.

    Changes are collected by :meth:`insert` and :meth:`delete`; :meth:`commit` turns them into the writes that bring
    them about, to be made in order. After each single write, a lookup of any address gives what it gave before the
    transaction or what it gives after it. For that, a node is written after what it refers to and what lies below it,
    and routes that are withdrawn together with one that covers them go in a later step, after a fence. Blocks that
    are no longer referred to are used again only after a fence, which may come with a later transaction: so the lists
    of all transactions must be carried out in order, and none may be left out. That goes for the transactions of all
    compilers that share a window (:meth:`dual_stack`), taken together.

    Parameters
    ----------
    size_words : int
        Words of the router's window, 2 to 2**18.
    address_bits : int
        Bits of an address, at most 128.
    root_row : int or None
        Row of the first root; None if the first transaction is to find one.
    memory : WindowMemory, optional
        The window, if it is shared; with it ``size_words`` is not used.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(self, size_words: int, address_bits: int = IPV4_BITS, *, root_row: int | None = ROOT_ROW,
                 memory: WindowMemory | None = None) -> None:
        if not ROOTS <= size_words <= _LARGEST:
            raise ValueError(f"a FIB window has {ROOTS} to {_LARGEST} words, not {size_words}")
        if not 1 <= address_bits <= IPV6_BITS:
            raise ValueError(f"address_bits must be 1 to {IPV6_BITS}, not {address_bits}")
        self.address_bits = address_bits
        self._routes: dict[_Key, int] = {}
        self._staged: dict[_Key, int | None] = {}
        self._tree = FibTree(address_bits)
        self._shift = self._tree.width - address_bits
        self._root_row: int | None = root_row
        self._least_root = 0
        self._root_words = [0] * ROOTS
        self._memory = memory or WindowMemory(size_words)
        self._memory.join(self._used)

    @classmethod
    def from_image(cls, size_words: int, image: Mapping[int, int], address_bits: int = IPV4_BITS) -> "FibCompiler":
        """A compiler that goes on from what a window holds: ``image`` is as :meth:`image` gives it, or all rows.

        Nobody knows what was released before, so its first transaction begins with a fence. Of routes of no or one
        bit, those are taken that lookups can't tell from what was there: a default route that is hidden behind two of
        one bit is not seen, and two of one bit with the same result are taken for one.

        Raises
        ------
        ValueError
            If the words are not such that a compiler could have written them.
        """
        fib = cls(size_words, address_bits)
        fib._load(image)
        fib._memory.restart(image)
        return fib

    @classmethod
    def dual_stack(cls, size_words: int, image: Mapping[int, int] | None = None
                   ) -> tuple["FibCompiler", "FibCompiler"]:
        """Compilers for IPv4 and IPv6 that share a window; with ``image``, they go on as :meth:`from_image` does.

        Raises
        ------
        ValueError
            If a window can't be so small or so large, or the words are not such that compilers could have written them.
        """
        if size_words < IPV6_ROOT_ROW + ROOTS:
            raise ValueError(f"a FIB window of both families has {IPV6_ROOT_ROW + ROOTS} words at least, not "
                             f"{size_words}")
        ipv4 = cls(size_words)
        ipv6 = cls(size_words, IPV6_BITS, root_row=IPV6_ROOT_ROW, memory=ipv4._memory)
        if image is not None:
            ipv4._load(image)
            ipv6._load(image)
            ipv4._memory.restart(image)
        return ipv4, ipv6

    @classmethod
    def below(cls, other: "FibCompiler", least_root: int) -> "FibCompiler":
        """A compiler for another trie of the same family in the same window, which has nothing yet.

        Its first transaction gives it a root, and may be made known to lookups when it was carried out.

        Parameters
        ----------
        other : FibCompiler
            One that has the window.
        least_root : int
            First row that its root may be in.
        """
        fib = cls(other.size_words, other.address_bits, root_row=None, memory=other._memory)
        fib._least_root = least_root
        return fib

    @classmethod
    def at(cls, other: "FibCompiler", root_row: int, image: Mapping[int, int]) -> "FibCompiler":
        """A compiler that goes on from what a window holds below a root; see :meth:`restart`.

        Raises
        ------
        ValueError
            If the words are not such that a compiler could have written them.
        """
        fib = cls.below(other, 0)
        fib._root_row = root_row
        fib._load(image)
        return fib

    def restart(self, image: Mapping[int, int]) -> None:
        """Go on from what the window holds when all compilers that share it are made.

        Raises
        ------
        ValueError
            If ranges in use overlap.
        """
        self._memory.restart(image)

    @property
    def root_row(self) -> int:
        """Row of the root; it has ROOTS rows."""
        assert self._root_row is not None, "nothing was committed yet"
        return self._root_row

    def _load(self, image: Mapping[int, int]) -> None:
        self._tree = FibTree.from_image(image, self.root_row, self.address_bits)
        self._root_words = [_word(root) for root in self._tree.roots]
        for bits, length, result in self._tree.prefixes():
            self._routes[self._key(bits >> self._shift, length)] = result

    def __len__(self) -> int:
        """Routes, as of the last commit."""
        return len(self._routes)

    @property
    def size_words(self) -> int:
        """Words of the window."""
        return self._memory.size

    def _key(self, prefix: int, length: int) -> _Key:
        if not 0 <= length <= self.address_bits:
            raise ValueError(f"a prefix has 0 to {self.address_bits} bits, not {length}")
        if prefix >> self.address_bits or prefix & (1 << self.address_bits - length) - 1:
            raise ValueError(f"prefix {prefix:#x}/{length} is not an address of {self.address_bits} bits with zeros "
                             "after the prefix")
        return prefix << self._shift + _LENGTH_BITS | length

    def insert(self, prefix: int, length: int, result: int) -> None:
        """Add a route, or change its result, with the next commit.

        Raises
        ------
        ValueError
            If the prefix has bits beyond its length, or a value is out of range.
        """
        if not 0 <= result < 1 << RESULT_BITS:
            raise ValueError(f"a result has {RESULT_BITS} bits, {result} does not fit")
        self._staged[self._key(prefix, length)] = result

    def delete(self, prefix: int, length: int) -> None:
        """Withdraw a route with the next commit; no change if there is none.

        Raises
        ------
        ValueError
            If the prefix has bits beyond its length.
        """
        self._staged[self._key(prefix, length)] = None

    def apply(self, changes: Iterable[tuple[int, int, int | None]]) -> list[FibWrite | Fence]:
        """Commit many changes (prefix, length, result, None to withdraw) at once; returns and raises as `commit`."""
        with self.transaction() as writes:
            for prefix, length, result in changes:
                if result is None:
                    self.delete(prefix, length)
                else:
                    self.insert(prefix, length, result)
        return writes

    @contextmanager
    def transaction(self) -> Iterator[list[FibWrite | Fence]]:
        """Commit what is inserted and deleted inside; nothing of it if an exception leaves the block.

        The list is filled when the block ends.
        """
        writes: list[FibWrite | Fence] = []
        try:
            yield writes
        except BaseException:
            self._staged.clear()
            raise
        writes += self.commit()

    def commit(self) -> list[FibWrite | Fence]:
        """The writes that bring about all changes since the last commit.

        Raises
        ------
        FibFull
            If there is no room; then the changes are forgotten, and nothing else is changed.
        """
        routes = self._routes
        changes = [(key, result) for key, result in self._staged.items() if routes.get(key) != result]
        self._staged.clear()
        steps = _steps(changes, self._tree.width)
        try:
            writes = self._run(steps)
        except FibFull:
            if not routes or len(changes) <= _STEP:
                raise
            # In small steps, less has to be there twice.
            writes = self._run(step[k:k + _STEP] for step in steps for k in range(0, len(step), _STEP))
        for key, result in changes:
            if result is None:
                del routes[key]
            else:
                routes[key] = result
        return writes

    def _run(self, steps: Iterable[_Changes]) -> list[FibWrite | Fence]:
        tree, memory = self._tree, self._memory
        before, words_before, row_before = tree.save(), self._root_words.copy(), self._root_row
        memory.begin()
        try:
            if self._root_row is None:
                self._root_row = memory.take_block_from(ROOTS, self._least_root)
                self._root_words = [_UNWRITTEN] * ROOTS
            for number, step in enumerate(steps):
                if number:
                    memory.fence()
                tree.begin()
                for key, result in step:
                    if result is None:
                        tree.remove(key >> _LENGTH_BITS, key & _LENGTH_MASK)
                    else:
                        tree.put(key >> _LENGTH_BITS, key & _LENGTH_MASK, result)
                self._compile_roots()
                memory.end_step()
        except FibFull:
            tree.restore(before)
            self._root_words, self._root_row = words_before, row_before
            memory.roll_back()
            raise
        return memory.commit()

    def _compile_roots(self) -> None:
        tree = self._tree
        for half, root in enumerate(tree.roots):
            word = self._compile(root) if isinstance(root, FibNode) and root.owner is tree.owner else _word(root)
            if word != self._root_words[half]:
                self._root_words[half] = word
                self._memory.write(self.root_row + half, word)
        seen: set[FibNode] = set()
        waiting = tree.dropped
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                self._release(node)
                waiting += (kid for kid in node.kids if isinstance(kid, FibNode))

    def _release(self, node: FibNode) -> None:
        if node.kids:
            self._memory.release_block(node.block, len(node.kids))
        if node.results:
            self._memory.release_results(node.where, len(node.results))

    def dissolve(self) -> list[FibWrite | Fence]:
        """Give back all words, when lookups do not come here any more; the compiler is not to be used after this.

        Returns the transaction's list, as :meth:`commit` does.
        """
        memory = self._memory
        memory.begin()
        if self._root_row is not None:
            for node in self._nodes():
                self._release(node)
            memory.release_block(self._root_row, ROOTS)
        memory.leave(self._used)
        return memory.commit()

    def _compile(self, node: FibNode) -> int:
        """Write what a changed node refers to, but not itself; its word."""
        memory, owner, old = self._memory, self._tree.owner, node.origin
        words: list[int] = []
        for kid in node.kids:
            if isinstance(kid, int):
                words.append(kid)
            else:
                words.append(self._compile(kid) if kid.owner is owner else kid.word)

        external, internal = node.external, node.internal
        same_children = False
        if old is not None and old.kids:
            added = external ^ old.external
            same_children = not added
            # Further children fit behind the others if they come last, and the block has words that were never used.
            if same_children or (not added & old.external and added & -added > old.external
                                 and BLOCK_WORDS[len(words)] == BLOCK_WORDS[len(old.kids)]):
                for index, word in enumerate(words):
                    if index >= len(old.kids) or word != _word(old.kids[index]):
                        memory.write(old.block + index, word)
                node.block = old.block
            else:
                memory.release_block(old.block, len(old.kids))
                node.block = self._write_block(words)
        else:
            same_children = old is not None and not words
            node.block = self._write_block(words)

        if old is not None and old.internal == internal and (same_children or old.results == node.results):
            if old.results != node.results:
                memory.write_results(node.where, node.results, live=True)
        else:
            if old is not None and old.results:
                memory.release_results(old.where, len(old.results))
            node.where = 0
            if internal:
                node.where = memory.take_results(len(node.results))
                memory.write_results(node.where, node.results, live=False)
        node.word = branch_word(internal, external, node.block, node.where)
        node.origin = None
        return node.word

    def _write_block(self, words: list[int]) -> int:
        if not words:
            return 0
        memory = self._memory
        row = memory.take_block(len(words))
        for index, word in enumerate(words):
            memory.write(row + index, word)
        return row

    def lookup(self, address: int) -> int | None:
        """Result of the longest prefix that matches, as of the last commit; None if there is none."""
        return self._tree.lookup(address << self._shift)

    def routes(self) -> Iterator[tuple[int, int, int]]:
        """All routes (prefix, length, result), as of the last commit."""
        for key, result in self._routes.items():
            yield key >> _LENGTH_BITS + self._shift, key & _LENGTH_MASK, result

    def _nodes(self) -> Iterator[FibNode]:
        waiting = self._tree.roots.copy()
        while waiting:
            node = waiting.pop()
            if isinstance(node, FibNode):
                yield node
                waiting += node.kids

    def _used(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Blocks and runs of results that the tree refers to."""
        if self._root_row is None:
            return [], []
        blocks, results = [(self._root_row, ROOTS)], []
        for node in self._nodes():
            if node.kids:
                blocks.append((node.block, BLOCK_WORDS[len(node.kids)]))
            if node.results:
                results.append((node.where, len(node.results)))
        return blocks, results

    def image(self) -> dict[int, int]:
        """The word of every row that lookups can read, as of the last commit; the other rows do not matter."""
        rows = {self.root_row + half: word for half, word in enumerate(self._root_words)}
        for node in self._nodes():
            for index, kid in enumerate(node.kids):
                rows[node.block + index] = _word(kid)
            if node.results:
                last = node.where + len(node.results) - 1
                for row in range(node.where // RESULTS_PER_WORD, last // RESULTS_PER_WORD + 1):
                    rows[row] = self._memory.result_word(row)
        return rows

    def statistics(self) -> FibStatistics:
        """Counts, as of the last commit; words that only wait for a fence count as free."""
        return statistics([self])


def statistics(fibs: Sequence[FibCompiler]) -> FibStatistics:
    """Counts of all compilers that share a window, as of their last commits; see :meth:`FibCompiler.statistics`."""
    nodes = leaves = words = results = 0
    rows: set[int] = set()      # of results, which the compilers may share
    for fib in fibs:
        blocks, runs = fib._used()
        words += sum(length for _, length in blocks)
        results += sum(length for _, length in runs)
        rows |= {place // RESULTS_PER_WORD for start, length in runs for place in range(start, start + length)}
        leaves += sum(isinstance(root, int) and root != 0 for root in fib._tree.roots)
        for node in fib._nodes():
            nodes += 1
            leaves += sum(not isinstance(kid, FibNode) for kid in node.kids)
    used, routes = words + len(rows), sum(map(len, fibs))
    return FibStatistics(
        routes=routes, nodes=nodes, leaves=leaves, results=results, words_used=used,
        words_free=fibs[0].size_words - used, bits_per_route=used * FIB_WORD_BITS / routes if routes else 0.0)


def _word(slot: int | FibNode) -> int:
    return slot.word if isinstance(slot, FibNode) else slot


def _steps(changes: _Changes, width: int) -> list[_Changes]:
    """Changes in steps, such that no step withdraws a route together with a change of one that covers it.

    Within the first step, additions and changes come before withdrawals, longest first; a step may be cut at any place.
    """
    withdrawn = sorted((key for key, result in changes if result is None), key=lambda key: key & _LENGTH_MASK)
    steps: list[_Changes] = [[change for change in changes if change[1] is not None]]
    if withdrawn:
        steps[0].sort(key=lambda change: -(change[0] & _LENGTH_MASK))
        number = {key: 0 for key, _ in steps[0]}
        lengths = sorted({key & _LENGTH_MASK for key, _ in changes})
        for key in withdrawn:
            step = 0
            for length in lengths:
                if length >= key & _LENGTH_MASK:
                    break
                low = width - length + _LENGTH_BITS
                step = max(step, number.get(key >> low << low | length, -1) + 1)
            number[key] = step
            steps += [] if step < len(steps) else [[]]
            steps[step].append((key, None))
    return [step for step in steps if step]
