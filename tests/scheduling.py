"""Which tests one worker of xdist runs after the other.

``--dist loadgroup`` would do, but xdist 3.8 does not see its groups with pytest 9.2.
"""

from collections.abc import Callable

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

__all__ = ["GroupScheduling"]


class GroupScheduling(LoadScopeScheduling):
    """Tests of a group are run by one worker; groups begin in the order of their first tests.

    Parameters
    ----------
    group_of : Callable[[str], str]
        Name of a test's group, by the test's id.
    """

    def __init__(self, config: pytest.Config, log: Producer, group_of: Callable[[str], str]) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._group_of = group_of

    def _split_scope(self, nodeid: str) -> str:
        return self._group_of(nodeid)
