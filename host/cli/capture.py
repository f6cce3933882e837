"""polyrouter capture"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from .common import USAGE, Json, NetworkName, console, fail, network_of, print_json, progress, reporting

if TYPE_CHECKING:
    from ..link_spec import VnicSpec
    from ..spec import NodeSpec

__all__ = ["capture"]


class _Limits(TypedDict):
    count: int | None
    seconds: float | None
    seen: Callable[[int], None]


def capture(
    router: Annotated[str, typer.Argument(metavar="ROUTER|VNIC", help="Virtual router, as in red-left; or a VNIC.")],
    interface: Annotated[str | None, typer.Argument(
        help="Its virtual port, as in eth0; with --hardware all of them if there is none.")] = None,
    *,
    write: Annotated[Path, typer.Option("--write", "-w", help="File to write, in pcapng.")],
    count: Annotated[int | None, typer.Option("--count", "-c", min=1, help="End after so many frames.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", "-s", min=0.1, help="End after so long.")] = None,
    hardware: Annotated[bool, typer.Option(
        "--hardware", help="Copies that the data plane makes of the router's frames, not those on the wire.")] = False,
    network: NetworkName = None,
    as_json: Json = False,
) -> None:
    """Write frames of a virtual router's port or of a VNIC to a file that Wireshark opens. Ends with Ctrl-C, too."""
    from .. import capture as capturing

    what = f"{interface} of {router}" if interface else router
    with reporting(), progress(f"capturing {what}") as step:
        found = network_of(network)
        vnic = next((node.vnics[router] for node in found.spec().nodes.values() if router in node.vnics), None)
        _check(router, interface, hardware, vnic)
        limits: _Limits = {"count": count, "seconds": seconds,
                           "seen": lambda number: step(f"{number} frames of {what}")}
        try:
            if vnic is not None and not hardware:
                frames = capturing.capture_vnic(vnic, write, **limits)
            else:
                node = found.spec().nodes[found.node_of(router)]
                if hardware:
                    frames = _from_hardware(found.name, node, router, interface, write, limits)
                else:
                    assert interface is not None
                    frames = capturing.capture(node, node.routers[router], interface, write, **limits)
        except (capturing.CaptureError, OSError) as error:
            raise fail(str(error)) from None
    if as_json:
        print_json({"router": router, "interface": interface, "file": str(write), "frames": frames})
    else:
        console.print(f"{frames} frames in {write}", highlight=False)


def _check(router: str, interface: str | None, hardware: bool, vnic: "VnicSpec | None") -> None:
    if vnic is None:
        if interface is None and not hardware:
            raise fail("say which interface, or --hardware for all frames of the router", USAGE)
    elif interface is not None:
        raise fail(f"{router} is a VNIC, which has one interface only: leave {interface} out", USAGE)
    elif hardware and vnic.lane == "sw":
        raise fail(f"{router} is in software: leave --hardware out")


def _from_hardware(network: str, node: "NodeSpec", router: str, interface: str | None, path: Path,
                   limits: _Limits) -> int:
    from .. import capture as capturing
    from ..agent.client import AgentClient

    port = None if interface is None else capturing.port_named(node.routers[router], interface).logical
    with AgentClient(network, node.node) as agent:
        return capturing.capture_hardware(agent.frames(router), port, path, **limits)
