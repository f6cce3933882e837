"""Link virtualization of a node, worked out to the last number: what its agent is told.

In the data plane a VNIC, a virtual switch and a virtual router are all the same: a number with its tables. A circuit is
where one of them meets another one, or a tunnel (``docs/dataplane.md``, "The link port").
"""

from pydantic import BaseModel

__all__ = ["CircuitSpec", "PortPolicySpec", "TerminationSpec", "TunnelSpec", "VnicSpec"]


class TunnelSpec(BaseModel):
    """Where a circuit's frames go inside of IP packets."""

    kind: str                   # gre, vxlan
    key: int                    # of GRE, or VNI
    underlay: int               # number of the router that routes the packets
    source: str                 # IPv4 addresses
    destination: str
    tos: int = 0
    ttl: int = 64               # on the wire


class CircuitSpec(BaseModel):
    """A row of the LINK table."""

    number: int
    name: str                   # what it belongs to, for people
    router: int                 # number of its owner
    kind: str                   # direct, tunnel, list
    next: int = 0               # list: its first circuit; else the one that follows in its list
    peer: int = 0               # direct
    tunnel: TunnelSpec | None = None


class TerminationSpec(BaseModel):
    """A row of the TERMINATION table."""

    router: int                 # number of the underlay's router
    kind: str                   # gre, vxlan
    key: int
    remote: str                 # IPv4 address of the other end
    circuit: int                # that its frames come in on


class PortPolicySpec(BaseModel):
    """What a VNIC's user may do: VMware's names for the policies of a port group."""

    forged_transmits: bool = False      # may send from any address; else from ``macs`` only
    mac_changes: bool = False           # gets frames for another address that its interface was given
    promiscuous: bool = False           # gets all frames of its switch
    macs: list[str] = []                # addresses besides its own that it may send from
    mirror: bool = False


class VnicSpec(BaseModel):
    """A network interface of this machine that is a VNIC."""

    name: str
    lane: str                   # hw, sw
    switch: str                 # virtual switch that it is on; empty: a virtual wire's end
    interface: str              # its name in ``namespace``
    namespace: str              # whose it is; empty: in the container of ``router``
    outer: str                  # other end of its veth pair, in the fabric
    mac: str
    mtu: int = 1500
    addresses: list[str] = []
    router: str = ""            # virtual router that it is an interface of
    number: int | None = None   # hw: in the data plane
    circuit: int = 0            # hw: by which it gets its frames
    vlan: int = 0               # of its switch, sw: to keep it apart from others there
    max_bw: int | None = None   # bits a second, in each direction
    min_bw: int | None = None
    priority: str = "medium"    # low, medium, high
    policy: PortPolicySpec = PortPolicySpec()
