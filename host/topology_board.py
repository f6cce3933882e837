"""Nodes of a topology file: which board each is, simulated or real, and the parameters of its core."""

from pathlib import Path
from typing import Annotated, Any, Literal

from polyrouter.hdl.config import MOST_FILTER_RULES, CoreConfig, power_of_two_at_least
from pydantic import AfterValidator, Field, model_validator

from .board.link import parse_link
from .board.transport import TransportError
from .topology_types import Model, Seconds

__all__ = ["Board", "Core"]


def _host_link(text: str) -> str:
    try:
        link = parse_link(text)
    except TransportError as error:
        raise ValueError(f"expected another link: {error.strerror}") from None
    # The agent opens it, and works in a directory of its own.
    for path in filter(None, (link.key, link.name if "/" in link.name else None)):
        if not Path(path).is_absolute():
            raise ValueError(f"expected an absolute path, not {path}")
    return text


class Core(Model):
    """Parameters of the data plane, where they are to differ from what the node's ports and routers ask for."""

    routers: int | None = None
    data_width: int | None = None
    vmac_slots: int | None = None
    vmac_cycles: int | None = None
    context_words: int | None = None
    hash_cycles: int | None = None
    headers: int | None = None
    record_rows: int | None = None
    slices: int | None = None
    stage_registers: int | None = None
    access_bits: int | None = None
    fib_words: int | None = None
    fib_rings: int | None = None
    adjacencies: int | None = None
    buffer_bytes: int | None = None
    cell_bytes: int | None = None
    queue_frames: int | None = None
    ingress_bytes: int | None = None
    max_frame: int | None = None
    filter_rules: int | None = None
    filter_banks: int | None = None
    policers: int | None = None
    mac_rows: int | None = None
    circuits: int | None = None
    clock_hz: Annotated[float, Field(gt=0)] | None = None


class Board(Model):
    """A node: a data plane with its agent."""

    kind: Literal["board"] = "board"
    type: str | None = Field(None, description="name of a board, or path of a board file: its ports and its core")
    host_link: Annotated[str, AfterValidator(_host_link)] | None = Field(
        None, alias="host-link", description="how the host reaches a real board; without, it is a simulated one")
    ports: Annotated[int, Field(ge=1, le=8)] = 4
    macs: bool = Field(False, description="simulate the GMII MACs too; slower")
    core: Core = Core()
    mac_age: Seconds = Field(300.0, alias="mac-age", description="bridges forget an address after so long; 0: never")

    @model_validator(mode="after")
    def _as_built(self) -> "Board":
        """Ports and core are those of the board, where the file does not say otherwise."""
        if self.host_link is not None and self.macs:
            raise ValueError("expected no key 'macs': a real board has its MACs")
        if self.type is None:
            return self
        # Loads all that a board is built of.
        from polyrouter.boards.description import BoardError
        from polyrouter.boards.registry import board_named

        if self.type.endswith(".py") and not Path(self.type).is_absolute():
            raise ValueError(f"expected the absolute path of a board file, not {self.type}")
        try:
            board = board_named(self.type)
            kind = parse_link(self.host_link).kind if self.host_link is not None else board.host_link
            ports = board.data_ports(kind)
        except BoardError as error:
            raise ValueError(f"expected another type: {error}") from None
        if "ports" in self.model_fields_set and self.ports != ports:
            raise ValueError(f"expected {ports} ports, which {board.name} has for data, or no key 'ports'")
        self.ports = ports
        chosen: dict[str, Any] = {**board.core, "clock_hz": board.core_hz, **self.core.model_dump(exclude_none=True)}
        self.core = Core(**chosen)
        return self

    def config(self) -> CoreConfig:
        """Parameters of the core to be built for this node; with circuits, its link port is one port more.

        Circuits and the numbers of VNICs take rows too, so that tables of which the file says nothing are larger then,
        unless the board says how large they are.
        """
        given: dict[str, Any] = self.core.model_dump(exclude_none=True)
        circuits = given.get("circuits", 0)
        if not circuits or self.type is not None or self.host_link is not None:
            return CoreConfig(ports=self.ports + bool(circuits), **given)
        routers = given.get("routers", CoreConfig().routers)
        tables = {"vmac_slots": min(16384, power_of_two_at_least(max(16 * routers, 8 * circuits))),
                  "filter_rules": min(MOST_FILTER_RULES, max(CoreConfig().filter_rules, 8 * routers)),
                  "mac_rows": min(1 << 18, power_of_two_at_least(max(CoreConfig().mac_rows, 16 * routers,
                                                                     2 * circuits)))}
        return CoreConfig(ports=self.ports + 1, **tables | given)
