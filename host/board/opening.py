"""Opens the transport to a board by the description of its link."""

import socket

from ...hdl.hostlink.layouts import AUTH_ETHERTYPE, AUTH_HEADER_BYTES, DEFAULT_BAUD
from ...hdl.layouts import BOARD_MAC, HostLinkKind
from .authenticated import AuthenticatedTransport
from .keyfile import read_key
from .link import parse_link
from .transport import LEAST_MTU, FrameTransport, open_packet_socket
from .uart import UartTransport

__all__ = ["open_transport"]


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
    found = parse_link(link)
    if found.kind is HostLinkKind.PORT:
        return open_packet_socket(found.name, netns)
    if found.kind is HostLinkKind.UART:
        return UartTransport(found.name, found.baud or DEFAULT_BAUD)
    assert found.key is not None
    key = read_key(found.key)
    wire: socket.socket = open_packet_socket(found.name, netns, AUTH_ETHERTYPE,
                                             least_mtu=LEAST_MTU + AUTH_HEADER_BYTES)
    return AuthenticatedTransport(wire, key, wire.getsockname()[4], found.mac or BOARD_MAC)
