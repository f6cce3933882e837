"""The few nftables messages that the software lane needs, through pyroute2: transactions, dumps, expressions.

All of it is about the bridge family. A transaction is done as a whole or not at all, and no frame sees half of it.
"""

from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg
from pyroute2.netlink.nfnetlink import nftsocket as wire
from pyroute2.nftables.expressions import genex, verdict
from pyroute2.nftables.main import NFTables

__all__ = ["ACCEPT", "DROP", "Transaction", "compare", "counter", "data", "elements", "ethernet", "lookup", "mask",
           "meta", "open_nft", "rules", "set_meta", "tables", "verdict"]

ACCEPT, DROP = 1, 0
_BRIDGE = 7
_BEGIN, _END = 0x10, 0x11
#: 32-bit registers: what is loaded into neighbours is looked up as one key.
_FIRST_REGISTER = 8


def open_nft() -> NFTables:
    """An nftables socket in the caller's namespace, for the caller's thread."""
    return NFTables(nfgen_family=_BRIDGE)


def data(value: bytes) -> dict[str, Any]:
    """A value."""
    return {"attrs": [("NFTA_DATA_VALUE", value)]}


def meta(key: wire.Meta, register: int = 0) -> Any:
    """Load what is known of a frame besides its bytes."""
    return genex("meta", {"key": int(key), "dreg": _FIRST_REGISTER + register})


def set_meta(key: wire.Meta) -> Any:
    """Set it from the first register."""
    return genex("meta", {"key": int(key), "sreg": _FIRST_REGISTER})


def ethernet(offset: int, length: int, register: int = 0) -> Any:
    """Load bytes of the Ethernet header."""
    return genex("payload", {"dreg": _FIRST_REGISTER + register, "base": 0, "offset": offset, "len": length})


def mask(bits: bytes) -> Any:
    """Keep only these bits of the first register."""
    return genex("bitwise", {"sreg": _FIRST_REGISTER, "dreg": _FIRST_REGISTER, "len": len(bits), "mask": data(bits),
                             "xor": data(bytes(len(bits)))})


def compare(value: bytes, *, equal: bool = True) -> Any:
    """Go on with the rule if the first register has this value, or if it has another one."""
    return genex("cmp", {"sreg": _FIRST_REGISTER, "op": 0 if equal else 1, "data": data(value)})


def lookup(name: str, *, value: bool = False) -> Any:
    """Go on with the rule if the registers' value is in a set; ``value``: and load what the map has for it."""
    fields = {"set": name, "sreg": _FIRST_REGISTER}
    return genex("lookup", fields | {"dreg": _FIRST_REGISTER} if value else fields)


def counter() -> Any:
    """Count the frames that get here."""
    return genex("counter", {"bytes": 0, "packets": 0})


def _message(kind: Any, number: int, flags: int, attributes: list[Any]) -> Any:
    message = kind()
    message["attrs"] = attributes
    message["nfgen_family"] = _BRIDGE
    message["header"]["type"] = NFNL_SUBSYS_NFTABLES << 8 | number
    message["header"]["flags"] = NLM_F_REQUEST | flags
    return message


def _border(number: int) -> Any:
    message = nfgen_msg()
    message["res_id"] = NFNL_SUBSYS_NFTABLES
    message["header"]["type"] = number
    message["header"]["flags"] = NLM_F_REQUEST
    return message


