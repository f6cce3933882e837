"""What link virtualization does, cycle by cycle: tunnels at line rate, limits of VNICs, and how many there can be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from ...hdl.config import CoreConfig
from ...hdl.layouts import TunnelKind
from ...hdl.mac import gmii
from ...hdl.policers import policer_cycles
from ...hdl.shapers import shaper_cycles
from ...hdl.tunnel import OUTER_BYTES
from ...host.tables.rates import LEAST_BURST, Rates
from ..frames import ethernet, ipv4
from ..golden_packet import parse
from ..golden_rows import Tunnel
from ..golden_tables import vmac_hash
from ..golden_tunnel import encapsulated
from ..host_frames import HostFrame
from .build import HARNESS
from .link_tables import LinkSite
from .measure import LINE_HZ
from .script import BenchFrame, Outcome, Phase, run_script
from .tables import HOST_MAC, Requests
from .traffic import SHORTEST, line_bytes

__all__ = ["LIMITS", "Limit", "Tunnels", "Vnics", "kept", "limits", "tunnel_line_mpps", "tunnels", "vnics"]

Progress = Callable[[str], None]

#: Bits a second.
LIMITS = (64_000, 1_000_000, 100_000_000)
_SEED = 1
_ETHERTYPE = 0x88B6                 # local experimental EtherType 2 (IEEE 802, clause 9.2.4)
_UNDERLAY = 0
_UNDERLAY_ADDRESS = 0x0A000001
_TTL = 64
_FLOW_SEED = 0x0123456789ABCDEF0123456789AB


@dataclass(frozen=True)
class Tunnels:
    """Frames into tunnels and out of them, at line rate of the wires that the packets are on."""

    kind: TunnelKind
    frames: int
    mpps: float                     # that left, all ports
    lost: int
    wrong: int


def tunnel_line_mpps(kind: TunnelKind, ports: int = 4) -> float:
    """Millions of shortest inner frames a second that the lines carry as packets of tunnels."""
    return ports * LINE_HZ / line_bytes(SHORTEST + OUTER_BYTES[kind]) / 1e6


def tunnels(kind: TunnelKind, count: int, progress: Progress, config: CoreConfig | None = None) -> Tunnels:
    """Two point-to-point tunnels: hosts on ports 0 and 1, the underlay on 2 and 3; shortest frames, both directions.

    Each port sends as many frames a second as the underlay's line carries packets, so that all lines between the ends
    of the tunnels are full.

    Parameters
    ----------
    kind : TunnelKind
    count : int
        Frames of each port.
    progress : callable
        Is told what is being done.
    config : CoreConfig, optional
        Four wires and the link port.
    """
    rng = Random(_SEED)
    config = config or CoreConfig(ports=5, routers=8, circuits=64)
    site = LinkSite(config, rng)
    outside = {port: 0x06_00_00_00_00_00 | port for port in range(4)}       # who is on the wire
    inside = {port: 0x02_00_00_00_00_00 | port for port in (2, 3)}          # the underlay's own addresses
    remote = {port: 0x0A000200 | port for port in (2, 3)}
    behind = {port: 0x0E_00_00_00_00_00 | port for port in (2, 3)}          # hosts at the other ends
    site.underlay(_UNDERLAY, _UNDERLAY_ADDRESS, inside,
                  {remote[port]: (port, outside[port]) for port in (2, 3)})
    rows = {}
    for port in (0, 1):
        circuit, far = 1 + port, 2 + port
        site.bridge(1 + port, wires=[port], circuits=[circuit], flood=circuit, flow_seed=_FLOW_SEED,
                    macs=[(outside[port], port, 0), (behind[far], site.link_port, circuit)])
        rows[port] = site.tunnel(circuit, 1 + port, _UNDERLAY, kind, 1000 + port, _UNDERLAY_ADDRESS, remote[far],
                                 ttl=_TTL + 1)
    interval = line_bytes(SHORTEST + OUTER_BYTES[kind])
    frames = []
    for number in range(count):
        for port in (0, 1):
            far = 2 + port
            flow = _flow(rng)
            sent = _inner(behind[far], outside[port], flow)
            head = _outer(rows[port] | {"ttl": _TTL}, sent, outside[far], inside[far])
            frames.append(BenchFrame(port, number * interval, sent, (Outcome(far, head, 0),)))
            back = _inner(outside[port], behind[far], flow)
            there = rows[port] | {"ttl": _TTL, "source": remote[far], "destination": _UNDERLAY_ADDRESS}
            head = _outer(there, back, inside[far], outside[far])
            frames.append(BenchFrame(far, number * interval, head + back, (Outcome(port, b"", len(head)),)))
    executable = HARNESS.build(config, macs=True, progress=progress)
    progress(f"{kind.name}: {len(frames)} frames at line rate")
    _, result = run_script(executable, [Phase(requests=Requests().rows(site.writes())), Phase(frames)])
    return Tunnels(kind, len(frames), sum(result.spacing(frames, LINE_HZ).values()) / 1e6, result.lost, result.wrong)


def _flow(rng: Random) -> tuple[int, int]:
    return rng.getrandbits(32), rng.getrandbits(32)


def _inner(destination: int, source: int, flow: tuple[int, int], length: int = SHORTEST) -> bytes:
    return ethernet(destination, source, 0x0800, ipv4(*flow, bytes(length - 34)))


def _outer(row: dict[str, int], inner: bytes, destination: int, source: int) -> bytes:
    """What goes in front of an inner frame on the wire."""
    packet = parse(0, inner).packet
    assert packet is not None
    hashed = vmac_hash(_FLOW_SEED, packet.flow_key, 16)
    outer = encapsulated(inner, Tunnel(**row), hashed)
    return destination.to_bytes(6, "big") + source.to_bytes(6, "big") + outer[12:-len(inner)]


@dataclass(frozen=True)
class Limit:
    """How a VNIC's limit is kept, in one direction."""

    rate: int                       # bits a second
    inbound: bool                   # what the VNIC gets, or what it sends
    frames: int                     # that came through
    seconds: float                  # from the first one to the last one
    bits: float                     # with FCS, of all but the first one
    error_percent: float            # beyond one frame
    wrong: int


