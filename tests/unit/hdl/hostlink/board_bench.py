"""A board of which only the host link and the control engine are there, and the host's own code at its other end."""

import random
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from amaranth.hdl import Elaboratable, Module, ResetInserter, Signal
from amaranth.lib.wiring import connect
from polyrouter.hdl.control import ControlEngine
from polyrouter.hdl.deframer import HostDeframer
from polyrouter.hdl.enframer import HostEnframer
from polyrouter.hdl.hostlink.authenticated import AuthenticatedLink
from polyrouter.hdl.hostlink.layouts import LinkEvent
from polyrouter.hdl.ingress import Ingress
from polyrouter.hdl.layouts import unpack
from polyrouter.hdl.stream import frame_layout
from polyrouter.host.board.authenticated import AuthenticatedTransport
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.hostport import HostPort
from polyrouter.sim.auth_frames import BOARD_MAC, DATA, HELLO, TO_BOARD, tag_of

from ..bench import simulate, sink, source
from .link_bench import CONFIG, HOST_MAC, KEY, KEY_BITS, beats_of, frames_of

TYPE = bytes.fromhex("88b6")
#: Seconds of the transport's clock in a cycle: its pauses are some hundreds of cycles.
TICK = 1e-4
#: Seconds; so long that the driver repeats nothing, however slow the simulation is.
_TIMEOUT = 60.0
LEAST, LONGEST = 64, CONFIG.max_frame - 4 + 64


class LinkBoard(Elaboratable):
    """The link, and behind it what of a core answers requests."""

    def __init__(self, config):
        self.config = config
        self.link = AuthenticatedLink(config)
        self.control = ControlEngine(config)
        self.reset = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self.link
        m.submodules.control = control = self.control
        m.submodules.ingress = ingress = Ingress(self.config, host=True)
        m.submodules.deframer = deframer = HostDeframer(self.config)
        m.submodules.enframer = enframer = HostEnframer(self.config)
        connect(m, link.host_rx, ingress.i)
        connect(m, ingress.o, deframer.i)
        connect(m, deframer.o_request, control.i)
        connect(m, control.o, enframer.i_response)
        connect(m, enframer.o, link.host_tx)
        m.d.comb += [
            control.request.eq(deframer.request), enframer.host_mac.eq(deframer.host_mac),
            deframer.o_inject.ready.eq(1), deframer.event.ready.eq(1), ingress.event.ready.eq(1),
        ]
        return ResetInserter(self.reset)(m)


class Judge:
    """What must become of each frame, by docs/boards.md."""

    def __init__(self, nonce):
        self.nonce, self.accepted = nonce, 0

    def event(self, frame):
        sequence = int.from_bytes(frame[16:24], "little")
        if (not LEAST <= len(frame) <= LONGEST or frame[6] & 1 or frame[14] != 1 or frame[15] not in (DATA, HELLO)):
            return LinkEvent.FOREIGN
        if int.from_bytes(frame[24:32], "little") != tag_of(KEY, frame, TO_BOARD, self.nonce):
            return LinkEvent.FORGED
        if frame[15] == HELLO:
            return LinkEvent.GREETED
        if sequence <= self.accepted:
            return LinkEvent.REPLAYED
        self.accepted = sequence
        return LinkEvent.ACCEPTED


class FrameCollector:
    """What a sink appends its beats to: gives each whole frame to ``take``."""

    def __init__(self, width, take):
        self._width, self._take, self._beats = width, take, []

    def append(self, beat):
        self._beats.append(beat)
        if unpack(frame_layout(self._width), beat)["last"]:
            self._take(*frames_of(self._beats, width=self._width))
            self._beats.clear()


