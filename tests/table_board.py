"""A board without a data plane: tables in memory, the checks of the control engine, and the golden look-ups."""

from collections.abc import Iterable

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import AdjacencyKind, Opcode, OpStatus, Table
from polyrouter.host.board.errors import BoardError
from polyrouter.sim.golden_control import ControlEngine
from polyrouter.sim.golden_tables import Adjacency, RouteFault, Tables
from polyrouter.sim.host_frames import Op

__all__ = ["BoardGone", "TableBoard"]


class BoardGone(BoardError):
    """The board does not answer."""


class TableBoard:
    """Has the methods of a driver that tables need.

    Attributes
    ----------
    log : list
        Every write and every fence, in order.
    fail_after : int or None
        Accesses that are still answered.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.tables = Tables(config)
        self._control = ControlEngine(self.tables, lambda *_: 0)
        self.log: list[tuple[Table, int, int, int] | str] = []
        self.fail_after: int | None = None
        self.on_write = lambda: None

    def write_rows(self, rows: Iterable[tuple[Table, int, int, int]]) -> None:
        """Write, row by row."""
        for table, router, row, bits in rows:
            self._answer()
            self._check(table, router, row)
            self.tables.write(table, router, row, bits)
            self.log.append((table, router, row, bits))
            self.on_write()

    def read_rows(self, rows: Iterable[tuple[Table, int, int]]) -> list[int]:
        """Read."""
        result = []
        for table, router, row in rows:
            self._answer()
            self._check(table, router, row)
            result.append(self.tables.read(table, router, row))
        return result

    def fence(self) -> None:
        """Only noted: look-ups take no time here."""
        self._answer()
        self.log.append("fence")

    def adjacency(self, router: int, address: int, *, ipv6: bool = False, flow: int = 0) -> Adjacency | None:
        """What a packet of a router and of a flow (its key) to an address meets; None if there is no route.

        Raises
        ------
        RouteFault
            If a table refers to something outside of the router's window.
        """
        context = self.tables.context(router)
        if not context.enable:
            raise RouteFault
        row = self.tables.route(context, address, ipv6=ipv6)
        return None if row is None else self.tables.next_hop(context, row, flow)

    def kind(self, router: int, address: int, *, ipv6: bool = False) -> AdjacencyKind | None:
        """Kind of what a packet meets."""
        found = self.adjacency(router, address, ipv6=ipv6)
        return None if found is None else AdjacencyKind(found.kind)

    def _answer(self) -> None:
        if self.fail_after is not None:
            if not self.fail_after:
                raise BoardGone
            self.fail_after -= 1

    def _check(self, table: Table, router: int, row: int) -> None:
        assert 0 <= router < self.config.routers
        window = self.tables.window(table, router)
        status = self._control.check(Op(Opcode.READ, table=table, router=router, row=row))
        assert status == OpStatus.OK, f"{table.name} row {row} of router {router}: {status.name}, window {window}"
