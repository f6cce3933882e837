"""Whether nextpnr's router, which never gives up, will come to an end."""

import re

__all__ = ["MOST_ROUNDS", "RouterRounds"]

#: What it prints of each of its rounds: the number, and wires that are wanted by two nets or more.
_ROUND = re.compile(r"Info:\s+iter=(\d+) wires=\d+ overused=(\d+)")
#: Cores that could be routed took 33 to 138 rounds; others made no progress after 40.
MOST_ROUNDS = 150
#: In so many rounds, what is wanted must become less, unless it is little: near the end it comes and goes (from 1 to 22
#: and back was seen). Placements that were never routed had hundreds or thousands that became more.
_PATIENCE = 15
_LITTLE = 200


class RouterRounds:
    """Follows the rounds of one placement.

    Attributes
    ----------
    number : int
        Of the last round.
    wanted : int
        Wires that were wanted by several nets then.
    """

    def __init__(self) -> None:
        self.number = self.wanted = 0
        self._history: list[int] = []

    def read(self, line: str) -> bool:
        """Whether a line of nextpnr's tells of a round, which is the last one then."""
        if not (found := _ROUND.match(line)):
            return False
        self.number, self.wanted = int(found[1]), int(found[2])
        self._history.append(self.wanted)
        return True

    @property
    def hopeless(self) -> str:
        """Why the router should be stopped, or nothing."""
        if self.wanted and self.number >= MOST_ROUNDS:
            return f"after {self.number} rounds of the router, {self.wanted} wires are still wanted by several nets"
        if self.wanted >= _LITTLE and self.wanted >= min(self._history[:-_PATIENCE], default=self.wanted + 1):
            return (f"in round {self.number} of the router, {self.wanted} wires are wanted by several nets, no fewer "
                    f"than {_PATIENCE} rounds before")
        return ""
