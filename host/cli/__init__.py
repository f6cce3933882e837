"""The command line: one file a verb."""

import typer

from . import board, build, image, portgroup, show, tunnel, vnic, wire
from .bench import bench
from .capture import capture
from .demo import demo
from .doctor import doctor
from .down import down
from .events import events
from .exec import exec_
from .logs import logs
from .migrate import migrate
from .ps import ps
from .schema import schema
from .switch import etherstub, switch
from .up import up

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Many isolated virtual routers in one data plane, each with a routing stack in a container.")

for verb in (up, down, ps, migrate, capture, logs, events, doctor, bench, demo, schema):
    app.command()(verb)
app.command(name="exec", context_settings={"allow_interspersed_args": False})(exec_)
app.add_typer(show.app, name="show")
app.add_typer(image.app, name="image")
app.add_typer(build.app, name="build")
app.add_typer(board.app, name="board")
app.add_typer(vnic.app, name="vnic")
app.add_typer(portgroup.app, name="portgroup")
app.add_typer(switch, name="switch")
app.add_typer(etherstub, name="etherstub")
app.add_typer(wire.app, name="wire")
app.add_typer(tunnel.app, name="tunnel")
