"""The pins of an RGMII, checked."""

from dataclasses import dataclass, fields
from typing import Any

from amaranth.lib import io

__all__ = ["PinError", "RgmiiPorts"]

#: Width and direction of each pin, and the names that board files give it.
_PINS = {
    "txc": (1, io.Direction.Output, ("tx_clk", "txc")),
    "tx_ctl": (1, io.Direction.Output, ("tx_ctl", "tx_ctrl")),
    "txd": (4, io.Direction.Output, ("tx_data", "txd")),
    "rxc": (1, io.Direction.Input, ("rx_clk", "rxc")),
    "rx_ctl": (1, io.Direction.Input, ("rx_ctl", "rx_ctrl")),
    "rxd": (4, io.Direction.Input, ("rx_data", "rxd")),
}


class PinError(ValueError):
    """Pins do not make an RGMII; the message names the pin, what is wrong with it, and what is needed."""


@dataclass(frozen=True, eq=False)
class RgmiiPorts:
    """Pins of an RGMII, without MDIO and reset.

    Parameters
    ----------
    txc, tx_ctl, txd, rxc, rx_ctl, rxd : io.PortLike
        Single-ended, not inverted; ``txd`` and ``rxd`` 4 wide, the others 1.

    Raises
    ------
    PinError
        If a pin has the wrong width or direction, is inverted, or is no single-ended pin.
    """

    txc: io.PortLike
    tx_ctl: io.PortLike
    txd: io.PortLike
    rxc: io.PortLike
    rx_ctl: io.PortLike
    rxd: io.PortLike

    def __post_init__(self) -> None:
        for entry in fields(self):
            width, direction, _ = _PINS[entry.name]
            port = getattr(self, entry.name)
            if not isinstance(port, io.SingleEndedPort):
                raise PinError(f"{entry.name} must be an io.SingleEndedPort, not {port!r}: request the resource with "
                               'dir="-"')
            if len(port) != width:
                raise PinError(f"{entry.name} must be {width} wide, not {len(port)}")
            if port.direction not in (direction, io.Direction.Bidir):
                raise PinError(f"{entry.name} must be an {direction.name.lower()}, not an "
                               f"{port.direction.name.lower()}")
            if any(port.invert):
                raise PinError(f"{entry.name} must not be inverted: nothing fits between a pin and its DDR cell")

    @classmethod
    def of_resource(cls, resource: Any) -> "RgmiiPorts":
        """Take the pins of a board's resource, requested with ``dir="-"``.

        Parameters
        ----------
        resource : object
            With attributes ``tx_clk``, ``tx_ctl`` or ``tx_ctrl``, ``tx_data``, ``rx_clk``, ``rx_ctl`` or ``rx_ctrl``,
            ``rx_data``; also ``txc``, ``txd``, ``rxc`` and ``rxd``.

        Raises
        ------
        PinError
            If a pin is missing or not as it must be.
        """
        ports = {}
        for name, (_, _, names) in _PINS.items():
            found = [getattr(resource, candidate) for candidate in names if hasattr(resource, candidate)]
            if not found:
                raise PinError(f"the resource has no pin {' or '.join(names)}")
            ports[name] = found[0]
        return cls(**ports)
