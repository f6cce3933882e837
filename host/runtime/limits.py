"""Resource limits of a container, as people write them in a topology file."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Limits", "format_size", "parse_cpus", "parse_size"]

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


def parse_size(value: Any) -> Any:
    """Bytes of a size such as ``67108864``, ``"64M"``, ``"64MiB"`` or ``"1.5g"``; units are powers of 1024.

    Raises
    ------
    ValueError
        If the text isn't a size.
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size; expected a number with an optional unit K, M, G or T, e.g. 64M")
    return int(Decimal(match[1]) * _UNITS[match[2].lower()])


def parse_cpus(value: Any) -> Any:
    """Cores of ``0.5``, ``"0.5"`` or ``"500m"`` (thousandths of a core).

    Raises
    ------
    ValueError
        If the text isn't a number of cores.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        number = Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number of cores; expected e.g. 0.5 or 500m") from None
    return float(number)


def format_size(size: int) -> str:
    """The shortest exact text of a size that `parse_size` reads back, e.g. ``64M``."""
    for unit in ("T", "G", "M", "K"):
        factor = _UNITS[unit.lower()]
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


class Limits(BaseModel):
    """What a container may use at most. None means no limit.

    Attributes
    ----------
    memory_bytes : int or None
        Memory with page cache and kernel memory; accepts "64M". At least 4 MiB, less can't hold a process.
    cpus : float or None
        Cores, in fractions; accepts "0.5" and "500m". At least 0.01, the kernel's smallest quota.
    pids : int or None
        Processes and threads together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_bytes: Annotated[int, BeforeValidator(parse_size), Field(ge=4 * 2**20)] | None = None
    cpus: Annotated[float, BeforeValidator(parse_cpus), Field(ge=0.01, allow_inf_nan=False)] | None = None
    pids: Annotated[int, Field(ge=1)] | None = None

    def only(self, kinds: frozenset[str]) -> "Limits":
        """These limits without those of other `kinds` ("memory", "cpu", "pids")."""
        return Limits(
            memory_bytes=self.memory_bytes if "memory" in kinds else None,
            cpus=self.cpus if "cpu" in kinds else None,
            pids=self.pids if "pids" in kinds else None,
        )

    @property
    def kinds(self) -> frozenset[str]:
        """Which of "memory", "cpu" and "pids" are limited."""
        pairs = (("memory", self.memory_bytes), ("cpu", self.cpus), ("pids", self.pids))
        return frozenset(kind for kind, value in pairs if value is not None)
