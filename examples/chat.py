"""A chat without IP: each line is a frame to all on the link, with an EtherType for experiments (IEEE 802, 9.2.4).

    polyrouter exec chat-alice -- python3 examples/chat.py eth0 alice
    polyrouter exec chat-bob -- python3 examples/chat.py eth0 bob
"""

import socket
import sys
import threading

ETHERTYPE = 0x88B5
BROADCAST = b"\xff" * 6


def show(link: socket.socket) -> None:
    """Print what others say."""
    while True:
        payload = link.recv(65535)
        print(payload.rstrip(b"\0").decode(errors="replace"), flush=True)   # short frames are padded


def main() -> None:
    """Send each line of standard input."""
    if len(sys.argv) != 3:
        sys.exit("usage: chat.py INTERFACE NAME")
    interface, name = sys.argv[1:]
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)    # hears nothing before it is bound
    try:
        link.bind((interface, ETHERTYPE))
    except OSError as error:
        sys.exit(f"{interface}: {error.strerror}; see 'ip link' for the interfaces that are here")
    print(f"EtherType {ETHERTYPE:#x} on {interface}; each line is a frame, Ctrl-D ends", flush=True)
    threading.Thread(target=show, args=(link,), daemon=True).start()
    for line in sys.stdin:
        try:
            link.sendto(f"{name}: {line.rstrip()}".encode(), (interface, ETHERTYPE, 0, 0, BROADCAST))
        except OSError as error:
            print(f"not sent: {error.strerror}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
