"""How the host reaches a board, as text: ``uart:/dev/ttyUSB1``, ``eth:eth1``, ``auth:eth1?key=FILE``."""

import errno
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from ...hdl.layouts import HostLinkKind
from .transport import TransportError

__all__ = ["BoardLink", "parse_link"]

_FORMS = ('"eth:INTERFACE" (a host port of its own), "auth:INTERFACE?key=FILE[&mac=ADDRESS]" (authenticated, on a data '
          'port) or "uart:DEVICE[?baud=RATE]"')
_OPTIONS: dict[HostLinkKind, set[str]] = {
    HostLinkKind.PORT: set(), HostLinkKind.AUTHENTICATED: {"key", "mac"}, HostLinkKind.UART: {"baud"}}
_SCHEMES = {"eth": HostLinkKind.PORT, "auth": HostLinkKind.AUTHENTICATED, "uart": HostLinkKind.UART}
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


@dataclass(frozen=True)
class BoardLink:
    """A host link.

    Attributes
    ----------
    kind : HostLinkKind
        What the board must have been built with.
    name : str
        Interface or device.
    key : str or None
        AUTHENTICATED: file of the board's key.
    mac : bytes or None
        AUTHENTICATED: the board's address, if it is not the usual one.
    baud : int or None
        UART: bits a second, if it is not the usual rate.
    """

    kind: HostLinkKind
    name: str
    key: str | None = None
    mac: bytes | None = None
    baud: int | None = None


def parse_link(text: str) -> BoardLink:
    """Read the description of a host link; options follow a question mark, as in a URL.

    Raises
    ------
    TransportError
        If it is wrong.
    """
    scheme, _, rest = text.partition(":")
    name, _, query = rest.partition("?")
    kind = _SCHEMES.get(scheme)
    if kind is None or not name:
        raise _wrong(text, f"it must be {_FORMS}")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise _wrong(text, "options are NAME=VALUE, with & between them") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise _wrong(text, "an option is there twice")
    known = _OPTIONS[kind]
    if unknown := sorted(options.keys() - known):
        raise _wrong(text, f"there is no option {unknown[0]}; {scheme} has {', '.join(sorted(known)) or 'none'}")
    baud, mac, key = options.get("baud"), options.get("mac"), options.get("key")
    if baud is not None and (not baud.isdecimal() or not int(baud)):
        raise _wrong(text, f"baud must be a number of bits a second, not {baud!r}")
    if kind is HostLinkKind.AUTHENTICATED and not key:
        raise _wrong(text, "the file of the board's key is missing: ?key=FILE")
    if mac is not None and not _MAC.fullmatch(mac):
        raise _wrong(text, f"mac must be like 02:70:6f:6c:79:00, not {mac!r}")
    return BoardLink(kind, name, key, None if mac is None else bytes.fromhex(mac.replace(":", "")),
                     None if baud is None else int(baud))


def _wrong(text: str, why: str) -> TransportError:
    return TransportError(errno.EINVAL, f"the link {text!r} of a board: {why}")
