"""polyrouter image: root file systems that containers start from"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..paths import state_dir
from .common import Json, console, print_json, progress, reporting, show_rows

if TYPE_CHECKING:
    from ..runtime.image import Images

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make, list and remove the images that containers start from.")

Name = Annotated[str, typer.Option("--name", envvar="POLYROUTER_IMAGE", help="Name of the image.")]
Replace = Annotated[bool, typer.Option("--replace", help="Make it anew if there is one.")]


def _images() -> "Images":
    from ..runtime.image import Images

    return Images(state_dir())


@app.command()
def build(name: Name = "default",
          suite: Annotated[str, typer.Option("--suite", help="Debian suite.")] = "trixie",
          replace: Replace = False, as_json: Json = False) -> None:
    """Make an image from Debian's packages, with FRR 10."""
    with reporting(), progress(f"building image {name}") as step:
        info = _images().build(name, suite=suite, replace=replace, progress=step)
    if as_json:
        print_json(info.model_dump())
    else:
        console.print(f"{name}: FRR {info.frr_version}, {info.size_bytes >> 20} MB", highlight=False)


@app.command(name="import")
def import_(source: Annotated[Path, typer.Argument(help="Directory or tar archive of a root file system.")],
            name: Name = "default", replace: Replace = False, as_json: Json = False) -> None:
    """Make an image from a root file system of any distribution with FRR."""
    with reporting(), progress(f"importing {source}") as step:
        info = _images().import_(name, source, step, replace=replace)
    if as_json:
        print_json(info.model_dump())
    else:
        console.print(f"{name}: FRR {info.frr_version}, {info.size_bytes >> 20} MB", highlight=False)


@app.command(name="list")
def list_(as_json: Json = False) -> None:
    """List images."""
    with reporting():
        images = _images()
        rows = [{"name": info.name, "source": info.source, "frr": info.frr_version, "created": info.created,
                 "megabytes": info.size_bytes >> 20, "used_by": images.users(info.name)} for info in images.list()]
    show_rows("Images", rows, as_json=as_json)


@app.command()
def remove(name: Annotated[str, typer.Argument(help="Image.")], as_json: Json = False) -> None:
    """Remove an image that no container uses."""
    with reporting():
        _images().remove(name)
    if as_json:
        print_json({"removed": name})


@app.command()
def criu(as_json: Json = False) -> None:
    """Install CRIU for this project, which moves of routers need: for machines whose own is missing or too old."""
    with reporting(), progress("installing CRIU") as step:
        from ..runtime.criu import install_criu

        found = install_criu(state_dir(), step)
        problem = found.problem()
    version = ".".join(map(str, found.version))
    if as_json:
        print_json({"program": str(found.program), "version": version, "problem": problem})
    else:
        console.print(f"CRIU {version}: {problem or 'it will do'}", highlight=False)
