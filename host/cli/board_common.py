"""What the verbs of boards share: the host link, and a driver over it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .common import fail, reporting

if TYPE_CHECKING:
    from ..board.driver import Driver

__all__ = ["HostLink", "Netns", "Timeout", "open_board"]

HostLink = Annotated[str, typer.Option(
    "--host-link", "-l", envvar="POLYROUTER_HOST_LINK", metavar="LINK",
    help="eth:INTERFACE, auth:INTERFACE?key=FILE[&mac=ADDRESS] or uart:DEVICE[?baud=RATE].")]
Netns = Annotated[str | None, typer.Option("--netns", help="Network namespace of the interface, by name or path.")]
Timeout = Annotated[float, typer.Option(
    "--timeout", min=0.01, help="Seconds to wait for an answer before the board is asked again; more for slow lines.")]


@contextmanager
def open_board(link: str, netns: str | None, timeout: float) -> Iterator["Driver"]:
    """A driver of the board at a host link; closed at the end. Errors become messages and exit codes."""
    from ..board.driver import Driver
    from ..board.hostport import HostPort
    from ..board.opening import open_transport
    from ..board.transport import TransportError

    with reporting():
        try:
            driver = Driver(HostPort(open_transport(link, netns)), timeout=timeout)
        except TransportError as error:
            raise fail(error.strerror or str(error)) from None
        try:
            yield driver
        except TransportError as error:
            raise fail(error.strerror or str(error)) from None
        finally:
            driver.close()
