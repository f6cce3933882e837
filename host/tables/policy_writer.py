"""Brings what a board has of a router's policy to what it should have, under traffic."""

from collections.abc import Callable, Iterable, Iterator

from polyrouter.hdl.layouts import ACTION_ROW, HitStat, RouterMode, Table, unpack

from .policy import ROUTER_POLICER, FilterRule, Policy, filter_rows, policer_places
from .windows import Window

__all__ = ["Context", "PolicyWriter", "Step", "Wait"]

#: Table, row and bits.
Row = tuple[Table, int, int]


class Wait:
    """A step: a fence."""


class Context:
    """A step: the context row is to be written, with :meth:`PolicyWriter.context` as it is then."""


#: What is to be done next: write a row, wait, or write the context row.
Step = Row | Wait | Context


class PolicyWriter:
    """What a board has of one router's policy, and the steps that change it.

    Rules change row by row, so that a frame meets the old or the new rule of each row: rules that move down go first,
    from the last one, then those that move up, from the first one, then new ones, so that a rule which only moves is
    always there in one of its places. A row whose action changes is not valid for a moment.

    The context's filter window is only as large as the rules need, since a look-up takes time for each row. Rows behind
    it are zero.

    Parameters
    ----------
    window : Window
        The router's part of the tables.
    policy : Policy
        What is to be.
    """

    def __init__(self, window: Window, policy: Policy) -> None:
        policy.check(window.filter_size, window.policer_size)
        self.window = window
        self.policy = policy
        #: Whose mode and flags the context has; the new ones go with the last of the new rules.
        self._shown = policy
        #: The host wants a copy of everything, whatever the policy says.
        self.capturing = False
        self._size = 0
        self._have: dict[tuple[Table, int], int] = {}       # rows that are not zero
        self._policers: dict[int, FilterRule] = {}

    def context(self, *, enable: bool) -> dict[str, int]:
        """Fields of the context row. The whole window is open while the router is disabled."""
        window, policy = self.window, self._shown
        return {
            "mode": policy.mode, "multicast": int(policy.multicast),
            "mirror": int(policy.mirror or self.capturing), "tunnels": int(policy.tunnels),
            "learn": int(policy.learn and policy.mode == RouterMode.BRIDGED),
            "filter_base": window.filter_base, "filter_size": self._size if enable else window.filter_size,
            "policer_base": window.policer_base, "policer_size": window.policer_size,
            "mac_base": window.mac_base, "mac_size": window.mac_size}

    def policed(self) -> dict[int, int]:
        """Which rule each policer of the window is of, but for the router's own."""
        left = list(enumerate(self.policy.rules))
        found: dict[int, int] = {}
        for row, rule in sorted(self._policers.items()):
            place = next((place for place in left if place[1] == rule), None)
            if place is not None:
                left.remove(place)
                found[row] = place[0]
        return found

    def adopt(self, context: dict[str, int], read: Callable[[Iterable[tuple[Table, int]]], list[int]]) -> bool:
        """Take over what the board has; False if it does not have these windows.

        Parameters
        ----------
        context : dict
            Fields of the board's context row.
        read : callable
            Gives the bits of rows.
        """
        window = self.window
        mine = self.context(enable=False)
        names = ("policer_base", "policer_size", "mac_base", "mac_size")
        if any(context[name] != mine[name] for name in names) or context["filter_size"] > window.filter_size or (
                context["filter_size"] and context["filter_base"] != window.filter_base):
            return False
        self._size, self._shown = context["filter_size"], self.policy
        keys = [(table, row) for row in range(self._size) for table in (Table.FILTER, Table.ACTION)]
        keys += [(Table.POLICER, row) for row in range(window.policer_size)]
        keys += [(Table.SHAPER, port) for port in self.policy.shapers]
        keys.append((Table.QUOTA, 0))
        self._have = {key: bits for key, bits in zip(keys, read(keys), strict=True) if bits}
        self._policers = {}
        return True

    def fresh(self) -> list[Row]:
        """All rows of a router that is disabled, whatever the board has."""
        window = self.window
        self._size, self._shown = len(self.policy.rules), self.policy
        self._policers = {}
        wanted = self._wanted()
        keys = [*self._all_keys(), *(key for key in wanted if key[0] == Table.SHAPER)]
        self._have = {key: bits for key, bits in wanted.items() if bits}
        return [(*key, self._have.get(key, 0)) for key in keys] + self._clear_hits(range(window.filter_size))

    def cleared(self) -> list[Row]:
        """Zeros for all that a router had that is disabled; its MAC table last, which a late frame may still change."""
        shapers = {port for table, port in self._have if table == Table.SHAPER} | set(self.policy.shapers)
        rows = [*((Table.SHAPER, port, 0) for port in sorted(shapers)),
                *self._clear_hits(range(self.window.filter_size)), *((*key, 0) for key in self._all_keys())]
        self._have, self._size, self._policers = {}, 0, {}
        return rows

    def change(self, policy: Policy | None = None) -> Iterator[Step]:
        """Steps to another policy, or from what was adopted to this one. All must be done, in this order.

        Raises
        ------
        PolicyError
            If there is no room for it; nothing is changed then.
        """
        if policy is not None:
            policy.check(self.window.filter_size, self.window.policer_size)
        return self._change(policy or self.policy)

    def _change(self, policy: Policy) -> Iterator[Step]:
        before = self.context(enable=True)
        old_shapers = set(self.policy.shapers)
        self.policy = policy
        rules = policy.rules
        if len(rules) > self._size:
            self._size = len(rules)
            yield Context()
            before = self.context(enable=True)
        wanted = self._wanted() | {(Table.SHAPER, port): 0 for port in old_shapers - set(policy.shapers)}
        yield from self._free_policers(wanted)
        for key, bits in wanted.items():
            if key[0] in (Table.POLICER, Table.SHAPER, Table.QUOTA):
                yield from self._put(key, bits)
        yield from self._change_rules([(wanted.get((Table.FILTER, row), 0), wanted.get((Table.ACTION, row), 0))
                                       for row in range(self._size)])
        self._size, self._shown = len(rules), policy
        if self.context(enable=True) != before:
            yield Context()
        gone = [key for key in self._have if key[0] == Table.POLICER and key not in wanted]
        if gone:
            yield Wait()
        for key in gone:
            yield from self._put(key, 0)

    def _wanted(self) -> dict[tuple[Table, int], int]:
        """Rows that should be there."""
        policy = self.policy
        places = policer_places(policy.rules, self._policers, self.window.policer_size)
        self._policers = {place: rule for place, rule in zip(places, policy.rules, strict=True) if place is not None}
        wanted = {(Table.SHAPER, port): shaper.row() for port, shaper in policy.shapers.items()}
        wanted[Table.QUOTA, 0] = policy.quota.row()
        if policy.policer is not None:
            wanted[Table.POLICER, ROUTER_POLICER] = policy.policer.policer_row()
        for row, rule in self._policers.items():
            assert rule.police is not None
            wanted[Table.POLICER, row] = rule.police.policer_row()
        for row, (rule_bits, action_bits) in enumerate(filter_rows(policy.rules, places)):
            wanted[Table.FILTER, row], wanted[Table.ACTION, row] = rule_bits, action_bits
        return wanted

    def _free_policers(self, wanted: dict[tuple[Table, int], int]) -> Iterator[Step]:
        """Take rules away whose policer is to be another rule's."""
        changed = {row for (table, row), bits in wanted.items()
                   if table == Table.POLICER and self._have.get((table, row), bits) != bits}
        found = False
        for row in range(self._size):
            keys = (Table.FILTER, row), (Table.ACTION, row)
            action = unpack(ACTION_ROW, self._have.get(keys[1], 0))
            if action["police"] and action["policer"] in changed and any(
                    self._have.get(key, 0) != wanted.get(key, 0) for key in keys):
                found |= keys[0] in self._have
                yield from self._put(keys[0], 0)
        if found:
            yield Wait()

    def _change_rules(self, wanted: list[tuple[int, int]]) -> Iterator[Step]:
        have = [(self._have.get((Table.FILTER, row), 0), self._have.get((Table.ACTION, row), 0))
                for row in range(len(wanted))]
        for row in _order(have, wanted):
            (old_rule, old_action), (rule, action) = have[row], wanted[row]
            if old_action != action:
                if old_rule:
                    yield from self._put((Table.FILTER, row), 0)
                    yield Wait()
                yield from self._put((Table.ACTION, row), action)
            yield from self._clear_hits([row])
            yield from self._put((Table.FILTER, row), rule)

    def _put(self, key: tuple[Table, int], bits: int) -> Iterator[Step]:
        if self._have.get(key, 0) != bits:
            yield (*key, bits)
            if bits:
                self._have[key] = bits
            else:
                self._have.pop(key)

    def _all_keys(self) -> list[tuple[Table, int]]:
        window = self.window
        return [*((table, row) for row in range(window.filter_size) for table in (Table.FILTER, Table.ACTION)),
                *((Table.POLICER, row) for row in range(window.policer_size)), (Table.QUOTA, 0),
                *((Table.MAC, row) for row in range(window.mac_size))]

    @staticmethod
    def _clear_hits(rows: Iterable[int]) -> list[Row]:
        return [(Table.HIT, row * len(HitStat) + stat, 0) for row in rows for stat in HitStat]


def _order(have: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> list[int]:
    """Rows that change, in the order in which they are written."""
    places: dict[tuple[int, int], list[int]] = {}
    for row, pair in enumerate(have):
        if pair[0]:
            places.setdefault(pair, []).append(row)
    down: list[int] = []
    up: list[int] = []
    new: list[int] = []
    gone: list[int] = []
    for row, pair in enumerate(wanted):
        before = places.get(pair, [])
        source = before.pop(0) if before else None
        if have[row] == pair:
            continue
        if not pair[0]:
            gone.append(row)
        elif source is None:
            new.append(row)
        else:
            (down if row > source else up).append(row)
    return [*reversed(down), *up, *new, *gone]
