"""polyrouter build: Verilog, and the simulated board"""

from pathlib import Path
from typing import Annotated

import typer
from polyrouter.hdl.config import ConfigError, CoreConfig

from .common import USAGE, Json, console, fail, print_json, progress, reporting

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Generate Verilog, or build the simulated board.")

Ports = Annotated[int, typer.Option("--ports", help="Data ports.")]
Routers = Annotated[int, typer.Option("--routers", help="Virtual routers.")]
Macs = Annotated[bool, typer.Option("--macs", help="With the GMII MACs.")]
Setting = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE",
                                                   help="Another parameter of the core.")]
Topology = Annotated[Path | None, typer.Option("--file", "-f", help="Take the parameters of this topology's nodes.")]


def _config(ports: int, routers: int, settings: list[str] | None) -> CoreConfig:
    parameters: dict[str, int] = {"ports": ports, "routers": routers}
    try:
        for setting in settings or []:
            name, _, value = setting.partition("=")
            parameters[name] = int(value, 0)
        return CoreConfig(**parameters)     # type: ignore[arg-type]
    except (ConfigError, ValueError, TypeError) as error:
        raise fail(str(error), USAGE) from None


@app.command()
def verilog(output: Annotated[Path, typer.Argument(help="File to write.")], ports: Ports = 4, routers: Routers = 8,
            macs: Macs = False, settings: Setting = None, as_json: Json = False) -> None:
    """Write a core as one Verilog file."""
    from polyrouter.sim.live.build import write_verilog

    config = _config(ports, routers, settings)
    with reporting(), progress("generating Verilog"):
        write_verilog(config, output, macs=macs)
    if as_json:
        print_json({"file": str(output), "parameters": config.as_dict()})
    else:
        console.print(f"{output}: {output.stat().st_size >> 10} kB", highlight=False)


@app.command()
def sim(ports: Ports = 4, routers: Routers = 8, macs: Macs = False, settings: Setting = None, file: Topology = None,
        as_json: Json = False) -> None:
    """Build the simulated board, so that 'up' need not."""
    from polyrouter.sim.live.build import build_board

    from ..topology_file import load

    with reporting(), progress("building the board") as step:
        if file is not None:
            wanted = {(node.config(), node.macs) for node in load(file).topology.nodes.values()}
        else:
            wanted = {(_config(ports, routers, settings), macs)}
        built = [str(build_board(config, macs=with_macs, progress=step)) for config, with_macs in wanted]
    if as_json:
        print_json({"boards": built})
    else:
        for path in built:
            console.print(path, highlight=False)
