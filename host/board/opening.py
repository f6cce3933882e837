"""Opens the transport to a board by the description of its link."""

import errno
import re
import socket
from urllib.parse import parse_qsl

from ...hdl.hostlink.layouts import AUTH_ETHERTYPE, AUTH_HEADER_BYTES, DEFAULT_BAUD
from ...hdl.layouts import BOARD_MAC
from .authenticated import AuthenticatedTransport
from .keyfile import read_key
from .transport import LEAST_MTU, FrameTransport, TransportError, open_packet_socket
from .uart import UartTransport

__all__ = ["open_transport"]

_FORMS = ('"eth:INTERFACE" (a host port of its own), "auth:INTERFACE?key=FILE[&mac=ADDRESS]" (authenticated, on a data '
          'port) or "uart:DEVICE[?baud=RATE]"')
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


def open_transport(link: str, netns: str | None = None) -> FrameTransport:
    """Open the transport to a board.

    Parameters
    ----------
    link : str
        ``eth:INTERFACE``, ``auth:INTERFACE?key=FILE``, ``uart:DEVICE``; options follow a question mark, as in a URL.
    netns : str
        Network namespace of the interface, by name or path; None is the caller's own.

    Raises
    ------
    TransportError
        If the description is wrong, or what it names can't be used.
    """
    scheme, _, rest = link.partition(":")
    name, _, query = rest.partition("?")
    known = {"eth": set(), "auth": {"key", "mac"}, "uart": {"baud"}}.get(scheme)
    if known is None or not name:
        raise _wrong(link, f"it must be {_FORMS}")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise _wrong(link, "options are NAME=VALUE, with & between them") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise _wrong(link, "an option is there twice")
    if unknown := sorted(options.keys() - known):
        raise _wrong(link, f"there is no option {unknown[0]}; {scheme} has {', '.join(sorted(known)) or 'none'}")
    if scheme == "eth":
        return open_packet_socket(name, netns)
    if scheme == "uart":
        baud = options.get("baud", str(DEFAULT_BAUD))
        if not baud.isdecimal() or not int(baud):
            raise _wrong(link, f"baud must be a number of bits a second, not {baud!r}")
        return UartTransport(name, int(baud))
    if not options.get("key"):
        raise _wrong(link, "the file of the board's key is missing: ?key=FILE")
    mac = options.get("mac", BOARD_MAC.hex(":"))
    if not _MAC.fullmatch(mac):
        raise _wrong(link, f"mac must be like 02:70:6f:6c:79:00, not {mac!r}")
    key = read_key(options["key"])
    wire: socket.socket = open_packet_socket(name, netns, AUTH_ETHERTYPE, least_mtu=LEAST_MTU + AUTH_HEADER_BYTES)
    return AuthenticatedTransport(wire, key, wire.getsockname()[4], bytes.fromhex(mac.replace(":", "")))


def _wrong(link: str, why: str) -> TransportError:
    return TransportError(errno.EINVAL, f"the link {link!r} of a board: {why}")
