"""cocotb bench of a board's top level: cocotbext-eth's PHYs at the RGMII pins, models of PHYs on MDIO, the real driver
at the other end of an authenticated link that shares port 0."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, Timer, ValueChange
from cocotb.utils import get_sim_time
from cocotbext.eth import RgmiiPhy
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.hostlink.layouts import AUTH_ETHERTYPE
from polyrouter.hdl.layouts import Reason, RxError
from polyrouter.host.board.authenticated import AuthenticatedTransport
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.hostport import HostPort
from polyrouter.host.board.registers import BoardRegisters
from polyrouter.sim.cocotb_stream import line_burst
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.mdio_phy import LinkPartner, MdioBus, PagedPhy
from polyrouter.sim.rgmii_top import KEY, LINK_PORT
from polyrouter.sim.tablegen import simple_scenario
from polyrouter.sim.workload import forwarding_frames

HOST_MAC = bytes.fromhex("020000000077")
ETHERTYPE = AUTH_ETHERTYPE.to_bytes(2, "big")
IDENTIFIER = 0x01410DD1
#: Of the host's time limits: simulated time passes slowly.
SLOWER = 1000
POLL_NS = 2000


class Bench:
    """The board and all that is around it.

    Attributes
    ----------
    lines : list[RgmiiPhy]
        At each port's pins.
    phys : list[PagedPhy]
        The same PHYs as MDIO sees them.
    received : list[list[bytes]]
        Frames that came out of each port, but for those of the host link.
    recorded : list[bytes]
        Frames that the host sent.
    """

    def __init__(self, dut):
        self.dut = dut
        self.config = CoreConfig(**json.loads(os.environ["POLYROUTER_CONFIG"]))
        self.rng = Random(cocotb.RANDOM_SEED)
        ports = range(self.config.wired_ports)
        self.lines = [RgmiiPhy(*(getattr(dut, f"rgmii{port}_{name}") for name in (
            "txd", "tx_ctl", "txc", "rxd", "rx_ctl", "rxc"))) for port in ports]
        self.phys = [PagedPhy(IDENTIFIER, 22) for _ in ports]
        self.received: list[list[bytes]] = [[] for _ in ports]
        self.recorded: list[bytes] = []
        self.bad = 0
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._far.setblocking(False)

    async def start(self) -> None:
        dut = self.dut
        dut.rst.value = 1
        dut.mdio0__i.value = 1
        Clock(dut.clk, round(1e12 / self.config.clock_hz), "ps").start()
        Clock(dut.tx_clk, 8000, "ps").start()
        await Timer(2, "ns")
        Clock(dut.tx90_clk, 8000, "ps").start()
        cocotb.start_soon(self._entropy())
        cocotb.start_soon(self._mdio())
        for port in range(len(self.lines)):
            cocotb.start_soon(self._receive(port))
        await Timer(200, "ns")
        dut.rst.value = 0
        cocotb.start_soon(self._carry())

    async def _entropy(self) -> None:
        for _ in range(8000):
            self.dut.entropy.value = self.rng.randrange(2)
            await Timer(17, "ns")

    async def _mdio(self) -> None:
        dut = self.dut
        bus = MdioBus(dict(enumerate(self.phys)), rng=self.rng)
        changes = [ValueChange(pin) for pin in (dut.mdio0__mdc, dut.mdio0__o, dut.mdio0__oe, dut.phy_reset0)]
        while True:
            now = get_sim_time("ns")
            bus.set_reset(now, bool(dut.phy_reset0.value))
            dut.mdio0__i.value = bus.step(now, int(dut.mdio0__mdc.value), int(dut.mdio0__o.value),
                                          int(dut.mdio0__oe.value))
            due = bus.next_change()
            waits = [] if due is None else [Timer(max(1, round((due - now) * 1000)), "ps")]
            await First(*changes, *waits)

    async def _receive(self, port: int) -> None:
        while True:
            burst = await self.lines[port].tx.recv()
            if burst.error is not None or not burst.check_fcs():
                self.bad += 1
                continue
            frame = bytes(burst.get_payload())
            if port == LINK_PORT and frame[12:14] == ETHERTYPE:
                self._far.send(frame)
            else:
                self.received[port].append(frame)

    async def _carry(self) -> None:
        """What the host sends goes to the line."""
        while True:
            await Timer(POLL_NS, "ns")
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.recorded.append(self._far.recv(2000))
                    self.send(LINK_PORT, self.recorded[-1])

    def send(self, port: int, frame: bytes) -> None:
        # The link's envelope may make a frame longer than the core's.
        self.lines[port].rx.send_nowait(line_burst(frame, self.config.max_frame + 64, RxError.NONE))

    def transport(self) -> AuthenticatedTransport:
        return AuthenticatedTransport(self._near, KEY, HOST_MAC, monotonic=lambda: time.monotonic() / SLOWER)

    async def call(self, function: Callable, *arguments):
        """Something that waits for the board, in a thread, while simulated time goes on."""
        results: list = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function(*arguments))
            except BaseException as error:      # handed over
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            await Timer(POLL_NS, "ns")
        if errors:
            raise errors[0]
        return results[0]

    async def until(self, condition: Callable[[], bool], microseconds: int) -> None:
        for _ in range(microseconds):
            if condition():
                return
            await Timer(1, "us")
        raise AssertionError("timeout")


def technology(speed: int) -> LinkPartner:
    return LinkPartner(frozenset({(speed, True)}))


@cocotb.test()
async def host_and_traffic_on_one_port(dut):
    """Tables are written over port 0, and frames are forwarded through it, at two speeds of the other one; forged and
    replayed frames change nothing."""
    bench = Bench(dut)
    for phy in bench.phys:
        phy.connect(technology(1000))
    await bench.start()
    scenario = simple_scenario(bench.config)
    model = GoldenModel(bench.config, has_macs=True)
    for write in scenario.writes:
        model.tables.write(write.table, write.router, write.row, write.value)
    load = list(forwarding_frames(scenario, 16))

    # The nonce takes 4096 cycles; a greeting before is lost.
    await Timer(100, "us")
    driver = Driver(HostPort(bench.transport()), timeout=600)
    registers = BoardRegisters(driver)

    async def forward(frames) -> None:
        expected: list[list[bytes]] = [[] for _ in bench.lines]
        before = [len(frames) for frames in bench.received]
        for frame in frames:
            bench.send(frame.port, frame.frame)
            for output in model.receive(frame.port, frame.frame.ljust(60, b"\0")):
                expected[output.port].append(output.frame)
        await bench.until(lambda: all(len(bench.received[port]) - before[port] >= len(expected[port])
                                      for port in range(len(expected))), 2000)
        for port, wanted in enumerate(expected):
            assert bench.received[port][before[port]:] == wanted

    async def link_speed(port: int, speed: int) -> None:
        for _ in range(50):
            status = (await bench.call(registers.phys))[port]
            if status.link and status.speed == speed:
                return
            await Timer(100, "us")
        raise AssertionError(f"port {port} does not come to {speed} Mb/s: {status}")

    try:
        assert (await bench.call(registers.identity)).name == "rgmii"
        for port in range(len(bench.lines)):
            await link_speed(port, 1000)
        await bench.call(driver.write_rows, scenario.writes)
        await forward(load[:8])

        counted = await bench.call(registers.link_counters)
        forged = bytearray(bench.recorded[-1])
        forged[-1] ^= 1
        for frame in (bytes(forged), bench.recorded[-1], bench.recorded[-2]):
            bench.send(LINK_PORT, frame)
        after = await bench.call(registers.link_counters)
        assert (after.forged - counted.forged, after.replayed - counted.replayed) == (1, 2)

        bench.phys[1].connect(technology(100))
        bench.lines[1].set_speed(100e6)
        await link_speed(1, 100)
        bad = bench.bad
        await forward(load[8:])
        assert bench.bad == bad

        for router in range(bench.config.routers + 1):
            found = {key: value for key, value in (await bench.call(driver.read_counters, router)).items() if value}
            assert found == {(port, Reason(reason)): value
                             for (number, port, reason), value in model.counters.items() if number == router}
    finally:
        driver.close()
