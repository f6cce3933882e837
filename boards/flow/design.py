# amaranth: UnusedElaboratable=no
# What is wrong may be found when the design is put together, and then there is none.
"""The top level of a board as its description has it."""

from polyrouter.hdl.config import CoreConfig

from ..description import Board
from ..hostlink import HostLinkChoice
from ..top import BoardTop

__all__ = ["board_top"]


def board_top(board: Board, config: CoreConfig, choice: HostLinkChoice) -> BoardTop:
    """The top level of a board.

    Parameters
    ----------
    board : Board
    config : CoreConfig
        Of :meth:`.Board.config`, with the same kind of host link.
    choice : HostLinkChoice

    Raises
    ------
    ConfigError
        If the host can't get to the board so, or the parts don't fit together.
    """
    board.check(choice)
    return BoardTop(board.name, config, board.top_ports(), choice, watchdog_disables=board.watchdog_disables,
                    watchdog_seconds=board.watchdog_seconds, slow_speeds=board.slow_speeds)
