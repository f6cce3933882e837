"""polyrouter migrate"""

from typing import Annotated

import typer

from .common import Json, NetworkName, console, network_of, print_json, progress, reporting, show_rows

__all__ = ["migrate"]


def migrate(
    router: Annotated[str, typer.Argument(metavar="ROUTER", help="The virtual router, as 'polyrouter ps' names it.")],
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="Where it is to be.")],
    network: NetworkName = None,
    restart: Annotated[bool, typer.Option(
        "--restart", help="Start its routing stack anew there, by graceful restart, instead of moving its processes.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether it can move.")] = False,
    as_json: Json = False,
) -> None:
    """Move a virtual router to another node while it forwards; its sessions stay up.

    With --restart its neighbours keep its routes while its routing stack is started anew (graceful restart).
    """
    with reporting(), progress(f"moving {router} to {to}") as step:
        from ..migrate import migrate as move
        from ..migration.move import Mode

        mode = Mode.RESTART if restart else Mode.LIVE
        result = move(network_of(network, step), router, to, mode=mode, dry_run=dry_run)
    if result is None:
        if as_json:
            print_json({"router": router, "to": to, "possible": True})
        else:
            console.print(f"{router} can move to {to}", highlight=False)
        return
    if as_json:
        print_json({"router": router, "to": to, **result.model_dump()})
        return
    show_rows(f"{router} is on {to}", [{"stage": stage, "ms": f"{value:.1f}"}
                                       for stage, value in result.stages_ms.items()], as_json=False)
    what = "was started anew, and was away for" if restart else "stood still for"
    console.print(f"its routing stack {what} {result.freeze_ms:.0f} ms; its data plane was not", highlight=False)
