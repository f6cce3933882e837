"""polyrouter board list"""

from typing import TYPE_CHECKING, Any

from .common import Json, progress, reporting, show_rows

if TYPE_CHECKING:
    from polyrouter.boards.description import Board

__all__ = ["list_"]


def list_(as_json: Json = False) -> None:
    """List the boards there are."""
    with reporting(), progress("reading the boards"):
        from polyrouter.boards.registry import boards

        rows = [_row(board) for board in boards()]
    show_rows("Boards", rows, as_json=as_json)


def _row(board: "Board") -> dict[str, Any]:
    from polyrouter.boards.description import link_name

    device = board.device
    config = board.config(board.host_link)
    return {"name": board.name, "title": board.title, "fpga": device.name, "ports": len(board.ports),
            "phys": sorted({port.phy for port in board.ports}), "host_link": link_name(board.host_link),
            "routers": config.routers, "core_mhz": board.core_hz / 1e6}
