"""Lets go of a board: nothing is forwarded any more, and whoever comes next writes its tables anew."""

from ...hdl.layouts import Table
from .driver import Driver

__all__ = ["release"]


def release(driver: Driver, epoch: int) -> bool:
    """Disable all routers of a board and take their addresses off it; returns whether it did.

    Parameters
    ----------
    driver : Driver
    epoch : int
        Of whoever lets go. A board with another one is somebody else's, and stays as it is; 0 is nobody's, or it is
        being programmed.

    Raises
    ------
    BoardError
        If the board does not answer.
    """
    driver.sync()
    if driver.epoch not in (0, epoch):
        return False
    config = driver.info().config
    driver.epoch = 0
    driver.write_rows((Table.VMAC, 0, row, 0) for row in range(config.vmac_slots))
    driver.write_rows((Table.CONTEXT, router, 0, 0) for router in range(config.routers))
    driver.fence()
    return True
