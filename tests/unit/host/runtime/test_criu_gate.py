"""What stands between runc and CRIU hands on what they say, and has CRIU wait where it must."""

import os
import select
import socket
import subprocess
import sys
import time

import pytest
from polyrouter.host.runtime import criu_gate

#: CRIU's part: says what it was told, with its descriptor of the directory, and then that it is about to dump.
CRIU = r"""
import os, socket, sys
line = socket.socket(fileno=int(sys.argv[-1]))
assert sys.argv[1] == "swrk"
pid = int.from_bytes(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
request = line.recv(1 << 16)
number = int(request.rpartition(b" ")[2])
line.send(b"opened " + os.listdir(f"/proc/{pid}/fd/{number}")[0].encode())
line.send(b"\x08\x05\x32\x0a\x0a\x08pre-dump")
assert line.recv(100) == b"go on"
line.send(b"done")
"""


@pytest.fixture
def gate(tmp_path):
    """runc's end of the socket, the process, and the two pipes."""
    program = tmp_path / "criu"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path / 'criu.py'} \"$@\"\n")
    program.chmod(0o755)
    (tmp_path / "criu.py").write_text(CRIU)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "only").touch()
    pipes = [tmp_path / "state", tmp_path / "answer"]
    for pipe in pipes:
        os.mkfifo(pipe)
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, "-I", "-S", criu_gate.__file__, str(program), *map(str, pipes), "swrk",
                                str(its.fileno())], pass_fds=[its.fileno()])
    its.close()
    ours.settimeout(20)
    with ours, process:
        yield ours, process, *pipes
        process.kill()


def test_it_waits_before_the_dump(gate, tmp_path):
    runc, process, state, answer = gate
    directory = os.open(tmp_path / "images", os.O_RDONLY)       # that runc names by its number
    runc.send(f"dump into {directory}".encode())
    assert runc.recv(100) == b"opened only"
    with state.open("rb") as pipe:
        assert pipe.read() == b"{}"
    assert not select.select([runc], [], [], 0.3)[0], "it says so before it may"
    answer.write_bytes(b"go\n")
    assert b"pre-dump" in runc.recv(100)
    runc.send(b"go on")
    assert runc.recv(100) == b"done"
    assert runc.recv(100) == b""
    assert process.wait(20) == 0
    os.close(directory)


def test_it_ends_with_runc(gate, tmp_path):
    runc, process, _, _ = gate
    directory = os.open(tmp_path / "images", os.O_RDONLY)
    runc.send(f"dump into {directory}".encode())
    assert runc.recv(100) == b"opened only"
    os.close(directory)
    process.kill()
    end = time.monotonic() + 20
    while any("criu.py" in text for text in _commands()):
        assert time.monotonic() < end
        time.sleep(0.05)


def _commands():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline") as file:
                    yield file.read()
            except OSError:
                continue
