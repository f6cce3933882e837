"""Packet sockets in the namespaces of a test's network: whole frames as they arrive and as they are to be sent."""

import socket
import struct
from pathlib import Path

from polyrouter.host.fabric import namespace_path
from polyrouter.host.netns import in_namespace

__all__ = ["TEST_ETHERTYPE", "Listener", "odd_frame"]

#: IEEE Std 802 - Local Experimental Ethertype 2.
TEST_ETHERTYPE = 0x88B6
_ETH_P_ALL = 3
# linux/if_packet.h: not in the socket module.
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 263, 8, 23
#: tp_status, tp_len, tp_snaplen, tp_mac, tp_net, tp_vlan_tci, tp_vlan_tpid
_AUXDATA = struct.Struct("=IIIHHHH")
_VLAN_VALID = 1 << 4
_RECEIVE_BUFFER = 4 << 20


def octets(mac: str) -> bytes:
    """A MAC address as it is in a frame."""
    return bytes.fromhex(mac.replace(":", ""))


def odd_frame(destination: str, source: str, marker: bytes, *, length: int = 100) -> bytes:
    """A frame that no IP stack sends or understands, with a marker in its payload; ``length`` is without FCS."""
    return (octets(destination) + octets(source) + struct.pack("!H", TEST_ETHERTYPE) + marker).ljust(length, b"\x5a")


class Listener:
    """All that arrives at an interface, whoever it is for, with the VLAN tag, which the kernel keeps apart.

    Parameters
    ----------
    namespace : str or Path
        Its namespace: the name, or a path.
    interface : str
        Its name there.
    """

    def __init__(self, namespace: str | Path, interface: str) -> None:
        self.name = f"{interface} in {namespace}"
        self._frames: list[bytes] = []
        path = namespace if isinstance(namespace, Path) else namespace_path(namespace)
        self._socket = in_namespace(path, lambda: self._open(interface))

    @staticmethod
    def _open(interface: str) -> socket.socket:
        # Without a protocol it receives nothing until it is bound, so nothing of other interfaces.
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        made.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        made.bind((interface, _ETH_P_ALL))
        return made

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Send a frame as it is."""
        self._socket.send(frame)

    def heard(self, what: bytes = b"") -> list[bytes]:
        """All frames so far that have this in them."""
        while True:
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(65535, socket.CMSG_SPACE(_AUXDATA.size))
            except BlockingIOError:
                return [frame for frame in self._frames if what in frame]
            for level, kind, data in ancillary:
                if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                    status, _, _, _, _, tag, protocol = _AUXDATA.unpack_from(data)
                    if status & _VLAN_VALID:
                        frame = frame[:12] + struct.pack("!HH", protocol or 0x8100, tag) + frame[12:]
            self._frames.append(frame)
