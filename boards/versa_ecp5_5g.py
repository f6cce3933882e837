"""Lattice ECP5-5G Versa: as the other one, with an LFE5UM5G-45F."""

from dataclasses import replace

from amaranth_boards.versa_ecp5_5g import VersaECP55GPlatform

from .versa_ecp5 import BOARD as _VERSA

__all__ = ["BOARD"]

BOARD = replace(_VERSA, name="versa_ecp5_5g", title="Lattice ECP5-5G Versa (LFE5UM5G-45F)",
                platform=VersaECP55GPlatform)
