"""What the FPGAs of the boards have."""

from dataclasses import dataclass

from polyrouter.hdl.config import ConfigError

__all__ = ["DEVICES", "Device", "Family", "device_named"]

#: Vendors' families, as far as a flow tells them apart.
Family = str
ECP5, XILINX7 = "ecp5", "xc7"


@dataclass(frozen=True)
class Device:
    """An FPGA.

    Attributes
    ----------
    name : str
        As the platform has it in ``device``.
    family : str
        ``ecp5`` or ``xc7``.
    luts : int
        Look-up tables: of four inputs in an ECP5, of six in the 7-series.
    block_rams : int
        Blocks of 18 kbit.
    registers : int
        Flip-flops: one for each look-up table in an ECP5 (Lattice FPGA-TN-02204: two of both a slice), two in the
        7-series (Xilinx UG474).
    """

    name: str
    family: Family
    luts: int
    block_rams: int

    @property
    def registers(self) -> int:
        return self.luts * (1 if self.family == ECP5 else 2)


def _ecp5() -> list[Device]:
    # Lattice FPGA-DS-02012, table 1.1. A 12F is a 25F by another name, and nextpnr takes it as one.
    sizes = {"12F": (24_288, 56), "25F": (24_288, 56), "45F": (43_848, 108), "85F": (83_640, 208)}
    return [Device(f"{line}-{size}", ECP5, *sizes[size])
            for line in ("LFE5U", "LFE5UM", "LFE5UM5G") for size in sizes if line == "LFE5U" or size != "12F"]


#: Xilinx DS180: a RAMB36 is two blocks of 18 kbit.
DEVICES = {device.name: device for device in (
    *_ecp5(), Device("xc7k325t", XILINX7, 203_800, 2 * 445), Device("xc7a200t", XILINX7, 134_600, 2 * 365))}


def device_named(name: str) -> Device:
    """An FPGA by its name.

    Raises
    ------
    ConfigError
        If it is not among those that are known.
    """
    if name not in DEVICES:
        raise ConfigError(f"nothing is known of the FPGA {name!r}; known are {', '.join(DEVICES)}. Add it to "
                          "boards/devices.py, with its look-up tables and block RAMs")
    return DEVICES[name]
