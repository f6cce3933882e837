"""Who may send from which address, and who gets what: the nftables table of a software lane.

A frame is looked at twice, in the kernel's bridge: where it comes in (``from``), by its port and source address; and
for each port that it would leave by (``to``), by that port and its destination address. A look-up costs the same
however many VNICs there are; only a forged frame goes through the rules that count, one a port.
"""

import struct
from dataclasses import dataclass, field

from pyroute2.netlink.nfnetlink.nftsocket import Meta
from pyroute2.nftables.main import NFTables

from . import nft

__all__ = ["Guard", "GuardedPort"]

# Hooks of the bridge family, and a priority in front of everybody else's chains.
_PREROUTING, _FORWARD, _PRIORITY = 0, 2, -300
# Types of nftables, for who looks at the sets: interface index, Ethernet address, class.
_INDEX, _ADDRESS, _CLASS = 20, 9, 23
_PORT_AND_ADDRESS = _INDEX << 6 | _ADDRESS, 12
_SETS = {"senders": (_PORT_AND_ADDRESS, None), "receivers": (_PORT_AND_ADDRESS, None),
         "closed": ((_INDEX, 4), None), "classes": ((_INDEX, 4), (_CLASS, 4))}


@dataclass(frozen=True)
class GuardedPort:
    """What the guard is to know of a VNIC's port.

    Attributes
    ----------
    index : int
        Interface index of the outer end.
    addresses : frozenset of str
        What it may send from and gets frames for.
    any_source : bool
        It may send from any address.
    all_frames : bool
        It gets all frames.
    traffic_class : int
        Class of the trunk's queue that its frames wait in; 0 if there is none.
    """

    index: int
    addresses: frozenset[str] = field(default_factory=frozenset)
    any_source: bool = False
    all_frames: bool = False
    traffic_class: int = 0


def _index(index: int) -> bytes:
    return struct.pack("=I", index)


def _key(index: int, address: str) -> bytes:
    return _index(index) + bytes.fromhex(address.replace(":", "")) + bytes(2)


class Guard:
    """The table of one owner.

    Parameters
    ----------
    table : str
        Its name.
    """

    def __init__(self, table: str) -> None:
        self.table = table

    def sync(self, socket: NFTables, ports: list[GuardedPort]) -> bool:
        """Make the table say what is wanted, in one step; returns whether it did not."""
        change = nft.Transaction(self.table)
        fresh = self.table not in nft.tables(socket)
        if fresh:
            self._build(change)
        have: dict[str, dict[bytes, bytes]] = {
            name: {} if fresh else nft.elements(socket, self.table, name) for name in _SETS}
        for name, wanted in self._elements(ports).items():
            gone = {key: value for key, value in have[name].items() if wanted.get(key) != value}
            new = {key: value for key, value in wanted.items() if have[name].get(key) != value}
            if gone:
                change.change_elements(name, gone, add=False)
            if new:
                change.change_elements(name, new, add=True)
        counting = {} if fresh else self._counting(socket)
        guarded = {port.index for port in ports if not port.any_source}
        for index in sorted(set(counting) - guarded):
            change.delete_rule("from", counting[index][0])
        for index in sorted(guarded - set(counting)):
            change.add_rule("from", [nft.meta(Meta.NFT_META_IIF), nft.compare(_index(index)), nft.counter(),
                                     *nft.verdict(nft.DROP)])
        if not change:
            return False
        change.commit(socket)
        return True

    def remove(self, socket: NFTables) -> bool:
        """Remove the table, if it is there."""
        if self.table not in nft.tables(socket):
            return False
        change = nft.Transaction(self.table)
        change.delete_table()
        change.commit(socket)
        return True

    def forged(self, socket: NFTables) -> dict[int, int]:
        """Frames with a forged source address, by interface index of the port they came in by."""
        if self.table not in nft.tables(socket):
            return {}
        return {index: count for index, (_, count) in self._counting(socket).items()}

    def classes(self, socket: NFTables) -> dict[int, int]:
        """Traffic classes by interface index."""
        if self.table not in nft.tables(socket):
            return {}
        return {struct.unpack("=I", key)[0]: struct.unpack("=I", value)[0]
                for key, value in nft.elements(socket, self.table, "classes").items()}

    @staticmethod
    def _build(change: nft.Transaction) -> None:
        change.add_table()
        change.add_chain("from", _PREROUTING, _PRIORITY)
        change.add_chain("to", _FORWARD, _PRIORITY)
        for number, (name, (key, value)) in enumerate(_SETS.items(), 1):
            change.add_set(number, name, key, value)
        change.add_rule("from", [nft.meta(Meta.NFT_META_IIF), nft.ethernet(6, 6, 1), nft.lookup("senders"),
                                 *nft.verdict(nft.ACCEPT)])
        change.add_rule("to", [nft.meta(Meta.NFT_META_IIF), nft.lookup("classes", value=True),
                               nft.set_meta(Meta.NFT_META_PRIORITY)])
        change.add_rule("to", [nft.ethernet(0, 1), nft.mask(b"\1"), nft.compare(b"\1"), *nft.verdict(nft.ACCEPT)])
        change.add_rule("to", [nft.meta(Meta.NFT_META_OIF), nft.ethernet(0, 6, 1), nft.lookup("receivers"),
                               *nft.verdict(nft.ACCEPT)])
        change.add_rule("to", [nft.meta(Meta.NFT_META_OIF), nft.lookup("closed"), *nft.verdict(nft.DROP)])

    @staticmethod
    def _elements(ports: list[GuardedPort]) -> dict[str, dict[bytes, bytes]]:
        own = {_key(port.index, address): b"" for port in ports for address in port.addresses}
        return {"senders": own, "receivers": own,
                "closed": {_index(port.index): b"" for port in ports if not port.all_frames},
                "classes": {_index(port.index): _index(port.traffic_class) for port in ports if port.traffic_class}}

    def _counting(self, socket: NFTables) -> dict[int, tuple[int, int]]:
        """Handle and count of the rule for each port."""
        found = {}
        for handle, expressions in nft.rules(socket, self.table, "from"):
            parts = dict(expressions)
            if "counter" in parts:
                value = parts["cmp"].get_attr("NFTA_CMP_DATA").get_attr("NFTA_DATA_VALUE")
                index = struct.unpack("=I", bytes(value))[0]
                found[index] = handle, parts["counter"].get_attr("NFTA_COUNTER_PACKETS")
        return found
