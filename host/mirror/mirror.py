"""Keeps the tables of a virtual router as the kernel of its container has them."""

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..board.errors import BoardError
from ..tables.adjacency import LOCAL, Target
from ..tables.groups import MulticastKey
from ..tables.router import RouterTables
from .desired import FIXED, desired_target, way_to
from .kernel import NUD_STALE, KernelState
from .mroutes import Mroute, MulticastState
from .netlink import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETNEXTHOP,
    RTM_GETROUTE,
    EventSource,
    MirrorSocket,
    Overflow,
    decode,
)
from .sampling import Sampler

__all__ = ["RouteMirror"]

#: Prefixes that one commit changes at most, so that other routers need not wait long for theirs.
BATCH = 2000
#: Buffers that are taken from the kernel in one go.
_READS = 64
#: Seconds between looks at the neighbours in use: the kernel sees none of the packets that the hardware forwards, so
#: without these it would forget them.
REFRESH_SECONDS = 5.0
#: Neighbours that are checked or resolved at once.
_REFRESH_AT_ONCE = 256
#: Seconds between complete dumps of the routes, which a container can bring about as often as it likes.
_DUMP_SECONDS = 0.2

_log = logging.getLogger(__name__)


class RouteMirror:
    """Mirror of one router; all methods but :meth:`summary` are called by one thread, that of a mirror loop.

    A neighbour that is known gets a host route and an adjacency with its MAC address; subnets on a port are punted, and
    so the kernel asks for whoever is not known yet. :mod:`.desired` has the rules.

    Parameters
    ----------
    tables : RouterTables
        The router's tables.
    source : path or EventSource
        Network namespace of the container, or who knows what its kernel says.
    port_of_name : mapping of str to int
        Names of the interfaces in it that are ports.
    receive_buffer : int, optional
        Bytes of events that may wait in the kernel.

    Raises
    ------
    OSError
        If the namespace is not there.
    """

    def __init__(self, tables: RouterTables, source: "Path | str | EventSource", port_of_name: Mapping[str, int], *,
                 receive_buffer: int | None = None) -> None:
        self.tables = tables
        self.state = KernelState(port_of_name)
        self.groups = MulticastState()
        self._sampler = Sampler(time.monotonic())
        if isinstance(source, Path | str):
            source = MirrorSocket(source) if receive_buffer is None else MirrorSocket(source, receive_buffer)
        self.socket: EventSource = source
        self.resyncs = 0
        self.last_resync = ""
        self.batches = 0
        self.events = 0
        self.error: str | None = None
        self._board_error = ""
        self._resync_reason: str | None = "start"
        self._look_at_everything = True
        self._next_dump = 0.0
        self._next_refresh = 0.0
        self._paused_until = 0.0
        self._ends: list[int] = []

    @property
    def router(self) -> int:
        """The router's number."""
        return self.tables.router

    def fileno(self) -> int:
        """Descriptor that is readable when there are events."""
        return self.socket.fileno()

    def close(self) -> None:
        """Let go of the namespace; the tables stay as they are."""
        self.socket.close()

    def resync(self, reason: str) -> None:
        """Compare everything with the kernel at the next :meth:`receive`."""
        self._resync_reason = reason

    def keep(self, ends: Iterable[int]) -> None:
        """Keep the next hops to these IPv4 addresses known from now on: tunnels lead there, whose packets no container
        sees."""
        self._ends = list(ends)
        self._next_refresh = 0.0

    def resolve(self, address: int) -> None:
        """Make the kernel look for the next hop to an IPv4 address, now."""
        self._resolve([hop for hop in way_to(self.state, address) if self._is_due(hop)])

    def receive(self) -> bool:
        """Take events from the kernel; returns whether there may be more."""
        try:
            for _ in range(_READS):
                data = self.socket.receive()
                if data is None:
                    break
                for event in decode(data):
                    self.events += 1
                    if isinstance(event.item, Mroute):
                        self.groups.apply(event.item, event.new)
                    else:
                        self.state.apply(event)
            else:
                return True
        except Overflow:
            self._resync_reason = "events were lost"
        if self._resync_reason is not None:
            self._dump_all()
        elif self.state.outdated and time.monotonic() >= self._next_dump:
            self._dump_routes()
        return False

    def settled(self) -> bool:
        """Whether the tables are as the kernel is, as far as it has told."""
        state = self.state
        return not (state.prefixes or state.touched or state.outdated or self.groups.changed
                    or self._resync_reason is not None or self.tables.out_of_step)

    def wants_work(self) -> bool:
        """Whether :meth:`work` has something to do, and the board is there for it."""
        return (bool(self.state.prefixes or self.state.touched or self.groups.changed) and not self.tables.out_of_step
                and time.monotonic() >= self._paused_until)

    def failed(self, error: Exception) -> None:
        """Something unforeseen happened: start again from nothing, but not at once."""
        self.error = f"{type(error).__name__}: {error}"
        self._paused_until = time.monotonic() + REFRESH_SECONDS
        self._next_refresh = self._paused_until
        self._resync_reason = "an error"
        self._look_at_everything = True

    def work(self, limit: int = BATCH) -> None:
        """Bring up to ``limit`` prefixes into the tables, with one commit."""
        state, tables = self.state, self.tables
        touched, state.touched = state.touched, set()
        for hop in touched:
            ifindex = state.ifindex(hop.port)
            assert hop.address is not None
            mac = None if ifindex is None else state.neighbour_mac(ifindex, hop.address, hop.ipv6)
            tables.set_neighbour(hop.port, hop.address, mac, hop.ipv6)
        for port in set(state.port_of_name.values()):
            tables.set_mtu(port, state.mtu(port))
        for _ in range(min(limit, len(state.prefixes))):
            prefix = state.prefixes.pop()
            tables.set_route(prefix, desired_target(state, prefix))
        changed, self.groups.changed = self.groups.changed, set()
        for key in changed:
            tables.set_group(key, LOCAL if key in self._sampler.active else self.groups.desired(key, state.port))
        self.batches += 1
        try:
            tables.commit()
        except BoardError as error:
            # The tables know that the board is not as they say, and do nothing until whoever takes care of the board
            # has synchronized them.
            self._board_error = str(error)
            _log.error("router %d: %s", self.router, error)
            return
        self.error = None
        self._resolve(tables.take_unresolved())

    def tick(self) -> float:
        """Do what is due; returns the time (monotonic) at which it wants to be called again."""
        now = time.monotonic()
        if now >= self._next_refresh:
            self._next_refresh = now + REFRESH_SECONDS
            self._refresh()
        if now >= self._paused_until and (
                self._resync_reason is not None or (self.state.outdated and now >= self._next_dump)):
            self.receive()
        if now >= self._sampler.due:
            self._sample(now)
        return min(self._next_refresh, self._sampler.due, *[self._next_dump] * self.state.outdated)

    def summary(self) -> dict[str, object]:
        """State for people: routes in the kernel's main table and in hardware, resyncs, problems."""
        problems = self.tables.problems()
        if self.error is not None:
            problems.append(self.error)
        if self._board_error and self.tables.out_of_step:
            problems.append(self._board_error)
        if self._resync_reason is not None:
            problems.append(f"about to be compared with the kernel: {self._resync_reason}")
        return {"router": self.router, "rib": self.state.route_count(), "fib": self.tables.route_count(),
                "mroutes": len(self.groups.routes),
                "adjacencies": self.tables.adjacency_count(), "pending": len(self.state.prefixes),
                "events": self.events, "batches": self.batches, "resyncs": self.resyncs,
                "last_resync": self.last_resync, "problems": problems}

    def _dump_all(self) -> None:
        reason, self._resync_reason = self._resync_reason or "", None
        # Older than what the dumps will say, and not complete.
        self.socket.discard()
        dumps = {kind: [event.item for event in self.socket.dump(kind)]
                 for kind in (RTM_GETLINK, RTM_GETADDR, RTM_GETNEXTHOP, RTM_GETNEIGH, RTM_GETROUTE)}
        self.state.replace_links(dumps[RTM_GETLINK])            # type: ignore[arg-type]
        self.state.replace_addresses(dumps[RTM_GETADDR])        # type: ignore[arg-type]
        self.state.replace_next_hops(dumps[RTM_GETNEXTHOP])     # type: ignore[arg-type]
        self.state.replace_neighbours(dumps[RTM_GETNEIGH])      # type: ignore[arg-type]
        self.state.replace_routes(dumps[RTM_GETROUTE])          # type: ignore[arg-type]
        self.groups.replace(self.socket.dump_mroutes())
        if self._look_at_everything:
            # What the tables have, too, so that what the kernel does not have is removed.
            self._look_at_everything = False
            self.state.prefixes |= {*FIXED, *self.tables.prefixes(), *self.state.all_prefixes()}
            self.state.touched |= set(self.tables.neighbours())
            self.groups.changed |= set(self.tables.group_keys())
        self.resyncs += 1
        self.last_resync = reason
        _log.info("router %d: compared with the kernel: %s", self.router, reason)

    def _dump_routes(self) -> None:
        self._next_dump = time.monotonic() + _DUMP_SECONDS
        self.state.replace_next_hops(event.item for event in self.socket.dump(RTM_GETNEXTHOP))  # type: ignore[misc]
        self.state.replace_routes(event.item for event in self.socket.dump(RTM_GETROUTE))       # type: ignore[misc]
        self.groups.replace(self.socket.dump_mroutes())     # what an interface that went was a way in or out of

    def _sample(self, now: float) -> None:
        forwarded = {key for key in self.groups.routes if key not in self._sampler.active
                     and (target := self._desired_group(key)) is not None and target.ports}
        packets: dict[MulticastKey, int] = {}
        if self._sampler.active or (forwarded and self.tables.forwards_groups):
            packets = {route.key: route.packets for route in self.socket.dump_mroutes()}
        self.groups.changed |= self._sampler.step(now, forwarded, packets)

    def _desired_group(self, key: MulticastKey) -> Target | None:
        return self.groups.desired(key, self.state.port, self.tables.reaches)

    def _resolve(self, targets: list[Target]) -> None:
        for target in targets[:_REFRESH_AT_ONCE]:
            ifindex = self.state.ifindex(target.port)
            if ifindex is not None and target.address is not None:
                self.socket.use_neighbour(ifindex, target.address, target.ipv6)

    def _refresh(self) -> None:
        """Resolve next hops that are not known, and check those that the kernel has not heard of for a while."""
        hops = {hop: None for end in self._ends for hop in way_to(self.state, end)}
        hops |= dict.fromkeys(self.tables.next_hops())
        self._resolve([hop for hop in hops if self._is_due(hop)])

    def _is_due(self, hop: Target) -> bool:
        neighbour = self.state.neighbour(hop)
        return neighbour is None or bool(neighbour.state & NUD_STALE) or not neighbour.mac