class Transaction:
    """Changes of one table that happen together.

    Parameters
    ----------
    table : str
        Its name.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self._messages: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._messages)

    def _add(self, kind: Any, number: int, flags: int, attributes: list[Any]) -> None:
        self._messages.append(_message(kind, number, flags | NLM_F_ACK, attributes))

    def add_table(self) -> None:
        """Make the table."""
        self._add(wire.nft_table_msg, wire.NFT_MSG_NEWTABLE, NLM_F_CREATE, [["NFTA_TABLE_NAME", self.table]])

    def delete_table(self) -> None:
        """Remove the table and all that is in it."""
        self._add(wire.nft_table_msg, wire.NFT_MSG_DELTABLE, 0, [["NFTA_TABLE_NAME", self.table]])

    def add_chain(self, name: str, hook: int, priority: int) -> None:
        """Make a base chain that lets pass what no rule drops."""
        place = {"attrs": [["NFTA_HOOK_HOOKNUM", hook], ["NFTA_HOOK_PRIORITY", priority]]}
        self._add(wire.nft_chain_msg, wire.NFT_MSG_NEWCHAIN, NLM_F_CREATE,
                  [["NFTA_CHAIN_TABLE", self.table], ["NFTA_CHAIN_NAME", name], ["NFTA_CHAIN_TYPE", "filter"],
                   ["NFTA_CHAIN_HOOK", place]])

    def add_set(self, number: int, name: str, key: tuple[int, int], value: tuple[int, int] | None = None) -> None:
        """Make a set, or with ``value`` a map; both are (type, bytes), the types only for who looks at them."""
        attributes: list[Any] = [["NFTA_SET_TABLE", self.table], ["NFTA_SET_NAME", name], ["NFTA_SET_ID", number],
                                 ["NFTA_SET_KEY_TYPE", key[0]], ["NFTA_SET_KEY_LEN", key[1]]]
        if value is not None:
            attributes += [["NFTA_SET_FLAGS", {"NFT_SET_MAP"}], ["NFTA_SET_DATA_TYPE", value[0]],
                           ["NFTA_SET_DATA_LEN", value[1]]]
        self._add(wire.nft_set_msg, wire.NFT_MSG_NEWSET, NLM_F_CREATE, attributes)

    def change_elements(self, name: str, elements: dict[bytes, bytes], *, add: bool) -> None:
        """Put elements into a set, or take them out; the values are empty but for a map's."""
        rows = [{"attrs": [["NFTA_SET_ELEM_KEY", data(key)],
                           *([["NFTA_SET_ELEM_DATA", data(value)]] if value and add else [])]}
                for key, value in elements.items()]
        self._add(wire.nft_set_elem_list_msg, wire.NFT_MSG_NEWSETELEM if add else wire.NFT_MSG_DELSETELEM,
                  NLM_F_CREATE if add else 0,
                  [["NFTA_SET_ELEM_LIST_TABLE", self.table], ["NFTA_SET_ELEM_LIST_SET", name],
                   ["NFTA_SET_ELEM_LIST_ELEMENTS", rows]])

    def add_rule(self, chain: str, expressions: list[Any]) -> None:
        """Put a rule at the end of a chain."""
        self._add(wire.nft_rule_msg, wire.NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
                  [["NFTA_RULE_TABLE", self.table], ["NFTA_RULE_CHAIN", chain],
                   ["NFTA_RULE_EXPRESSIONS", expressions]])

    def delete_rule(self, chain: str, handle: int) -> None:
        """Remove a rule."""
        self._add(wire.nft_rule_msg, wire.NFT_MSG_DELRULE, 0,
                  [["NFTA_RULE_TABLE", self.table], ["NFTA_RULE_CHAIN", chain], ["NFTA_RULE_HANDLE", handle]])

    def commit(self, socket: NFTables) -> None:
        """Do it.

        Raises
        ------
        NetlinkError
            If the kernel refuses any of it; nothing is done then.
        """
        socket.nlm_request_batch([_border(_BEGIN), *self._messages, _border(_END)])


def _dump(socket: NFTables, kind: Any, number: int, attributes: list[Any]) -> list[Any]:
    return list(socket.nlm_request_batch([_message(kind, number, NLM_F_DUMP, attributes)]))


def tables(socket: NFTables) -> set[str]:
    """Names of all tables of the family."""
    return {row.get_attr("NFTA_TABLE_NAME") for row in _dump(socket, wire.nft_table_msg, wire.NFT_MSG_GETTABLE, [])}


def rules(socket: NFTables, table: str, chain: str) -> list[tuple[int, list[tuple[str, Any]]]]:
    """Rules of a chain: handle, and the name and contents of each expression."""
    rows = _dump(socket, wire.nft_rule_msg, wire.NFT_MSG_GETRULE, [["NFTA_RULE_TABLE", table]])
    return [(row.get_attr("NFTA_RULE_HANDLE"),
             [(one.get_attr("NFTA_EXPR_NAME"), one.get_attr("NFTA_EXPR_DATA"))
              for one in row.get_attr("NFTA_RULE_EXPRESSIONS") or []])
            for row in rows if row.get_attr("NFTA_RULE_TABLE") == table and row.get_attr("NFTA_RULE_CHAIN") == chain]


def elements(socket: NFTables, table: str, name: str) -> dict[bytes, bytes]:
    """What is in a set or map."""
    found = {}
    for part in _dump(socket, wire.nft_set_elem_list_msg, wire.NFT_MSG_GETSETELEM,
                      [["NFTA_SET_ELEM_LIST_TABLE", table], ["NFTA_SET_ELEM_LIST_SET", name]]):
        for row in part.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS") or []:
            value = row.get_attr("NFTA_SET_ELEM_DATA")
            found[bytes(row.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE"))] = (
                bytes(value.get_attr("NFTA_DATA_VALUE")) if value else b"")
    return found
