"""polyrouter capture"""

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, NetworkName, console, fail, network_of, print_json, progress, reporting

__all__ = ["capture"]


def capture(
    router: Annotated[str, typer.Argument(help="Virtual router, as in red-left.")],
    interface: Annotated[str, typer.Argument(help="Its virtual port, as in eth0.")],
    write: Annotated[Path, typer.Option("--write", "-w", help="File to write, in pcapng.")],
    count: Annotated[int | None, typer.Option("--count", "-c", min=1, help="End after so many frames.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", "-s", min=0.1, help="End after so long.")] = None,
    network: NetworkName = None,
    as_json: Json = False,
) -> None:
    """Write the frames of a virtual router's port to a file that Wireshark opens. Ends with Ctrl-C, too."""
    from .. import capture as capturing

    with reporting(), progress(f"capturing {interface} of {router}") as step:
        found = network_of(network)
        node = found.spec().nodes[found.node_of(router)]
        try:
            frames = capturing.capture(node, node.routers[router], interface, write, count=count, seconds=seconds,
                                       seen=lambda number: step(f"{number} frames of {interface} of {router}"))
        except (capturing.CaptureError, OSError) as error:
            raise fail(str(error)) from None
    if as_json:
        print_json({"router": router, "interface": interface, "file": str(write), "frames": frames})
    else:
        console.print(f"{frames} frames in {write}", highlight=False)
