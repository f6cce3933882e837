"""Stands between runc and CRIU, and has CRIU wait before it begins with the processes.

It is run as ``criu``: ``criu_gate.py PROGRAM STATE ANSWER swrk 3``. What runc and CRIU tell each other
(https://criu.org/RPC, packets of protobuf on a socket) is handed on as it is. But when CRIU says that it is about to
dump, which is when it has found out what it must know of the kernel, that goes to the pipe STATE first, and on to runc
when something comes by the pipe ANSWER. It needs nothing but Python's own library, to start quickly.
"""

import array
import contextlib
import fcntl
import os
import select
import socket
import subprocess
import sys

#: Of a notification: ``CriuNotify.script``, a string.
_ABOUT_TO_DUMP = b"pre-dump"
_PACKET, _DESCRIPTORS = 1 << 20, 16
#: Own descriptors are from here on: those below are runc's.
_OWN = 200


def main(program: str, state: str, answer: str, arguments: list[str]) -> int:
    """Hand on until one side has ended; returns CRIU's exit code."""
    runc = _moved(int(arguments[-1]))
    ours, its = (_moved(end.detach()) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    _share_directories(os.getppid())
    criu = subprocess.Popen([program, *arguments[:-1], str(its.fileno())], pass_fds=[its.fileno()])
    its.close()
    poller = select.poll()
    sinks = {runc.fileno(): (runc, ours), ours.fileno(): (ours, runc)}
    for descriptor in sinks:
        poller.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            source, sink = sinks[descriptor]
            data, ancillary, _, _ = source.recvmsg(_PACKET, socket.CMSG_SPACE(4 * _DESCRIPTORS))
            if not data:
                ours.close()        # whichever has ended: CRIU ends now, too
                runc.close()
                return criu.wait()
            if source is ours and _ABOUT_TO_DUMP in data:
                _wait(state, answer)
            _send(sink, data, ancillary)


def _moved(descriptor: int) -> socket.socket:
    """A socket, with a descriptor that is none of runc's."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OWN)
    os.close(descriptor)
    return socket.socket(fileno=copy)


def _share_directories(runc: int) -> None:
    """Have runc's directories under the same descriptors: CRIU is told their numbers, and looks for them where its
    socket comes from, which is here."""
    for name in os.listdir(f"/proc/{runc}/fd"):
        with contextlib.suppress(OSError):
            copy = os.open(f"/proc/{runc}/fd/{name}", os.O_RDONLY | os.O_DIRECTORY)
            high = fcntl.fcntl(copy, fcntl.F_DUPFD_CLOEXEC, _OWN)
            os.close(copy)
            os.dup2(high, int(name), inheritable=False)
            os.close(high)


def _send(sink: socket.socket, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
    descriptors = array.array("i")
    for level, kind, part in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(part[:len(part) - len(part) % descriptors.itemsize])
    sink.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if descriptors else [])
    for copy in descriptors:
        os.close(copy)


def _wait(state: str, answer: str) -> None:
    with open(state, "wb") as pipe:
        pipe.write(b"{}")
    with open(answer, "rb", buffering=0) as pipe:
        pipe.read(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
