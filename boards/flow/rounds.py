"""Whether nextpnr's routers, which never give up, will come to an end."""

import re

__all__ = ["MOST_ROUNDS", "RouterRounds", "RouterSteps"]

#: What it prints of each of its rounds: the number, and wires that are wanted by two nets or more.
_ROUND = re.compile(r"Info:\s+iter=(\d+) wires=\d+ overused=(\d+)")
#: Cores that could be routed took 33 to 138 rounds; others made no progress after 40.
MOST_ROUNDS = 150
#: In so many rounds, what is wanted must become less, unless it is little: near the end it comes and goes (from 1 to 22
#: and back was seen). Placements that were never routed had hundreds or thousands that became more.
_PATIENCE = 15
_LITTLE = 200
#: What router1 prints: how many connections there are, and now and then its steps, and the connections that are left.
_CONNECTIONS = re.compile(r"Info: Routing (\d+) arcs\.")
_STEPS = re.compile(r"Info:\s+(\d+) \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s+(\d+)\|")
#: A step is a connection that is made, if need be in the place of others. The Colorlight's core takes 1.6.
_MOST_STEPS = 10


class RouterRounds:
    """Follows the rounds of router2 with one placement.

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

    def __str__(self) -> str:
        return f"round {self.number}, {self.wanted} wires are wanted by several nets"

    @property
    def hopeless(self) -> str:
        """Why the router should be stopped, or nothing."""
        if self.wanted and self.number >= MOST_ROUNDS:
            return f"after {self.number} rounds of the router, {self.wanted} wires are still wanted by several nets"
        if self.wanted >= _LITTLE and self.wanted >= min(self._history[:-_PATIENCE], default=self.wanted + 1):
            return (f"in round {self.number} of the router, {self.wanted} wires are wanted by several nets, no fewer "
                    f"than {_PATIENCE} rounds before")
        return ""


class RouterSteps:
    """Follows the steps of router1 with one placement.

    Attributes
    ----------
    number : int
        Of the last step that it told of.
    left : int
        Connections that were not made then.
    """

    def __init__(self) -> None:
        self.number = self.left = self._connections = 0

    def read(self, line: str) -> bool:
        """Whether a line of nextpnr's tells of a step, which is the last one then."""
        if found := _CONNECTIONS.match(line):
            self._connections = int(found[1])
        if not (found := _STEPS.match(line)):
            return False
        self.number, self.left = int(found[1]), int(found[2])
        return True

    def __str__(self) -> str:
        return f"step {self.number}, {self.left} connections are left"

    @property
    def hopeless(self) -> str:
        """Why the router should be stopped, or nothing."""
        if self.left and self.number > _MOST_STEPS * self._connections:
            return (f"after {self.number} steps of the router for {self._connections} connections, {self.left} are "
                    "still not made")
        return ""
