"""Saved state of a network and of an agent, in SQLite.

Both stores are small and changed seldom. What could be left behind is written down, and committed, before it is made.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import JSON, create_engine, delete, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

__all__ = ["AgentStore", "Lease", "LeaseError", "NetworkStore"]


class _Base(DeclarativeBase):
    pass


class Setting(_Base):
    """A named value; JSON."""

    __tablename__ = "setting"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)


class Resource(_Base):
    """Something of this machine that ``down`` has to remove."""

    __tablename__ = "resource"
    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)


class LeaseRow(_Base):
    """Who has a virtual router that was ever moved; the others know by the fencing number that they have not."""

    __tablename__ = "lease"
    router: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str]
    fence: Mapped[int]
    move: Mapped[Any] = mapped_column(JSON)     # under way: its id and where it goes; null: none


class Lease(NamedTuple):
    """Who has a router: one node at a time.

    Attributes
    ----------
    node : str
        It alone may run the router's container, and have its data plane forward without end.
    fence : int
        One more with each move.
    move : dict or None
        The move that is under way: ``id`` and ``to``.
    """

    node: str
    fence: int
    move: dict[str, Any] | None


class LeaseError(RuntimeError):
    """A router is somebody else's, or is being moved already."""


class RouterRow(_Base):
    """A virtual router that the agent has made, or began to make."""

    __tablename__ = "router"
    name: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    spec: Mapped[Any] = mapped_column(JSON)


class _Store:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

        @event.listens_for(self._engine, "connect")
        def settle(connection: Any, _: Any) -> None:
            # Readers and the writer don't wait for each other, and a commit survives a crash of the process.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        _Base.metadata.create_all(self._engine)
        self._sessions = sessionmaker(self._engine)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with self._sessions.begin() as session:
            yield session

    def get(self, name: str, default: Any = None) -> Any:
        """A named value."""
        with self._transaction() as session:
            row = session.get(Setting, name)
            return default if row is None else row.value

    def set(self, **values: Any) -> None:
        """Change named values, all or none."""
        with self._transaction() as session:
            for name, value in values.items():
                session.merge(Setting(name=name, value=value))


class NetworkStore(_Store):
    """State of a network: what it was made from and what was made of it.

    Settings: ``file`` (path), ``text``, ``allocation`` and ``spec`` of the last ``up``; ``links`` that commands made.
    """

    # Who has which router

    def lease(self, router: str) -> Lease | None:
        """Who has a router; None if it was never moved: then it is where the specification has it."""
        with self._transaction() as session:
            row = session.get(LeaseRow, router)
            return None if row is None else Lease(row.node, row.fence, row.move)

    def leases(self) -> dict[str, Lease]:
        """All of them, by router."""
        with self._transaction() as session:
            return {row.router: Lease(row.node, row.fence, row.move) for row in session.scalars(select(LeaseRow))}

    def begin_move(self, router: str, node: str, to: str, id: str) -> int:
        """Write down that a router is about to move from a node that has it; returns the fencing number of that node.

        Raises
        ------
        LeaseError
            If another node has it, or it is being moved.
        """
        with self._exclusive() as session:
            row = session.get(LeaseRow, router)
            if row is None:
                row = LeaseRow(router=router, node=node, fence=0, move=None)
                session.add(row)
            if row.node != node:
                raise LeaseError(f"{router} is not on {node} any more, but on {row.node}")
            if row.move is not None:
                raise LeaseError(f"{router} is being moved to {row.move['to']} already")
            row.move = {"id": id, "to": to}
            return row.fence

    def commit_move(self, router: str, id: str, fence: int, **values: Any) -> int:
        """The router is where it was to go, from this moment on; returns that node's fencing number.

        Parameters
        ----------
        router, id, fence
            As of :meth:`begin_move`.
        **values
            Named values that change with it.

        Raises
        ------
        LeaseError
            If that move is not under way any more.
        """
        with self._exclusive() as session:
            row = session.get(LeaseRow, router)
            if row is None or row.move is None or row.move["id"] != id or row.fence != fence:
                raise LeaseError(f"the move of {router} was given up meanwhile")
            row.node, row.fence = row.move["to"], fence + 1
            for name, value in values.items():
                session.merge(Setting(name=name, value=value))
            return row.fence

    def end_move(self, router: str, id: str) -> None:
        """The move is over, however it ended. Does nothing if it is another one's by now."""
        with self._exclusive() as session:
            row = session.get(LeaseRow, router)
            if row is not None and row.move is not None and row.move["id"] == id:
                row.move = None

    def keep_leases(self, nodes: Mapping[str, str]) -> None:
        """Forget the leases of routers that are not to be where these say: they were removed, or the file has them
        elsewhere. One of a move that is under way stays, for those who take part in it.

        Parameters
        ----------
        nodes : mapping
            Node of each router, as it is to be.
        """
        with self._exclusive() as session:
            for row in session.scalars(select(LeaseRow)).all():
                if row.move is None and nodes.get(row.router) != row.node:
                    session.delete(row)

    @contextmanager
    def _exclusive(self) -> Iterator[Session]:
        """A transaction that nobody else has at the same time, from its first look on."""
        with self._sessions() as session:
            session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise

    # What there is of it

    def will_create(self, kind: str, name: str) -> None:
        """Write down a resource before it is made."""
        with self._transaction() as session:
            session.merge(Resource(kind=kind, name=name))

    def removed(self, kind: str, name: str) -> None:
        """Forget a resource that is gone."""
        with self._transaction() as session:
            session.execute(delete(Resource).where(Resource.kind == kind, Resource.name == name))

    def resources(self) -> list[tuple[str, str]]:
        """Kinds and names of what may exist."""
        with self._transaction() as session:
            return [(row.kind, row.name) for row in session.scalars(select(Resource))]


class AgentStore(_Store):
    """State of an agent.

    Settings: ``spec`` (the node's, without routers), ``seeds`` and ``epoch`` of the data plane, ``board`` (process).
    """

    def save_router(self, name: str, number: int, spec: dict[str, Any]) -> None:
        """Write down a router, before it is made and whenever it changes."""
        with self._transaction() as session:
            session.merge(RouterRow(name=name, number=number, spec=spec))

    def forget_router(self, name: str) -> None:
        """Forget a router that is gone."""
        with self._transaction() as session:
            session.execute(delete(RouterRow).where(RouterRow.name == name))

    def routers(self) -> dict[str, tuple[int, dict[str, Any]]]:
        """Number and specification of each router."""
        with self._transaction() as session:
            return {row.name: (row.number, row.spec) for row in session.scalars(select(RouterRow))}
