"""polyrouter board build"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .board_folder import BoardName, Output, folder_of
from .common import USAGE, Json, console, errors_console, fail, print_json, progress, reporting, show_rows

if TYPE_CHECKING:
    from polyrouter.boards.flow.build import BuildResult
    from polyrouter.boards.hostlink import HostLinkKind

__all__ = ["build"]

_LINKS = ("port", "authenticated", "uart")


def build(
    name: BoardName,
    host_link: Annotated[str | None, typer.Option(
        "--host-link", help="How the host gets to it: port, authenticated or uart.",
        autocompletion=lambda: list(_LINKS))] = None,
    key: Annotated[Path | None, typer.Option(
        "--key", help="Authenticated: file of the board's key; default: one that is made in the folder.")] = None,
    link_port: Annotated[int, typer.Option("--link-port", help="Authenticated: the data port.", min=0)] = 0,
    mac: Annotated[str | None, typer.Option("--mac", help="Authenticated: the board's address.")] = None,
    baud: Annotated[int | None, typer.Option("--baud", help="UART: bits a second.", min=1)] = None,
    routers: Annotated[int | None, typer.Option("--routers", help="Virtual routers.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE",
                                                       help="Another parameter of the core.")] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Placements that are tried at most.", min=1)] = 8,
    all_seeds: Annotated[bool, typer.Option("--all-seeds", help="Try them all.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", help="Placements at once.", min=1)] = 1,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Make a board's bitstream; what an earlier build has left off goes on."""
    with reporting(), progress(f"building {name}") as step:
        from polyrouter.boards.description import link_name
        from polyrouter.boards.flow.build import build_board
        from polyrouter.boards.hostlink import HostLinkChoice, HostLinkKind
        from polyrouter.boards.registry import board_named

        board = board_named(name)
        kind = board.host_link if host_link is None else _kind(host_link)
        config = board.config(kind, **_parameters(routers, settings))
        folder = folder_of(board, output)
        authenticated = kind is HostLinkKind.AUTHENTICATED
        choice = HostLinkChoice(kind=kind, port=link_port if authenticated else 0,
                                key=_key(key, folder) if authenticated else None, mac=mac if authenticated else None,
                                **({} if baud is None else {"baud": baud}))
        result = build_board(board, config, choice, folder, seeds=seeds, all_seeds=all_seeds, jobs=jobs, tell=step)
    if as_json:
        print_json(result.as_dict())
        return
    if result.placements:
        show_rows(f"{board.title}, host link {link_name(kind)}", _rows(result), as_json=False)
    for what, there in (("luts", board.device.luts), ("block_rams", board.device.block_rams)):
        console.print(f"{result.used[what]:,} of {there:,} {what.replace('_', ' ')}", highlight=False)
    if result.output:
        console.print(result.output, highlight=False)


def _kind(name: str) -> "HostLinkKind":
    from polyrouter.boards.hostlink import HostLinkKind

    if name not in _LINKS:
        raise fail(f"there is no host link {name!r}; there are: {', '.join(_LINKS)}", USAGE)
    return HostLinkKind[name.upper()]


def _parameters(routers: int | None, settings: list[str] | None) -> dict[str, int]:
    found = {} if routers is None else {"routers": routers}
    for setting in settings or []:
        name, _, value = setting.partition("=")
        try:
            found[name] = int(value, 0)
        except ValueError:
            raise fail(f"--set takes NAME=VALUE with a whole number, not {setting!r}", USAGE) from None
    return found


def _key(path: Path | None, folder: Path) -> bytes:
    """The board's key; a new one if none is given, and none was made before."""
    from ..board.keyfile import make_key, read_key
    from ..board.transport import TransportError

    if path is None:
        path = folder / "key"
        if make_key(path):
            errors_console.print(f"made a key for the board: {path}; its host needs it", highlight=False)
    try:
        return read_key(path)
    except TransportError as error:
        raise fail(error.strerror or str(error), USAGE) from None


def _rows(result: "BuildResult") -> list[dict[str, Any]]:
    return [{"seed": placement.seed, "clock": f"{clock.wanted_mhz:g} MHz", "net": clock.net, "reaches_mhz": clock.mhz}
            for placement in result.placements for clock in placement.clocks]
