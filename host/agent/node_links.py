"""A node's circuits, ends of tunnels and VNICs as its board and relay have them."""

from collections.abc import Collection
from pathlib import Path

from polyrouter.hdl.config import CoreConfig

from ..board.errors import BoardError
from ..link_spec import VnicSpec
from ..ports import logical
from ..relay import Relay
from ..spec import NodeSpec
from ..tables.links import LinkTable
from ..tables.terminations import TerminationTable
from ..tables.writer import TableDriver
from .policies import link_rows, terminations_of

__all__ = ["NodeLinks", "is_served"]


def is_served(vnic: VnicSpec) -> bool:
    """Whether a VNIC is an interface of its own that the relay serves: not a container's, and not in software."""
    return vnic.lane == "hw" and not vnic.router


class NodeLinks:
    """Brings what there is to what a node's specification says, in two steps.

    :meth:`release` comes before owners of circuits change or go, :meth:`put` when they are programmed.

    Parameters
    ----------
    driver : TableDriver
        The board.
    config : CoreConfig
        Its parameters. Without circuits there is nothing to do.
    relay : Relay
        Serves the VNICs.
    fabric : Path
        Network namespace of the outer ends of their veth pairs.

    Attributes
    ----------
    known : bool
        It is known what the board has; if not, :meth:`adopt` or :meth:`clear` comes next.
    """

    def __init__(self, driver: TableDriver, config: CoreConfig, relay: Relay, fabric: Path) -> None:
        self._driver, self._config, self._relay, self._fabric = driver, config, relay, fabric
        self._links = LinkTable(driver, config)
        self._ends: TerminationTable | None = None
        self._served: dict[str, VnicSpec] = {}
        self.known = config.link_port is None

    @property
    def rows(self) -> dict[int, int]:
        """Rows of the LINK table, as far as is known."""
        return self._links.rows

    @property
    def ends(self) -> dict[int, int]:
        """Circuits of the tunnels that end here, by ``TERMINATION_KEY``, as far as is known."""
        return {} if self._ends is None else self._ends.circuits

    @property
    def served(self) -> set[str]:
        """Names of the VNICs that the relay serves."""
        return set(self._served)

    def adopt(self, seeds: tuple[int, int]) -> None:
        """Take over what the board has."""
        self._begin(seeds, fresh=False)

    def clear(self, seeds: tuple[int, int]) -> None:
        """Begin with nothing, on a board that was reset or was somebody else's."""
        self._begin(seeds, fresh=True)

    def _begin(self, seeds: tuple[int, int], *, fresh: bool) -> None:
        if self._config.link_port is None:
            return
        self._links, ends = (LinkTable(self._driver, self._config),
                             TerminationTable(self._driver, self._config, seeds))
        for table in (ends, self._links):
            if fresh:
                table.clear()
            else:
                table.adopt()
        self._ends = ends
        self.known = True

    def release(self, node: NodeSpec, routers: Collection[int] = ()) -> set[int]:
        """Take away what must not be met by other owners; returns the circuits that went.

        Parameters
        ----------
        node : NodeSpec
            What is to be.
        routers : collection of int
            Numbers of routers that go.
        """
        for name, vnic in list(self._served.items()):
            wanted = node.vnics.get(name)
            if wanted is None or not is_served(wanted) or _tap(wanted) != _tap(vnic) or vnic.number in routers:
                self.disconnect(name)
        if self._config.link_port is None:
            return set()
        self._check_known()
        rows, ends = link_rows(node), terminations_of(node)
        assert self._ends is not None
        try:
            present = self._links.rows
            going = self._links.going(rows, routers)
            # Nobody comes in by a circuit any more before it goes.
            self._ends.release(ends, going, routers)
            self._links.release(rows, routers)
        except BoardError:
            self.known = False
            raise
        return going & present.keys()

    def put(self, node: NodeSpec) -> bool:
        """Have exactly the node's circuits and tunnels; returns whether anything had to be written."""
        if self._config.link_port is None:
            return False
        self._check_known()
        assert self._ends is not None
        self.release(node)
        rows, ends = link_rows(node), terminations_of(node)
        try:
            changed = self._links.put(rows)
            return self._ends.put(ends) or changed
        except BoardError:
            self.known = False
            raise

    def connect(self, vnic: VnicSpec) -> bool:
        """Have the relay serve a VNIC, whose interface is there; returns whether it did not."""
        if vnic.name in self._served and _tap(self._served[vnic.name]) == _tap(vnic):
            return False
        assert vnic.number is not None and self._config.link_port is not None
        self._relay.add(vnic.number, logical(self._config.link_port, vnic.circuit), vnic.outer, self._fabric,
                        vnic=True)
        self._served[vnic.name] = vnic
        return True

    def disconnect(self, name: str) -> None:
        """Leave a VNIC's interface alone."""
        vnic = self._served.pop(name, None)
        if vnic is not None:
            assert vnic.number is not None
            self._relay.remove(vnic.number)

    def _check_known(self) -> None:
        if not self.known:
            raise BoardError("the board is out of step: it is being programmed again")


def _tap(vnic: VnicSpec) -> tuple[object, ...]:
    """What the relay has of a VNIC."""
    return vnic.number, vnic.circuit, vnic.outer
