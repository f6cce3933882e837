"""The agent's process: ``python -m polyrouter.host.agent NETWORK NODE``."""

import logging
import os
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn
from pyroute2 import netns

from ..allocate import fabric_namespace
from ..fabric import namespace_path
from ..paths import node_dir, run_dir, state_dir
from ..runtime.runc import RuncRuntime
from .agent import Agent
from .api import make_app
from .board import board_of
from .client import pid_path, socket_path
from .pidfile import AlreadyRunning, PidFile

_log = logging.getLogger("polyrouter.agent")


def main(network: str, node: str) -> int:
    """Serve until SIGTERM; what was made goes on without the agent."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        lock = PidFile(pid_path(network, node))
    except AlreadyRunning as error:
        print(f"the agent of {node} runs already: {error}", file=sys.stderr)
        return 1
    # Interfaces of real boards are in the namespace that 'up' was called in.
    outside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    # All its processes are in the fabric's namespace, where 'down' finds them whatever happened.
    namespace = fabric_namespace(network)
    try:
        netns.setns(str(namespace_path(namespace)), flags=0)    # the default flags would create it
    except FileNotFoundError:
        print(f"there is no network namespace {namespace}: bring the network up with polyrouter up", file=sys.stderr)
        return 1
    agent = Agent(node_dir(network, node), RuncRuntime(state_dir(), run_dir()), board_of,
                  outside=f"/proc/self/fd/{outside}")
    path = socket_path(network, node)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    server = uvicorn.Server(uvicorn.Config(make_app(agent), log_config=None, access_log=False, timeout_keep_alive=75,
                                           timeout_graceful_shutdown=1))

    def recover() -> None:
        try:
            agent.recover()
        except Exception:
            _log.exception("recovery failed")
            agent.events.emit("recovery failed")

    def stop(_: int, __: FrameType | None) -> None:
        server.should_exit = True

    threading.Thread(target=recover, name="recover", daemon=True).start()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.run(sockets=[listener])
    agent.close()
    path.unlink(missing_ok=True)
    lock.close()
    return 0


if __name__ == "__main__":
    status = main(*sys.argv[1:3])
    sys.stdout.flush()
    # Threads that wait for the kernel (a packet socket, a subprocess) must not hold up the end.
    os._exit(status)
