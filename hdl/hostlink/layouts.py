"""Host frames on a data port and on a UART: envelope, framing and what is counted, declared once.

See ``docs/boards.md``, "Host link".

Tag of a frame: SipHash-2-4 over its header without the tag, its body, zeros up to a whole number of 64-bit words, and
:data:`AUTH_TRAILER`, which is not sent.
"""

from enum import IntEnum

from amaranth.lib import data

from ..config import HOST_HEADER_BYTES, ConfigError, CoreConfig
from ..layouts import BOARD_MAC
from ..mac.gmii import FCS_BYTES

__all__ = [
    "STORED_BEAT", "AUTH_ETHERTYPE", "AUTH_HEADER", "AUTH_HEADER_BEATS", "AUTH_HEADER_BYTES", "AUTH_LEAST_BYTES",
    "AUTH_TRAILER", "AUTH_VERSION",
    "AUTH_WELCOME", "CRC_BYTES", "DEFAULT_BAUD", "DEFAULT_MAC", "END", "ESC", "ESC_END", "ESC_ESC", "ETHERTYPE",
    "KEY_BYTES", "LINK_WIDTH", "AuthKind", "Direction", "LinkEvent", "SlipEvent", "auth_longest", "check_width",
]

#: Local experimental EtherType 2 (IEEE 802, clause 9.2.4) of authenticated host frames.
AUTH_ETHERTYPE = 0x88B6
AUTH_VERSION = 1
#: Bytes of the key of SipHash; a key is an integer whose lowest byte is the first one.
KEY_BYTES = 16
#: AUTH_ETHERTYPE as in AUTH_HEADER: its first byte is the low one.
ETHERTYPE = int.from_bytes(AUTH_ETHERTYPE.to_bytes(2, "big"), "little")
#: Address of a board that was not given one of its own, as in AUTH_HEADER.
DEFAULT_MAC = int.from_bytes(BOARD_MAC, "little")

#: Bits a second of a UART: the most that the usual USB converters do (FT232H, FT2232H, CP2102N).
DEFAULT_BAUD = 3_000_000
#: Bytes of SLIP (RFC 1055) with a meaning of their own, and the CRC at the end of each frame (IEEE 802.3, 3.2.9).
END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD
CRC_BYTES = 4


class AuthKind(IntEnum):
    """What an authenticated frame is."""

    DATA = 1                # a host frame, in either direction
    HELLO = 2               # to the board: asks for its nonce; ``sequence`` is the host's challenge, the body is zero
    WELCOME = 3             # to the host: answers a HELLO; the body is AUTH_WELCOME


class Direction(IntEnum):
    """Where a frame goes; part of what is hashed, so that none can be sent back."""

    TO_BOARD = 0
    TO_HOST = 1


class LinkEvent(IntEnum):
    """What became of a frame that came in by the link; rows of its counters."""

    ACCEPTED = 0            # authentic and new: given on to the core
    GREETED = 1             # an authentic HELLO, which is answered
    FORGED = 2              # the tag is wrong
    REPLAYED = 3            # the tag is right, but the sequence number is not greater than the last one accepted
    FOREIGN = 4             # damaged on the wire; wrong version or kind; too short or long; source is a group address
    OVERFLOW = 5            # no room: what was there before was not done with yet


class SlipEvent(IntEnum):
    """What became of a frame that came in by a UART; rows of its counters."""

    ACCEPTED = 0            # given on to the core
    DAMAGED = 1             # wrong CRC, a byte without a stop bit, or a wrong byte after ESC
    LENGTH = 2              # longer than the longest host frame
    OVERFLOW = 3            # no room: what was there before was not done with yet


#: 32 bytes before a host frame, and before the 32 bytes of a HELLO or a WELCOME; little-endian after the EtherType.
AUTH_HEADER = data.StructLayout({
    "destination": 48,      # as on the wire: first byte in the lowest lane
    "source": 48,
    "ethertype": 16,        # as on the wire: 0xB688 read as little-endian
    "version": 8,           # AUTH_VERSION
    "kind": 8,              # AuthKind
    "sequence": 64,         # rises with every frame in its direction; HELLO: the challenge
    "tag": 64,
})
AUTH_HEADER_BYTES = AUTH_HEADER.size // 8
#: Bits of a beat inside of the authenticated link: a word of the hash.
LINK_WIDTH = 64
AUTH_HEADER_BEATS = AUTH_HEADER.size // LINK_WIDTH

#: A beat in the memory in which a frame waits for its verdict, or for its tag.
STORED_BEAT = data.StructLayout({"data": 64, "empty": 3, "last": 1})

#: What is hashed after the frame, and not sent.
AUTH_TRAILER = data.StructLayout({
    "length": 16,           # bytes of the whole frame, header and tag included, without the zeros that were hashed
    "direction": 8,         # Direction
    "reserved": 40,
    "nonce": 64,            # DATA: of the board since it was started; else zero
})

#: Body of a WELCOME.
AUTH_WELCOME = data.StructLayout({
    "challenge": 64,        # of the HELLO
    "nonce": 64,            # of the board since it was started
    "accepted": 64,         # sequence number of the last frame that the board accepted
    "reserved": 64,
})

#: No frame is shorter, so none is ever padded by a MAC, and its length is what arrives.
AUTH_LEAST_BYTES = AUTH_HEADER_BYTES + AUTH_WELCOME.size // 8


def auth_longest(config: CoreConfig) -> int:
    """Bytes of the longest authenticated frame, without FCS."""
    return config.max_frame - FCS_BYTES + HOST_HEADER_BYTES + AUTH_HEADER_BYTES


def check_width(config: CoreConfig, what: str) -> None:
    """A part of the authenticated link has beats of ``LINK_WIDTH`` bits.

    Raises
    ------
    ConfigError
        If they have another width.
    """
    if config.data_width != LINK_WIDTH:
        raise ConfigError(f"{what} needs a data_width of {LINK_WIDTH}, not {config.data_width}: put a FrameWidth "
                          "between, as AuthenticatedLink does")