def limits(seconds: float, progress: Progress, config: CoreConfig | None = None, *,
           asked: Sequence[int] = LIMITS, macs: bool = False) -> list[Limit]:
    """Pairs of VNICs of one node, on one etherstub: one of each pair has a limit, in one of the directions.

    What its user sends is twice as much as it may be. Everything goes on at once.

    Parameters
    ----------
    seconds : float
        Of line time.
    progress : callable
        Is told what is being done.
    config : CoreConfig, optional
    asked : sequence of int
        Limits, in bits a second.
    macs : bool
        With MACs, or bare, which takes less time.
    """
    cases = [(rate, inbound) for inbound in (False, True) for rate in asked]
    config = config or CoreConfig(ports=2, routers=16, circuits=64)
    rates = Rates(config.clock_hz, policer_cycles(config), shaper_cycles(config), config.max_frame)
    site = _stub(config, 2 * len(cases))
    for pair, (rate, inbound) in enumerate(cases):
        number, port = (2 * pair + 1, config.host_port) if inbound else (2 * pair, site.link_port)
        site.shaper(number, port, *rates.shaper(rate, LEAST_BURST))
    frames: list[BenchFrame] = []
    pair_of: list[int] = []
    for pair, (rate, _) in enumerate(cases):
        length = _length(rate)
        interval = (length + gmii.FCS_BYTES) * 8 / (2 * rate) * config.clock_hz
        for k in range(int(seconds * config.clock_hz / interval) + 1):
            frames.append(_between(site, 2 * pair, 2 * pair + 1, length, int(k * interval)))
            pair_of.append(pair)
    order = sorted(range(len(frames)), key=lambda k: frames[k].at)
    frames, pair_of = [frames[k] for k in order], [pair_of[k] for k in order]
    executable = HARNESS.build(config, macs=macs, progress=progress)
    progress(f"limits of {len(cases)} VNICs, {seconds:g} s of line time")
    # What was more than the limit may never come: it is waited for as long as six frames take.
    longest = max((_length(rate) + gmii.FCS_BYTES) * 8 / rate for rate in asked)
    _, result = run_script(executable, [
        Phase(requests=Requests().rows(site.writes())), Phase(frames, drain=int(6 * longest * config.clock_hz))])
    found = []
    end = int(seconds * config.clock_hz)
    for pair, (rate, inbound) in enumerate(cases):
        length = _length(rate)
        passed = sorted(fate.left for fate, owner in zip(result.frames, pair_of, strict=True)
                        if owner == pair and fate.fate > 0 and fate.left <= end)
        found.append(kept(rate, inbound, [(left, length) for left in passed], config.clock_hz, result.wrong))
    return found


