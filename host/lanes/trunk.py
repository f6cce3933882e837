"""Where a virtual switch of the software lane meets the hardware."""

from dataclasses import dataclass

from ..link_spec import VnicSpec
from .limits import Share

__all__ = ["Trunk", "shares_of"]

#: Classes 1 and 2 of a trunk's queue are the root and what is nobody's.
_FIRST_MINOR = 3


@dataclass(frozen=True)
class Trunk:
    """An interface of the fabric by which a switch reaches everything that is not on it: one end of the veth pair of a
    promiscuous VNIC of the hardware lane. It is somebody else's: it is put into the bridge and taken out of it.

    Attributes
    ----------
    switch : str
        Virtual switch.
    interface : str
        Name, in the fabric.
    vlan : int
        VLAN of the switch that its frames belong to; on the trunk they have no tag, as in a VLAN of the hardware lane.
    rate : int
        Bits a second that it can carry, which least rates and priorities divide up.
    """

    switch: str
    interface: str
    vlan: int = 0
    rate: int = 1_000_000_000


def shares_of(members: dict[int, VnicSpec], known: dict[int, int]) -> dict[int, Share]:
    """How the VNICs of a switch share its trunk, by interface index; nothing if none asks for more than the others.

    Parameters
    ----------
    members : dict of int to VnicSpec
        VNICs by the interface index of the outer end.
    known : dict of int to int
        Numbers that their classes have already.
    """
    if all(spec.min_bw is None and spec.priority == "medium" for spec in members.values()):
        return {}
    taken = {known[index] for index in members if index in known}
    free = iter(number for number in range(_FIRST_MINOR, 0xFFFF) if number not in taken)
    return {index: Share(known[index] if index in known else next(free), spec.min_bw or 0, spec.priority)
            for index, spec in sorted(members.items())}
