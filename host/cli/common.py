"""What the verbs share: options, output for people and for programs, progress, errors."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import NetworkError
from ..paths import saved_networks

if TYPE_CHECKING:       # these take a second to load, and not every verb needs them
    from ..agent.client import AgentClient
    from ..network import Network
    from ..plan import Change

__all__ = ["FAILED", "USAGE", "Json", "NetworkName", "console", "each_agent", "errors_console", "fail", "network_of",
           "print_changes", "print_json", "progress", "reporting", "show_rows"]

console = Console(soft_wrap=True)
errors_console = Console(stderr=True, soft_wrap=True)

#: Exit codes: something failed; the file or the command line is wrong.
FAILED, USAGE = 1, 2
#: Errors that are the user's or the machine's, not this program's; by name, so that nothing need be loaded for it.
_EXPECTED = frozenset({"MoveError", "LeaseError", "AllocationError", "AgentError", "NetworkError", "BoardError",
                       "BuildError", "RuntimeFailure",
                       "LookupError", "CaptureError", "BenchError", "LinkObjectError", "FlowError"})
#: Those that are a wrong file's or a wrong command line's.
_WRONG = frozenset({"TopologyError", "ConfigError"})
#: A step that takes longer than this says so.
_QUIET_SECONDS = 1.5

Json = Annotated[bool, typer.Option("--json", envvar="POLYROUTER_JSON", help="Print JSON, for programs.")]
NetworkName = Annotated[str | None, typer.Option(
    "--network", "-n", envvar="POLYROUTER_NETWORK", help="Network; default: the only one that is up.",
    autocompletion=saved_networks)]


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    print(json.dumps(value, indent=2))


def print_changes(changes: "Iterable[Change]") -> None:
    """Changes for people, one a line."""
    for change in changes:
        console.print(f"[bold]{change.action:7}[/bold] {change.kind:7} {change.name}: {change.why}", highlight=False)


def fail(message: str, code: int = FAILED) -> typer.Exit:
    """Say on standard error what is wrong; the caller raises what this returns."""
    errors_console.print(message, style="red", highlight=False, markup=False)
    return typer.Exit(code)


@contextmanager
def reporting() -> Iterator[None]:
    """Turn errors that are the user's or the machine's into messages and exit codes."""
    try:
        yield
    except PermissionError as error:
        raise fail(f"not permitted: {error}; run it as root") from None
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & _WRONG:
            raise fail(str(error), USAGE) from None
        if kinds & _EXPECTED:
            raise fail(str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)) from None
        raise


class _Steps:
    """Progress as lines, where there is no terminal: a step that takes long enough to be wondered about is printed."""

    def __init__(self) -> None:
        self._what, self._since, self._shown = "", time.monotonic(), ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __call__(self, what: str) -> None:
        if what != self._what:
            self._what, self._since = what, time.monotonic()

    def _run(self) -> None:
        while not self._closed.wait(0.2):
            if self._what != self._shown and time.monotonic() - self._since > _QUIET_SECONDS:
                self._shown = self._what
                errors_console.print(f"... {self._what}", highlight=False, markup=False)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()


@contextmanager
def progress(title: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done, on standard error, for as long as it is done."""
    if errors_console.is_terminal:
        with errors_console.status(title) as status:
            yield lambda what: status.update(what)
    else:
        steps = _Steps()
        steps(title)
        try:
            yield steps
        finally:
            steps.close()


def network_of(name: str | None, progress_to: Callable[[str], None] = lambda _: None) -> "Network":
    """The network meant: the one named, or the only one there is."""
    from ..network import Network

    if name is not None:
        return Network(name, progress_to)
    names = saved_networks()
    if len(names) == 1:
        return Network(names[0], progress_to)
    if not names:
        raise NetworkError("no network is up: start one with 'polyrouter up FILE'")
    raise NetworkError(f"several networks are up, say which by --network: {', '.join(names)}")


def each_agent(network: "Network", node: str | None = None) -> "Iterator[AgentClient]":
    """Clients of a network's agents, or of one."""
    found = False
    for client in network.agents():
        if node is None or client.node == node:
            found = True
            yield client
    if not found:
        raise NetworkError(f"there is no node {node} in {network.name}; there are: {', '.join(network.spec().nodes)}")


def show_rows(title: str, rows: list[dict[str, Any]], *, as_json: bool, columns: list[str] | None = None) -> None:
    """Rows as a table, or as JSON."""
    if as_json:
        print_json(rows)
        return
    names = columns or list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    if not rows:
        console.print(f"{title}: none", highlight=False)
    else:
        Console(width=max(console.width, 160) if not sys.stdout.isatty() else None).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value) or "-"
    return str(value)
