"""What of the frame buffer is a router's own if nobody says otherwise."""

from polyrouter.hdl.config import CoreConfig

__all__ = ["frame_cells", "reserved_cells"]


def frame_cells(config: CoreConfig) -> int:
    """Cells that the longest frame takes."""
    return -(-config.max_frame // config.cell_bytes)


def reserved_cells(config: CoreConfig) -> int:
    """Cells that each router has reserved: its part of half the buffer, or none if no longest frame fits in that."""
    share = config.cells // 2 // config.routers
    return share if share >= frame_cells(config) else 0
