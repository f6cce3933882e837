"""An RGMII as the PHY sees it: what it drives in each cycle of RXC, and what it reads at the edges of TXC."""

from dataclasses import dataclass, field

from polyrouter.boards.rgmii.status import Speed

__all__ = ["Burst", "Edge", "RxCycle", "byte_cycles", "cycles_of_byte", "idle_cycles", "read_bursts", "txc_edges"]

#: Cycles of 125 MHz in a cycle of TXC.
TXC_CYCLES = {Speed.GIGABIT: 1, Speed.HUNDRED: 5, Speed.TEN: 50}


@dataclass(frozen=True)
class RxCycle:
    """Receive pins in a cycle of RXC; the rising edge's value first."""

    rxd: tuple[int, int] = (0, 0)
    rx_ctl: tuple[int, int] = (0, 0)


def cycles_of_byte(speed: Speed) -> int:
    """Cycles of RXC a byte."""
    return 1 if speed == Speed.GIGABIT else 2


def byte_cycles(octet: int, speed: Speed, error: bool = False) -> list[RxCycle]:
    """Cycles of a byte of a frame."""
    control = (1, 1 - error)
    if speed == Speed.GIGABIT:
        return [RxCycle((octet & 15, octet >> 4), control)]
    return [nibble_cycle(nibble, error) for nibble in (octet & 15, octet >> 4)]


def nibble_cycle(nibble: int, error: bool = False) -> RxCycle:
    """Cycle of a nibble of a frame at 10 and 100 Mb/s."""
    return RxCycle((nibble, nibble), (1, 1 - error))


def idle_cycles(count: int, status: int = 0) -> list[RxCycle]:
    """Cycles between frames."""
    return [RxCycle((status, status))] * count


@dataclass(frozen=True)
class Edge:
    """An edge of TXC: when, in half cycles of 125 MHz, and for how long TX_CTL and TXD have been and will be so."""

    time: int
    rising: bool
    txd: int
    tx_ctl: int
    setup: int
    hold: int


def txc_edges(halves: list[tuple[int, int, int]]) -> list[Edge]:
    """Edges of TXC in a recording of (TXC, TXD, TX_CTL), a value for each half cycle of 125 MHz.

    What changes with an edge is new at it: TXC is taken as a little late, as the PHY or the cells make it.
    """
    changes = [time for time in range(1, len(halves)) if halves[time][1:] != halves[time - 1][1:]]
    edges = []
    last_change, upcoming = 0, iter([*changes, len(halves)])
    next_change = next(upcoming)
    for time in range(1, len(halves)):
        while next_change <= time and next_change < len(halves):
            last_change, next_change = next_change, next(upcoming)
        txc, txd, tx_ctl = halves[time]
        if txc != halves[time - 1][0]:
            edges.append(Edge(time, bool(txc), txd, tx_ctl, time - last_change, next_change - time))
    return edges


@dataclass
class Burst:
    """A burst of a frame as the PHY reads it, with the byte times without one before it."""

    gap: float
    octets: bytes = b""
    errors: set[int] = field(default_factory=set)


def read_bursts(edges: list[Edge], speed: Speed) -> list[Burst]:
    """Decode the edges of TXC at one speed, from a rising one on."""
    bursts: list[Burst] = []
    idle = 0
    nibbles: list[int] = []
    in_burst = False
    per_byte = cycles_of_byte(speed)
    for rising, falling in zip(edges[::2], edges[1::2], strict=False):
        assert rising.rising and not falling.rising
        if not rising.tx_ctl:
            assert not falling.tx_ctl, "TX_ER between frames"
            if in_burst:
                assert len(nibbles) % 2 == 0, "half a byte"
                bursts[-1].octets = bytes(
                    low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
                nibbles, in_burst = [], False
            idle += 1
            continue
        if not in_burst:
            bursts.append(Burst(idle / per_byte))
            idle, in_burst = 0, True
        if not falling.tx_ctl:
            bursts[-1].errors.add(len(nibbles) // 2)
        nibbles += [rising.txd, falling.txd] if speed == Speed.GIGABIT else [rising.txd]
    return bursts
