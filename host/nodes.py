"""A node of a network on this machine, as a whole: its agent is started, all of it is removed."""

import contextlib
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from .agent.board import end_board
from .agent.client import AgentClient, pid_path
from .agent.pidfile import running_pid
from .board.driver import Driver
from .board.errors import BoardError
from .board.hostport import HostPort
from .board.opening import open_transport
from .board.release import release
from .board.transport import TransportError
from .errors import NetworkError
from .paths import node_dir, node_run_dir, run_dir, state_dir
from .processes import end
from .runtime.runc import RuncRuntime
from .spec import NodeSpec
from .store import AgentStore, NetworkStore

__all__ = ["remove_node", "start_agent"]

#: Seconds that an agent may take to start.
_START_TIMEOUT = 30.0
_POLL = 0.05


def start_agent(store: NetworkStore, network: str, name: str) -> None:
    """Start a node's agent if it does not run.

    Parameters
    ----------
    store : NetworkStore
        Of the network: is told before anything is made.
    network, name : str
        The network, and the node.

    Raises
    ------
    NetworkError
        If it does not start; the message has the end of its log.
    """
    with AgentClient(network, name) as agent:
        if agent.alive():
            return
        store.will_create("node", name)
        directory = node_dir(network, name)
        directory.mkdir(parents=True, exist_ok=True)
        node_run_dir(network, name).mkdir(parents=True, exist_ok=True)
        pid = running_pid(pid_path(network, name))
        if pid is not None:
            end([pid])         # it holds its pid file and does not answer
        log = directory / "agent.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "polyrouter.host.agent", network, name], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True, cwd="/")
        deadline = time.monotonic() + _START_TIMEOUT
        while not agent.alive():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise NetworkError(f"the agent of {name} did not start; the end of {log}:\n{tail}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL)         # one that ends is noticed at once


def remove_node(network: str, name: str, *, leave_board: bool = False) -> None:
    """Remove a node's agent, board, containers and files, as far as they are there; the agent need not run.

    Parameters
    ----------
    network, name : str
        The network, and the node.
    leave_board : bool
        Leave a real board as it is, which forwards on then.

    Raises
    ------
    NetworkError
        If something can't be removed, or a real board does not answer.
    """
    pid = running_pid(pid_path(network, name))
    if pid is not None:
        end([pid])
    end_board(network, name)
    if not leave_board:
        _release_board(network, name)
    runtime = RuncRuntime(state_dir(), run_dir())
    containers = runtime.list(network, name)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(runtime.delete, status.id) for status in containers]
    errors = [str(error) for future in futures if (error := future.exception())]
    if errors:
        raise NetworkError("; ".join(errors))
    shutil.rmtree(node_dir(network, name), ignore_errors=True)
    shutil.rmtree(node_run_dir(network, name), ignore_errors=True)


def _release_board(network: str, name: str) -> None:
    """Disable the routers of a real board, if the node has one and it is not another network's by now."""
    file = node_dir(network, name) / "agent.db"
    if not file.exists():
        return
    store = AgentStore(file)
    try:
        saved, epoch = store.get("spec"), store.get("epoch", 0)
    finally:
        store.close()
    link = "" if saved is None else NodeSpec.model_validate(saved).host_link
    if not link:
        return
    try:
        driver = Driver(HostPort(open_transport(link)))
        try:
            release(driver, epoch)
        finally:
            driver.close()
    except (BoardError, TransportError) as error:
        reason = (error.strerror if isinstance(error, TransportError) else None) or str(error)
        raise NetworkError(f"the board of {name} at {link} could not be told to stop, and may go on forwarding: "
                           f"{reason}; connect it and try again, or leave it as it is with 'polyrouter down "
                           "--leave-boards'") from None
