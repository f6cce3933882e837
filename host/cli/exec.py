"""polyrouter exec"""

import os
import sys
from typing import Annotated

import typer

from .common import NetworkName, fail, network_of, reporting

__all__ = ["exec_"]


def exec_(
    name: Annotated[str, typer.Argument(help="Virtual router or host, as in red-left or red-a.")],
    command: Annotated[list[str] | None, typer.Argument(
        help="Program and its arguments; default: vtysh in a router, a shell in a host.")] = None,
    network: NetworkName = None,
) -> None:
    """Run a program in a virtual router's container or in a host. Its exit code is this one's."""
    words = [*(command or [])]
    if words[:1] == ["--"]:
        words = words[1:]
    with reporting():
        found = network_of(network)
        spec = found.spec()
        host = spec.hosts.get(name)
        routers = [router for node in spec.nodes.values() for router in node.routers]
        if host is None and name not in routers:
            raise fail(f"there is no router or host {name} in {found.name}; there are: "
                       f"{', '.join([*routers, *spec.hosts])}")
        if host is not None:
            argv = ["ip", "netns", "exec", host.namespace, *(words or [os.environ.get("SHELL", "/bin/sh")])]
        else:
            tty = sys.stdin.isatty() and sys.stdout.isatty()
            argv = found.ask(name, f"/exec/{name}", argument=words or ["vtysh"], tty=str(tty).lower())
    os.execvp(argv[0], argv)
