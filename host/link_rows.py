"""Rows of a node's tables that virtual switches and VNICs take. Pure functions."""

from dataclasses import dataclass

from polyrouter.hdl.config import CoreConfig, power_of_two_at_most

from .tables.windows import LEAST_MAC_ROWS, filter_share

__all__ = ["VNIC_RULES", "Rows", "switch_rows", "vnic_rows"]

#: Rules of a VNIC: for all, for itself, and nothing else.
VNIC_RULES = 3
#: What is not routed has no use for these, but each number has a window.
_FIB_WORDS, _ADJACENCIES = 16, 8
#: So many switches of a node have room for MAC addresses if the file does not say how much.
_SWITCHES = 16


@dataclass(frozen=True)
class Rows:
    """Rows of each table that all numbers of a board share."""

    fib_words: int
    adjacencies: int
    filter_rules: int
    policers: int
    mac_rows: int


def switch_rows(config: CoreConfig, mac_rows: int | None) -> Rows:
    """A virtual switch's: as a virtual router's, but next to nothing of the FIB."""
    room = config.mac_rows // min(config.routers, _SWITCHES)
    return Rows(**_unused(config), filter_rules=filter_share(config), policers=config.policers // config.routers,
                mac_rows=mac_rows or max(LEAST_MAC_ROWS, power_of_two_at_most(room)))


def vnic_rows(config: CoreConfig) -> Rows:
    """A VNIC's."""
    return Rows(**_unused(config), filter_rules=VNIC_RULES, policers=0, mac_rows=0)


def _unused(config: CoreConfig) -> dict[str, int]:
    return {"fib_words": min(_FIB_WORDS, config.fib_words // config.routers),
            "adjacencies": max(1, min(_ADJACENCIES, config.adjacencies // config.routers))}