class Bench:
    """Runs ``script(ctx, bench)`` against a board, with a driver on a transport on a socket pair as its cable.

    Parameters
    ----------
    script : coroutine function
    attack : callable
        Frames that somebody sends after each frame of the host: takes it, and the bench.
    core : list of bytes
        Frames that the core sends meanwhile.
    width : int
        Bits of the core's beats.
    """

    def __init__(self, script, *, nonce, attack=lambda frame, bench: (), core=(), seed=1, width=CONFIG.data_width):
        self._width = width
        self.board = LinkBoard(replace(CONFIG, data_width=width))
        self.judge, self.rng = Judge(nonce), random.Random(seed)
        self.counts = Counter()             # what the board must have counted
        self.cycles = 0
        self.waiting = []                   # to be sent to the board before what the host sends
        self.to_host, self.to_core, self.sent_by_core = [], [], []
        self.others = []                    # frames to the board that are none of the link's
        self._attack, self._script, self._nonce = attack, script, nonce
        near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.transport = AuthenticatedTransport(near, KEY, HOST_MAC, monotonic=lambda: self.cycles * TICK)
        self.hostport = HostPort(self.transport)
        self.driver = Driver(self.hostport, timeout=_TIMEOUT)
        with ThreadPoolExecutor(1) as self._threads:
            try:
                simulate(self.board, [self._main], [
                    self._clock, self._to_board,
                    sink(self.board.link.tx, FrameCollector(width, self._from_board), rng=self.rng, rate=0.7),
                    sink(self.board.link.core_rx, FrameCollector(width, self.to_core.append), rng=self.rng, rate=0.8),
                    source(self.board.link.core_tx, [beat for frame in core for beat in beats_of(frame, width=width)],
                           rng=random.Random(seed), rate=0.3)], limit=5_000_000)
            finally:
                self.driver.close()
                self._far.close()

    async def call(self, ctx, function, *arguments):
        """Result of a function of the host, which waits for the board."""
        future = self._threads.submit(function, *arguments)
        while not future.done():
            await ctx.tick()
        return future.result()

    async def restart(self, ctx, nonce):
        """As by the reset button: the tables are empty, and there is a new nonce."""
        ctx.set(self.board.reset, 1)
        ctx.set(self.board.link.nonce, nonce)
        await ctx.tick()
        ctx.set(self.board.reset, 0)
        self.judge = Judge(nonce)

    async def sent(self, ctx):
        """Until what is waiting has been sent and counted."""
        while self.waiting:
            await ctx.tick()

    async def _main(self, ctx):
        link = self.board.link
        ctx.set(link.key, KEY_BITS)
        ctx.set(link.nonce, self._nonce)
        await self._script(ctx, self)

    async def _clock(self, ctx):
        while True:
            await ctx.tick()
            self.cycles += 1

    async def _to_board(self, ctx):
        await ctx.tick()
        while True:
            if self.waiting:
                await self._send(ctx, self.waiting[0])
                self.waiting.pop(0)
                continue
            try:
                frame = self._far.recv(16384, socket.MSG_DONTWAIT)
            except BlockingIOError:
                await ctx.tick()
                continue
            await self._send(ctx, frame)
            self.waiting += self._attack(frame, self)

    async def _send(self, ctx, frame):
        """A frame, and what the board counts for it: that, and nothing else."""
        link = self.board.link
        linked = frame[:6] == BOARD_MAC and frame[12:14] == TYPE
        if linked:
            self.counts[self.judge.event(frame)] += 1
        else:
            self.others.append(frame)
        beats = beats_of(frame, rubbish=self.rng.getrandbits(256), width=self._width)
        await source(link.rx, beats, rng=self.rng, rate=0.6)(ctx)
        while (counted := await self._counted(ctx)).total() < self.counts.total():
            pass
        assert counted == self.counts

    async def _counted(self, ctx):
        counted = Counter()
        for event in LinkEvent:
            ctx.set(self.board.link.counter, event)
            await ctx.tick().repeat(2)
            counted[event] = ctx.get(self.board.link.count)
        return counted

    def _from_board(self, frame):
        if frame[12:14] == TYPE:
            self.to_host.append(frame)
            self._far.send(frame)
        else:
            self.sent_by_core.append(frame)
