"""Random frames at all ports of a board, and updates of its tables meanwhile."""

from collections.abc import Callable
from random import Random
from typing import TypeVar

import cocotb
from cocotb.utils import get_sim_time
from polyrouter.hdl.layouts import RxError
from polyrouter.sim.cocotb_board import HOST_MAC, CocotbBoard
from polyrouter.sim.frames import FrameGenerator
from polyrouter.sim.random_updates import Fates, Step, move_entries, one_row, replace
from polyrouter.sim.tablegen import Scenario

__all__ = ["RandomTraffic"]

Frame = TypeVar("Frame")

#: Frames at data ports for one at the host port.
FRAMES_PER_HOST_FRAME = 8
#: Frames longer than this take a while to be sent.
LONG = 600
#: Core cycles after which a frame that came in whole was looked up, if the core is not overloaded.
LOOKED_UP_CYCLES = 1200
#: The same if it may go through the link port, in all of its passes.
LINK_CYCLES = 8000
#: A frame's share of the link port's time, for each pass.
PASS_CYCLES = 60


class RandomTraffic:
    """Sends frames one at a time, so slowly that no buffer fills, yet often several at once.

    Parameters
    ----------
    board : CocotbBoard
        Where to; its tables are those of the scenario.
    scenario : Scenario
        Contents of all tables; changes with the updates.
    rng : Random
        Where all choices come from.

    Attributes
    ----------
    sent : int
        Frames that were sent.
    """

    def __init__(self, board: CocotbBoard, scenario: Scenario, rng: Random):
        self.board = board
        self.scenario = scenario
        self.rng = rng
        self.sent = 0
        self._fates = Fates(board.config, scenario.writes)
        self._generator = FrameGenerator(scenario, rng, short_frames=not board.gmii)

    async def send(self, *, unaffected: bool = False) -> None:
        """Send a frame, and now and then one at the host port too.

        Parameters
        ----------
        unaffected : bool
            One whose fate the step that is under way doesn't change.
        """
        board, rng, generator = self.board, self.rng, self._generator
        fates = self._fates
        frame = _first(lambda: next(generator.frames(1)),
                       lambda frame: (not unaffected or fates.same(frame)) and fates.ends(frame))
        board.send(frame)
        passes = len(board.model.passes)
        self.sent += 1
        if self.sent % FRAMES_PER_HOST_FRAME == 0:
            error = rng.choice((RxError.NONE, RxError.NONE, RxError.NONE, RxError.FCS))
            board.send_host(_first(lambda: generator.host_frame(HOST_MAC),
                                   lambda frame: (not unaffected or fates.same_from_host(frame))
                                   and fates.ends_from_host(frame)), error)
            self.sent += 1
            passes += len(board.model.passes)
        await board.cycles(rng.choice((0, 0, 50, 400)) if len(frame.frame) < LONG else 400)
        # Where everything went through one port, it may have to be waited for
        await board.cycles(max(0, passes - 1) * PASS_CYCLES)
        await board.room(board.config.queue_frames // 2)

    async def update(self, *, other_routers: bool = False) -> None:
        """Change the tables at random while frames flow; if asked to, so that other routers are there."""
        rng, routers = self.rng, self.board.config.routers
        kind = 0.0 if other_routers else rng.random()
        if kind < 0.5:
            steps = replace(self.scenario, rng, rng.sample(range(routers), min(routers, rng.choice((1, 1, 2)))))
        elif kind < 0.9:
            steps = one_row(self.scenario, rng)
        else:
            steps = move_entries(self.scenario, rng)
        for step in steps:
            await self._make(step)

    async def _make(self, step: Step) -> None:
        self._fates.begin(step)
        await self._settle(step)
        task = cocotb.start_soon(self.board.write(step.writes))
        while not task.done():
            await self.send(unaffected=True)
        task.result()

    async def _settle(self, step: Step) -> None:
        """Send only what the step doesn't affect, until nothing else is yet to be looked up, or to leave a router."""
        board = self.board
        busy, since = set(board.sources.values()), 0.0
        enough = LINK_CYCLES if board.config.circuits else LOOKED_UP_CYCLES
        while busy or board.scoreboard.outstanding_of(step.routers) or self._cycles() - since < enough:
            await self.send(unaffected=True)
            if busy:
                busy -= {source for source in board.sources.values() if source.idle}
                since = self._cycles()

    def _cycles(self) -> float:
        return get_sim_time("ps") / self.board.period_ps


def _first(draw: Callable[[], Frame], good: Callable[[Frame], bool]) -> Frame:
    """The first of what is drawn that is good."""
    while not good(drawn := draw()):
        pass
    return drawn
