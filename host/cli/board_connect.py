"""polyrouter board connect"""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .board_common import HostLink, Netns, Timeout, open_board
from .common import Json, console, print_json, show_rows

if TYPE_CHECKING:
    from ..board.driver import Driver
    from ..board.registers import BoardRegisters, PhyStatus

__all__ = ["connect"]

#: Sizes of the core that are worth a row.
_SIZES = ("ports", "routers", "data_width", "vmac_slots", "fib_words", "adjacencies", "buffer_bytes", "queue_frames",
          "max_frame", "filter_rules", "policers", "mac_rows", "circuits", "clock_hz")


def connect(
    *,
    host_link: HostLink,
    netns: Netns = None,
    timeout: Timeout = 0.25,
    watch: Annotated[float | None, typer.Option(
        "--watch", "-w", min=0.1, metavar="SECONDS",
        help="Show PHYs and counters again so often, until Ctrl-C.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is at a host link: which board, how large its core is, its PHYs, and what its link has counted."""
    from ..board.registers import BoardRegisters

    with open_board(host_link, netns, timeout) as driver:
        registers = BoardRegisters(driver)
        _show(_found(driver, registers), as_json)
        while watch is not None:
            time.sleep(watch)
            _show({name: value for name, value in _found(driver, registers).items() if name != "core"}, as_json)


def _found(driver: "Driver", registers: "BoardRegisters") -> dict[str, Any]:
    identity, config, watchdog = registers.identity(), driver.info().config, registers.watchdog()
    return {
        "board": {"name": identity.name, "ports": identity.ports, "mdio_buses": identity.buses,
                  "host_link": identity.link.name.lower(), "host_port": identity.link_port,
                  "watchdog_seconds": round(watchdog.timeout, 3), "watchdog_expired": watchdog.expired,
                  "watchdog_disables": watchdog.disables},
        "core": {name: getattr(config, name) for name in _SIZES},
        "phys": [_phy(port, phy) for port, phy in enumerate(registers.phys())],
        "link_counters": asdict(registers.link_counters()),
    }


def _phy(port: int, phy: "PhyStatus") -> dict[str, Any]:
    return {"port": port, "mdio": f"{phy.bus}:{phy.address}", "id": f"{phy.identifier:08x}", "present": phy.present,
            "link": phy.link, "speed": phy.speed, "full_duplex": phy.full_duplex,
            "in_band": None if phy.inband is None else phy.inband.link}


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for title, value in found.items():
        if isinstance(value, dict):
            text = ", ".join(f"{name.replace('_', ' ')} {_text(entry)}" for name, entry in value.items())
            console.print(f"[bold]{title.replace('_', ' ')}[/bold]: {text}", highlight=False)
        else:
            show_rows(title, value, as_json=False)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