def _length(rate: int) -> int:
    """Of the frames for a limit: at the least one, longer ones would be too few."""
    return SHORTEST if rate < 1_000_000 else 1514


def kept(rate: int, inbound: bool, passed: list[tuple[int, int]], clock_hz: float, wrong: int) -> Limit:
    """Whether frames that left at these times, in cycles, are as many as the rate allows, and no fewer."""
    if len(passed) < 2:
        return Limit(rate, inbound, len(passed), 0.0, 0.0, 100.0, wrong)
    time = (passed[-1][0] - passed[0][0]) / clock_hz
    sizes = [8 * (length + gmii.FCS_BYTES) for _, length in passed]
    bits, due = sum(sizes[1:]), rate * time
    error = max(0.0, abs(bits - due) - max(sizes)) / due * 100
    return Limit(rate, inbound, len(passed), time, bits, error, wrong)


@dataclass(frozen=True)
class Vnics:
    """VNICs of one node, each of which sends to the next one, and gets from the one before."""

    vnics: int
    passed: int                     # that sent and got what they should
    wrong: int


def vnics(count: int, rounds: int, progress: Progress, config: CoreConfig | None = None) -> Vnics:
    """All VNICs on one etherstub at once, with the host's own frames in and out.

    Parameters
    ----------
    count : int
        VNICs.
    rounds : int
        Frames that each sends.
    progress : callable
        Is told what is being done.
    config : CoreConfig, optional
    """
    routers = 1 << count.bit_length()       # and one for the etherstub
    config = config or CoreConfig(ports=2, routers=routers, circuits=1 << (2 * count + 1).bit_length(),
                                  fib_words=64 * routers, adjacencies=4 * routers, mac_rows=4 * routers)
    site = _stub(config, count)
    frames = [_between(site, number, (number + 1) % count, SHORTEST, 0)
              for _ in range(rounds) for number in range(count)]
    executable = HARNESS.build(config, macs=True, progress=progress)
    progress(f"{count} VNICs, {len(frames)} frames")
    _, result = run_script(executable, [Phase(requests=Requests().rows(site.writes())), Phase(frames)])
    good = [0] * count
    for serial, fate in enumerate(result.frames):
        if fate.fate > 0:
            good[serial % count] += 1
            good[(serial + 1) % count] += 1
    return Vnics(count, sum(got == 2 * rounds for got in good), result.wrong)


def _mac(number: int) -> int:
    return 0x02_01_00_00_00_00 | number


def _stub(config: CoreConfig, count: int) -> LinkSite:
    """VNICs 0 to ``count - 1`` on an etherstub, whose number is ``count``.

    A VNIC's circuit is twice its number, and one; that of its place at the etherstub is one more.
    """
    site = LinkSite(config, Random(_SEED))
    flood = 2 * count + 1
    for number in range(count):
        mine, theirs = 2 * number + 1, 2 * number + 2
        site.bridge(number, circuits=[mine], flood=mine, own=_mac(number))
        site.direct(mine, number, theirs)
        site.direct(theirs, count, mine, theirs + 2 if number + 1 < count else 0)
    site.bridge(count, circuits=[2 * number + 2 for number in range(count)], flood=flood,
                macs=[(_mac(number), site.link_port, 2 * number + 2) for number in range(count)],
                mac_rows=max(4, 2 << count.bit_length()))
    site.list_of(flood, count, 2)
    return site


def _between(site: LinkSite, source: int, destination: int, length: int, at: int) -> BenchFrame:
    """A frame that a VNIC's user sends to another one's, as the host injects it."""
    octets = ethernet(_mac(destination), _mac(source), _ETHERTYPE, bytes(length - 14))
    tagged = octets[:12] + b"\x81\x00" + (2 * source + 1).to_bytes(2, "big") + octets[12:]
    inject = HostFrame.inject(source, site.link_port, tagged, source=HOST_MAC).to_bytes()
    header = len(inject) - len(tagged)
    return BenchFrame(site.config.wired_ports, at, inject,
                      (Outcome(site.config.wired_ports, octets[:14], header + 18),))
