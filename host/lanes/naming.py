"""How the software lane knows again what it made, also after its process died.

Every interface that it makes in the fabric carries a group number that says whose it is (``IFLA_GROUP``, there from
the interface's first moment); a VNIC's outer end also an alias with what can't be seen from outside.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field

__all__ = ["Memo", "bridge_name", "group_of", "ifb_name", "inner_name", "table_name"]


def _digits(*parts: object) -> str:
    return hashlib.sha256("/".join(str(part) for part in parts).encode()).hexdigest()


def group_of(owner: str) -> int:
    """Group number of an owner's interfaces; never 0, which is everybody's."""
    return int(_digits("software lane", owner)[:8], 16) & 0x7FFFFFFF | 1


def table_name(owner: str) -> str:
    """Name of an owner's nftables table."""
    return f"polyrouter_{group_of(owner):08x}"


def bridge_name(owner: str, switch: str, vlan: int) -> str:
    """Name of the bridge of a virtual switch's VLAN."""
    return f"swb-{_digits(owner, switch, vlan)[:11]}"


def ifb_name(outer: str) -> str:
    """Name of the interface at which what a VNIC sends waits."""
    return f"swl-{_digits(outer)[:11]}"


def inner_name(outer: str) -> str:
    """Name of a VNIC's inner end while it is still in the fabric."""
    return f"swi-{_digits(outer)[:11]}"


@dataclass
class Memo:
    """Alias of a VNIC's outer end.

    Attributes
    ----------
    namespace : str
        Where its inner end is: name, or path of a container's.
    mac : str
        Address that it was given; its user may have changed it since.
    made : list of str
        Namespaces that were made for it, and go with it.
    """

    namespace: str
    mac: str
    made: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def parse(cls, alias: str | None) -> "Memo | None":
        """What an alias says, or None if it is not one of these."""
        try:
            fields = json.loads(alias or "")
            return cls(str(fields["namespace"]), str(fields["mac"]), [str(name) for name in fields["made"]])
        except (ValueError, TypeError, KeyError):
            return None
