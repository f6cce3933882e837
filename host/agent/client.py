"""The other side of an agent's API."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from ..migration.channel import Place
from ..migration.move import Move, MoveResult
from ..paths import node_run_dir
from ..spec import NodeSpec
from .pidfile import running_pid

__all__ = ["AgentClient", "AgentError", "pid_path", "socket_path"]


class AgentError(RuntimeError):
    """An agent can't be reached, or refused something; the message says why."""


def socket_path(network: str, node: str) -> Path:
    """Where an agent listens."""
    return node_run_dir(network, node) / "agent.sock"


def pid_path(network: str, node: str) -> Path:
    """An agent's pid file."""
    return node_run_dir(network, node) / "agent.pid"


class AgentClient:
    """Calls of one agent.

    Parameters
    ----------
    network, node : str
        Whose agent.
    timeout : float
        Seconds to wait for an answer. :meth:`put_spec` waits as long as it takes.
    """

    def __init__(self, network: str, node: str, timeout: float = 30.0) -> None:
        self.network, self.node = network, node
        self._client = httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(network, node))),
                                    base_url="http://agent", timeout=timeout)

    def __enter__(self) -> "AgentClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def alive(self) -> bool:
        """Whether the agent runs and answers."""
        if running_pid(pid_path(self.network, self.node)) is None:
            return False
        try:
            self.get("/health")
        except AgentError:
            return False
        return True

    def get(self, path: str, **parameters: Any) -> Any:
        """Answer to a GET.

        Raises
        ------
        AgentError
            If there is none, or it is an error.
        """
        return self._call("GET", path, params=parameters)

    def put_spec(self, spec: NodeSpec) -> list[str]:
        """Tell the agent what its node is to be; returns what it changed."""
        return self._call("PUT", "/spec", json=spec.model_dump(), timeout=None)

    def put_links(self, spec: NodeSpec) -> list[str]:
        """Tell the agent of a node of which only routers and links differ from what it is; returns what it changed.

        What does not differ is not looked at, so that this takes little time and disturbs nobody.

        Raises
        ------
        AgentError
            If more differs: then it is :meth:`put_spec` that is needed.
        """
        return self._call("PUT", "/links", json=spec.model_dump(), timeout=None)

    def expect(self, move: Move) -> Place:
        """Have the agent wait for a router; returns where its source is to call."""
        return Place.model_validate(self._call("POST", "/moves/incoming", json=move.model_dump()))

    def check_move(self, move: Move, place: Place) -> None:
        """Find out whether a router can move.

        Raises
        ------
        AgentError
            With the reasons why it can't.
        """
        self._call("POST", "/moves/check", json={"move": move.model_dump(), "place": place.model_dump()}, timeout=None)

    def send_router(self, move: Move, place: Place, values: dict[str, Any],
                    progress: Callable[[str], None]) -> MoveResult:
        """Have the agent move a router to where another one waits for it.

        Parameters
        ----------
        move : Move
        place : Place
        values : dict
            What the network's store is to have when the router is there.
        progress : callable
            Is told what is being done.

        Raises
        ------
        AgentError
            If it was not moved; or the agent is gone, and whether it was is in the lease.
        """
        wanted = {"move": move.model_dump(), "place": place.model_dump(), "values": values}
        try:
            with self._client.stream("POST", "/moves/outgoing", json=wanted, timeout=None) as answer:
                if answer.is_error:
                    raise AgentError(f"{self.node}: {json.loads(answer.read())['detail']}")
                for line in answer.iter_lines():
                    message = json.loads(line)
                    if "error" in message:
                        raise AgentError(message["error"])
                    if "result" in message:
                        return MoveResult.model_validate(message["result"])
                    if message["doing"]:
                        progress(message["doing"])
        except httpx.TransportError as error:
            raise AgentError(f"the agent of {self.node} is gone: {error}") from error
        raise AgentError(f"the agent of {self.node} did not say how the move ended")

    def events(self, since: int = 0) -> Iterator[str]:
        """Events as JSON lines, those to come too."""
        try:
            with self._client.stream("GET", "/events", params={"since": since, "follow": True}, timeout=None) as answer:
                for line in answer.iter_lines():
                    if line:
                        yield line
        except httpx.TransportError as error:
            raise AgentError(f"the agent of {self.node} is gone: {error}") from error

    def frames(self, router: str) -> Iterator[str]:
        """Copies of a router's frames from the hardware, as JSON lines; empty ones in between.

        Raises
        ------
        AgentError
            If there is no such router, or the agent goes away.
        """
        try:
            with self._client.stream("GET", f"/capture/{router}", timeout=None) as answer:
                if answer.is_error:
                    raise AgentError(f"{self.node}: {json.loads(answer.read())['detail']}")
                yield from answer.iter_lines()
        except httpx.TransportError as error:
            raise AgentError(f"the agent of {self.node} is gone: {error}") from error

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise AgentError(f"the agent of {self.node} does not answer ({error}): 'polyrouter up' starts it "
                             "again") from error
        if answer.is_error:
            try:
                detail = answer.json()["detail"]
            except (ValueError, KeyError):
                detail = answer.text
            raise AgentError(f"{self.node}: {detail}")
        # Events are lines of JSON, of another media type; they are handed on as they are.
        return answer.json() if answer.headers.get("content-type") == "application/json" else answer.text
