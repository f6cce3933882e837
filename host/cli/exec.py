"""polyrouter exec"""

import os
import sys
from typing import Annotated

import typer

from .common import NetworkName, fail, network_of, reporting

__all__ = ["exec_"]


def exec_(
    name: Annotated[str, typer.Argument(help="Virtual router, host or VNIC, as in red-left, red-a or web0.")],
    command: Annotated[list[str] | None, typer.Argument(
        help="Program and its arguments; default: vtysh in a router, else a shell.")] = None,
    network: NetworkName = None,
) -> None:
    """Run a program in a virtual router's container, in a host or where a VNIC is. Its exit code is this one's."""
    words = [*(command or [])]
    if words[:1] == ["--"]:
        words = words[1:]
    with reporting():
        found = network_of(network)
        spec = found.spec()
        namespaces = {vnic.name: vnic.namespace for node in spec.nodes.values() for vnic in node.vnics.values()
                      if vnic.namespace not in ("", spec.namespace)}
        namespaces |= {host.name: host.namespace for host in spec.hosts.values()}
        routers = [router.name for node in spec.nodes.values() for router in node.routers.values() if router.container]
        if name not in namespaces and name not in routers:
            raise fail(f"there is no router, host or VNIC {name} in {found.name}; there are: "
                       f"{', '.join([*routers, *namespaces])}")
        if name in namespaces:
            argv = ["ip", "netns", "exec", namespaces[name], *(words or [os.environ.get("SHELL", "/bin/sh")])]
        else:
            tty = sys.stdin.isatty() and sys.stdout.isatty()
            argv = found.ask(name, f"/exec/{name}", argument=words or ["vtysh"], tty=str(tty).lower())
    os.execvp(argv[0], argv)
