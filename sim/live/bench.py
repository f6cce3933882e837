"""Benchmark of the live board: frames and cycles a second, and how much faster than under cocotb."""

import os
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from ...hdl.config import CoreConfig
from ...hdl.layouts import Reason
from ...host.board.driver import Driver
from ...host.board.hostport import HostPort
from ..frames import RxFrame
from ..tablegen import simple_scenario
from ..workload import forwarding_frames
from .board import LiveBoard
from .build import Progress, build_board

__all__ = ["SocketBoard", "live_frames_per_second", "run_sim_bench"]

#: Frames a second that the live board has to forward.
BAR_FRAMES_PER_SECOND = 10_000
#: Seconds without a frame after which those that are missing are taken to be lost.
SILENCE = 5.0


class SocketBoard:
    """A live board whose ports are socket pairs, for use without root; a context manager.

    Parameters
    ----------
    executable : Path
        The board.
    config : CoreConfig
        What it was built with.
    directory : Path
        For its log and pid file.

    Attributes
    ----------
    ports : list[socket.socket]
        Near ends of the data ports' socket pairs: one frame a message.
    driver : Driver
        Access to its tables.
    board : LiveBoard
        Its process.
    """

    def __init__(self, executable: Path, config: CoreConfig, directory: Path):
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(config.wired_ports + 1)]
        self.ports = [near for near, _ in pairs[:config.wired_ports]]
        self._far = [far for _, far in pairs]
        self.board = LiveBoard(executable, [far.fileno() for far in self._far[:-1]], self._far[-1].fileno(),
                               directory / "board.log", directory / "board.pid")
        self.driver = Driver(HostPort(pairs[-1][0]))

    def __enter__(self) -> "SocketBoard":
        self.board.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.stop()
        self.driver.close()
        for end in (*self.ports, *self._far):
            end.close()


def live_frames_per_second(executable: Path, config: CoreConfig, frames: int) -> dict[str, float]:
    """Forward minimum-size frames through a live board whose ports are always offered more than they can take.

    The time is that between the arrivals of the first frame and of the last one.

    Returns
    -------
    dict
        ``frames``, ``seconds``, ``cycles``, ``frames_per_second`` and ``cycles_per_second``.

    Raises
    ------
    RuntimeError
        If a frame was not forwarded by the hardware.
    """
    scenario = simple_scenario(config)
    load = list(forwarding_frames(scenario, frames))
    with tempfile.TemporaryDirectory(prefix="polyrouter-bench-") as name, \
            SocketBoard(executable, config, Path(name)) as sockets:
        sockets.driver.write_rows(scenario.writes)
        before = sockets.board.stats()
        sender = threading.Thread(target=_send, args=(sockets.ports, load), daemon=True)
        sender.start()
        seconds = _receive(sockets.ports, frames)
        sender.join()
        after = sockets.board.stats()
        _check_counters(sockets.driver, config, frames)
    if before is None or after is None:
        raise RuntimeError("the live board ended during the benchmark")
    cycles = after["cycles"] - before["cycles"]
    return {"frames": frames, "seconds": seconds, "cycles": cycles, "frames_per_second": frames / seconds,
            "cycles_per_second": cycles / (after["busy_seconds"] - before["busy_seconds"])}


def _send(ports: list[socket.socket], load: Iterable[RxFrame]) -> None:
    for frame in load:
        ports[frame.port].send(frame.frame)


def _receive(ports: list[socket.socket], frames: int) -> float:
    received, first, last = 0, 0.0, 0.0
    with selectors.DefaultSelector() as selector:
        for port in ports:
            selector.register(port, selectors.EVENT_READ)
        while received < frames:
            ready = selector.select(SILENCE)
            if not ready:
                raise RuntimeError(f"{frames - received} of {frames} frames were lost")
            for key, _ in ready:
                received += _drain(ports[ports.index(key.fileobj)])  # type: ignore[arg-type]
            last = time.perf_counter()
            first = first or last
    return last - first


def _drain(port: socket.socket) -> int:
    count = 0
    try:
        while True:
            port.recv(2048, socket.MSG_DONTWAIT)
            count += 1
    except BlockingIOError:
        return count


def _check_counters(driver: Driver, config: CoreConfig, frames: int) -> None:
    counted: dict[Reason, int] = {}
    for router in range(config.routers + 1):
        for (_, reason), value in driver.read_counters(router).items():
            counted[reason] = counted.get(reason, 0) + value
    wrong = {reason.name: value for reason, value in counted.items() if value and reason != Reason.FORWARDED}
    if wrong or counted[Reason.FORWARDED] != frames:
        raise RuntimeError(f"{counted[Reason.FORWARDED]} of {frames} frames were forwarded; others: {wrong or 'none'}")


def run_sim_bench(config: CoreConfig | None = None, *, frames: int = 40_000, cocotb_frames: int = 4000,
                  progress: Progress | None = None) -> list[dict]:
    """Results of ``polyrouter bench sim``: a list of ``name``, ``value``, ``unit``, ``bar``, ``ok``.

    Live board and cocotb run the same RTL, with the same tables, and the same kind of frames, at the frame-stream
    boundary.
    """
    from ..cocotb_bench import cocotb_frames_per_second
    tell = progress or (lambda _: None)
    config = config or CoreConfig()
    executable = build_board(config, progress=progress)
    tell(f"forwarding {frames} frames on the live board")
    live = live_frames_per_second(executable, config, frames)
    cocotb = cocotb_frames_per_second(config, cocotb_frames, progress=progress)
    speedup = live["frames_per_second"] / cocotb["frames_per_second"]
    return [
        _result("frames_per_second", live["frames_per_second"], "frames/s", BAR_FRAMES_PER_SECOND),
        _result("cycles_per_second", live["cycles_per_second"], "cycles/s"),
        _result("cycles_per_frame", live["cycles"] / live["frames"], "cycles"),
        _result("cocotb_frames_per_second", cocotb["frames_per_second"], "frames/s"),
        _result("cocotb_cycles_per_second", cocotb["cycles_per_second"], "cycles/s"),
        _result("speedup_over_cocotb", speedup, "x"),
        _result("processors", len(os.sched_getaffinity(0)), "count"),
    ]


def _result(name: str, value: float, unit: str, bar: float | None = None) -> dict:
    return {"name": name, "value": round(value, 2), "unit": unit, "bar": bar, "ok": bar is None or value >= bar}
