"""What a network is to be, worked out to the last name and number: what the executors make true.

A :class:`NetworkSpec` follows from a topology file and its allocation alone (:mod:`.compile`). Two of them are compared
to find out what ``up`` has to do, and a :class:`NodeSpec` is what an agent is told.
"""

from pydantic import BaseModel

from .filters import RateSpec, RuleSpec
from .link_spec import CircuitSpec, TerminationSpec, VnicSpec

__all__ = ["GroupSpec", "HostSpec", "LimitSpec", "NetworkSpec", "NodeSpec", "PortSpec", "RateSpec", "RouterSpec",
           "RuleSpec", "SegmentSpec"]


class PortSpec(BaseModel):
    """A virtual port of a router."""

    port: int                   # physical port of the board; of a circuit the link port
    name: str                   # interface in the container
    outer: str                  # other end of its veth, in the fabric
    mac: str                    # VMAC
    addresses: list[str]
    mtu: int
    guard: bool                 # take frames from peers only
    peers: list[str]            # MAC addresses of the members of the network on the same segment
    vlan: int = 0               # 0: untagged
    rate: RateSpec | None = None    # what it may send
    weight: int = 1
    circuit: int = 0            # link port: by which it sends and gets its frames
    segment_guard: bool = False     # take frames of this VLAN or circuit from ``peers`` only

    @property
    def logical(self) -> int:
        """Number of the port among all of the router: of a circuit, with its number above the link port's."""
        return self.port | self.circuit << 4


class GroupSpec(BaseModel):
    """A multicast route that is not the kernel's."""

    group: str
    source: str | None          # None: any
    port: int                   # that its packets come in at
    ports: list[int]            # that they leave by
    host: bool                  # the container gets a copy

    def __str__(self) -> str:
        return f"({self.source or '*'}, {self.group})"


class LimitSpec(BaseModel):
    """Limits of a container; they can be changed while it runs."""

    memory: int
    cpus: float
    pids: int


class RouterSpec(BaseModel):
    """A virtual router."""

    name: str
    network: str
    number: int                 # in the data plane
    image: str
    limits: LimitSpec
    fib_words: int
    adjacencies: int
    ports: list[PortSpec]
    frr: str                    # configuration
    daemons: list[str]
    mode: str = "routed"
    multicast: bool = False
    groups: list[GroupSpec] = []
    mirror: bool = False
    filter_rules: int = 0       # room for them
    policers: int = 0
    mac_rows: int = 0
    rules: list[RuleSpec] = []
    rate: RateSpec | None = None            # what may come in
    punt_rate: RateSpec | None = None       # what may go to its container
    reserved_cells: int = 0     # of the frame buffer
    limit_cells: int | None = None
    container: bool = True      # False: a virtual switch or a VNIC, which has tables only
    tunnels: bool = False       # routes the packets of tunnels, which end here
    learn: bool = True          # bridged: MAC addresses are learned
    list_circuit: int = 0       # of a virtual switch: heads the list of its circuits, for what is flooded


class NodeSpec(BaseModel):
    """A node, as its agent is to make it."""

    topology: str
    node: str
    namespace: str              # the fabric
    core: dict[str, int | float]
    macs: bool
    taps: list[str]             # interfaces of a simulated board's wired ports in the fabric, in port order
    host_tap: str               # of its host port
    host_link: str = ""         # of a real board, in the machine's own namespace; empty: it is simulated
    mac_age: float = 300.0      # seconds
    routers: dict[str, RouterSpec] = {}
    circuits: dict[str, CircuitSpec] = {}       # by number
    terminations: list[TerminationSpec] = []
    vnics: dict[str, VnicSpec] = {}

    @property
    def link(self) -> str:
        """How the host reaches the board (see :func:`.board.opening.open_transport`)."""
        return self.host_link or f"eth:{self.host_tap}"

    @property
    def interfaces(self) -> list[str]:
        """All interfaces of its board in the fabric; a real one has none."""
        return [] if self.host_link else [*self.taps, self.host_tap]

    def kind_of(self, router: str) -> str:
        """What has a number in the data plane, for people: router, switch or vnic."""
        if router in self.routers and self.routers[router].container:
            return "router"
        return "vnic" if router in self.vnics else "switch"


class SegmentSpec(BaseModel):
    """A bridge in the fabric that joins ports."""

    name: str
    bridge: str
    taps: list[str]


class HostSpec(BaseModel):
    """A host's namespace and its interface."""

    name: str
    network: str
    namespace: str
    outer: str                  # other end of its veth, in the fabric
    bridge: str                 # empty: its interface is a VNIC, which the node's agent makes
    mac: str
    address: str | None         # IPv4
    gateway: str | None
    address6: str | None = None
    gateway6: str | None = None
    mtu: int
    neighbours: dict[str, str]  # address of either family -> MAC address of the network's members in its subnet
    vnic: str = ""


class NetworkSpec(BaseModel):
    """A whole network."""

    name: str
    namespace: str
    segments: dict[str, SegmentSpec] = {}
    nodes: dict[str, NodeSpec] = {}
    hosts: dict[str, HostSpec] = {}
