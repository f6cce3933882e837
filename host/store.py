"""Saved state of a network and of an agent, in SQLite.

Both stores are small and changed seldom. What could be left behind is written down, and committed, before it is made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, create_engine, delete, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

__all__ = ["AgentStore", "NetworkStore"]


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
