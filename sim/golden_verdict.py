"""What the golden model decides to do with a frame that a router takes."""

from typing import NamedTuple

from polyrouter.hdl.layouts import Reason, TrafficClass

__all__ = ["Verdict"]


class Verdict(NamedTuple):
    """Copies of a frame and what they count as; without any copy, ``reason`` is that of the drop."""

    reason: Reason | None                               # of the copies to data ports, or of the drop
    ports: tuple[int, ...] = ()                         # data ports
    host: Reason | None = None                          # of the copy to the host
    traffic_class: TrafficClass = TrafficClass.NORMAL   # of the copies to data ports
    host_class: TrafficClass = TrafficClass.NORMAL
    routed: bool = False                                # TTL and source address change
    dmac: int | None = None                             # new destination address
    vid: int = 0                                        # of the adjacency, or of the MAC table's entry
    to_tunnel: bool = False                             # a packet of a tunnel that ends here: goes without a tag

    @classmethod
    def drop(cls, reason: Reason) -> "Verdict":
        """No copy."""
        return cls(reason)

    @classmethod
    def punt(cls, reason: Reason, *, control: bool = False) -> "Verdict":
        """To the host alone."""
        return cls(None, host=reason, host_class=TrafficClass.CONTROL if control else TrafficClass.NORMAL)

    @property
    def dropped(self) -> bool:
        """Whether it is counted as dropped; it may be mirrored all the same."""
        return self.reason is not None and not self.ports

    @property
    def sent(self) -> bool:
        """Whether there is any copy."""
        return bool(self.ports) or self.host is not None
