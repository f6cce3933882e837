"""The LINK table: where frames go that leave the link port on a circuit; its changes under traffic."""

from collections.abc import Collection, Iterable, Mapping

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LINK_ROW, LinkKind, Table, pack, unpack

from .writer import TableDriver

__all__ = ["LinkError", "LinkTable"]

_NEXT = LINK_ROW["next"]


class LinkError(ValueError):
    """Circuits that don't fit together, or the board; the message says which."""


class LinkTable:
    """Circuits of a board.

    They are changed in two steps, between which their owners are: :meth:`release` takes away what must not be met by
    other owners, :meth:`put` makes all as it should be.

    A list of circuits is changed such that a frame which is handed from one to the next meets all that stay: those that
    go are passed over first, and cleared after a fence; new ones are whole before the last one refers to the first of
    them. So a list keeps its order, whatever that of the wanted rows is: it means nothing. A circuit of which something
    else changes is one write; one that gets another owner goes and comes again.

    Parameters
    ----------
    driver : TableDriver
        The board.
    config : CoreConfig
        Its parameters.
    """

    def __init__(self, driver: TableDriver, config: CoreConfig) -> None:
        self._driver, self._config = driver, config
        self._rows: dict[int, int] = {}

    @property
    def rows(self) -> dict[int, int]:
        """Rows that are not zero, by circuit."""
        return dict(self._rows)

    def adopt(self) -> None:
        """Take over what the board has."""
        rows = self._driver.read_rows((Table.LINK, 0, number) for number in range(self._config.circuits))
        self._rows = {number: bits for number, bits in enumerate(rows) if bits}

    def clear(self) -> None:
        """Write zeros, whatever the board has."""
        self._rows = {}
        self._driver.write_rows((Table.LINK, 0, number, 0) for number in range(self._config.circuits))

    def going(self, wanted: Mapping[int, int], routers: Collection[int] = ()) -> set[int]:
        """Circuits that :meth:`release` would take away.

        Raises
        ------
        LinkError
            If a number is out of range, or a list is not one.
        """
        self._check(wanted)
        _, member_of = _lists(wanted)
        _, was_member_of = _lists(self._rows)
        return {number for number, bits in self._rows.items()
                if number not in wanted or _identity(bits) != _identity(wanted[number])
                or unpack(LINK_ROW, bits)["router"] in routers
                or (number in was_member_of and member_of.get(number) != was_member_of[number])}

    def release(self, wanted: Mapping[int, int], routers: Collection[int] = ()) -> set[int]:
        """Take circuits away that are not wanted, or have another owner.

        Parameters
        ----------
        wanted : mapping of int to int
            Rows by number.
        routers : collection of int
            Numbers of routers that go, even if others come with the same numbers.

        Returns
        -------
        set of int
            Circuits that went.

        Raises
        ------
        LinkError
            If a number is out of range, or a list is not one; nothing is changed then.
        Exception
            What the driver raises; it is not known then what the board has, until :meth:`adopt`.
        """
        gone = self.going(wanted, routers)
        before, _ = _lists(self._rows)
        for head, members in before.items():
            if head not in gone:
                chain = [head, *(member for member in members if member not in gone)]
                self._write((number, _with_next(self._rows[number], following))
                            for number, following in zip(chain, [*chain[1:], 0], strict=True))
        # Who gets these numbers next must get none of their frames.
        self._write((number, _cut(bits)) for number, bits in self._rows.copy().items()
                    if number not in gone and _leads_to(bits, gone, routers))
        if not gone:
            return gone
        self._driver.fence()
        # Heads first: what leads into a list goes before what is in it.
        self._write((number, 0) for number in sorted(gone, key=lambda number: (number not in before, number)))
        return gone

    def put(self, wanted: Mapping[int, int]) -> bool:
        """Have these circuits, after :meth:`release` of the same; returns whether anything had to be written."""
        lists, member_of = _lists(wanted)
        changed = self._write((number, _with_next(bits, 0)) for number, bits in wanted.items()
                              if number not in lists and number not in member_of)
        for head, members in lists.items():
            # What is there keeps its place, new ones come behind it.
            chain = [head, *_members(self._rows, head)]
            chain += [member for member in members if member not in chain]
            following = [*chain[1:], 0]
            for number, after in zip(reversed(chain), reversed(following), strict=True):
                changed |= self._write([(number, _with_next(wanted[number], after))])
        return changed

    def _write(self, rows: Iterable[tuple[int, int]]) -> bool:
        changed = [(number, bits) for number, bits in rows if self._rows.get(number, 0) != bits]
        if changed:
            self._driver.write_rows((Table.LINK, 0, number, bits) for number, bits in changed)
        for number, bits in changed:
            if bits:
                self._rows[number] = bits
            else:
                del self._rows[number]
        return bool(changed)

    def _check(self, wanted: Mapping[int, int]) -> None:
        most = self._config.circuits - 1
        in_list: dict[int, int] = {}
        for number, bits in wanted.items():
            if not 1 <= number <= most:
                raise LinkError(f"circuit {number}: circuits of this board are 1 to {most}: use fewer, or build the "
                                "core with more circuits")
            fields = unpack(LINK_ROW, bits)
            if fields["kind"] != LinkKind.LIST:
                continue
            member = fields["next"]
            while member:
                found = unpack(LINK_ROW, wanted.get(member, 0))
                if found["kind"] not in (LinkKind.DIRECT, LinkKind.TUNNEL) or found["router"] != fields["router"]:
                    raise LinkError(f"circuit {member} is in the list of circuit {number}, and is none of its owner, "
                                    "router " + str(fields["router"]))
                if member in in_list:
                    raise LinkError(f"circuit {member} is in the list of circuit {number}, and in that of "
                                    f"{in_list[member]} already")
                in_list[member] = number
                member = found["next"]


def _lists(rows: Mapping[int, int]) -> tuple[dict[int, list[int]], dict[int, int]]:
    """Members of each list by its head, and the head of the list that each member is in."""
    lists = {number: _members(rows, number) for number, bits in rows.items()
             if unpack(LINK_ROW, bits)["kind"] == LinkKind.LIST}
    return lists, {member: head for head, members in lists.items() for member in members}


def _members(rows: Mapping[int, int], head: int) -> list[int]:
    """Circuits of a list, in order, as far as it is one."""
    found: dict[int, None] = {}
    number = _next(rows.get(head, 0))
    while number in rows and number not in found:
        found[number] = None
        number = _next(rows[number])
    return list(found)


def _leads_to(bits: int, gone: Collection[int], routers: Collection[int]) -> bool:
    fields = unpack(LINK_ROW, bits)
    return ((fields["kind"] == LinkKind.DIRECT and fields["peer"] in gone)
            or (fields["kind"] == LinkKind.TUNNEL and fields["underlay"] in routers))


def _cut(bits: int) -> int:
    """A circuit that leads nowhere, but keeps its place in its list."""
    fields = unpack(LINK_ROW, bits)
    return pack(LINK_ROW, {"router": fields["router"], "next": fields["next"]})


def _next(bits: int) -> int:
    return bits >> _NEXT.offset & (1 << _NEXT.width) - 1


def _with_next(bits: int, following: int) -> int:
    return bits & ~(((1 << _NEXT.width) - 1) << _NEXT.offset) | pack(LINK_ROW, {"next": following})


def _identity(bits: int) -> tuple[int, bool]:
    """What a circuit can't change: its owner, and whether it is a list."""
    fields = unpack(LINK_ROW, bits)
    return fields["router"], fields["kind"] == LinkKind.LIST
