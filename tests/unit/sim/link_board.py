"""A golden model with a link port: two bridges, a VNIC, and a router that tunnels go through."""

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import AdjacencyKind, LinkKind, Reason, RouterMode, TunnelKind
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.link_tables import LinkTables
from polyrouter.sim.tablegen import Route, RouterSetup, adjacency_row, fib_image

from .board import HOST, load, make

CONFIG = CoreConfig(ports=5, circuits=16, routers=4, fib_words=1024, adjacencies=64)
X, HOST_PORT, NONE = CONFIG.link_port, CONFIG.host_port, CONFIG.no_router
#: Bridges, a VNIC, and the router of the underlay.
A, B, VNIC, UNDERLAY = range(4)
VNIC_MAC, STATION, OTHER = 0x0200000002AA, 0x0A0000000001, 0x0A0000000002
EVERYONE = (1 << 48) - 1
LOCAL, REMOTE, SEED = 0xC0000201, 0xC6336407, 0x1234_5678_9ABC_DEF0_0FED_CBA9_8765   # 192.0.2.1, 198.51.100.7

GRE = {"kind": TunnelKind.GRE, "key": 0xA1B2C3D4, "source": LOCAL, "destination": REMOTE, "tos": 0xB8, "ttl": 65}
VXLAN = {**GRE, "kind": TunnelKind.VXLAN, "key": 0x123456}


def direct(router: int, peer: int, following: int = 0) -> dict:
    """A circuit to another one."""
    return {"router": router, "kind": LinkKind.DIRECT, "peer": peer, "next": following}


def tunnel(router: int, headers: dict, following: int = 0, underlay: int = UNDERLAY) -> dict:
    """A circuit into a tunnel."""
    return {"router": router, "kind": LinkKind.TUNNEL, "underlay": underlay, "next": following, "tunnel": headers}


def a_list(router: int, first: int, following: int = 0) -> dict:
    """A circuit to several."""
    return {"router": router, "kind": LinkKind.LIST, "next": first, **({"peer": following} if following else {})}


def bridge(number: int, circuits: list[int], vid: int = 0, **context: int) -> RouterSetup:
    """A bridge on the link port and on the wire of its number, which takes what comes in on its circuits."""
    return RouterSetup(number, {"enable": 1, "mode": RouterMode.BRIDGED, "ports": 1 << X | 1 << number, "learn": 1,
                                "mac_base": number * 16, "mac_size": 16, "ecmp_seed": SEED, **context},
                       own={X: 0x020000000000 | number << 8}, vids={X: vid},
                       circuits={X: []}, segments=[(X, circuit) for circuit in circuits] + [(number, 0)])


def vnic(circuit: int, flood: int = 0) -> RouterSetup:
    """A VNIC: what comes in on its circuit for it, or a group, is for the host; what it floods goes to ``flood``."""
    return RouterSetup(VNIC, {"enable": 1, "mode": RouterMode.BRIDGED, "ports": 1 << X, "group": 1 << X},
                       own={X: VNIC_MAC}, vids={X: flood}, circuits={X: [circuit]}, segments=[(X, circuit)])


def underlay(**context: int) -> RouterSetup:
    """The underlay: 198.51.100.0/24 is behind wire 3, tunnels end at 192.0.2.1; 192.0.2.2 is on circuit 9."""
    return RouterSetup(
        UNDERLAY,
        {"enable": 1, "ports": 1 << X | 1 << UNDERLAY, "tunnels": 1, "fib_size": 256, "adj_size": 8, **context},
        own={X: 0x020000000304, UNDERLAY: 0x020000000303}, circuits={X: [9]}, segments=[(X, 9)],
        adjacencies=[adjacency_row(AdjacencyKind.FORWARD, UNDERLAY, 0x060000000303),
                     adjacency_row(AdjacencyKind.LOCAL),
                     adjacency_row(AdjacencyKind.FORWARD, X, 0x060000000304, vid=9)])


ROUTES = [Route(REMOTE & ~0xFF, 24, 0), Route(LOCAL, 32, 1), Route(LOCAL + 1, 32, 2)]


def board(links: LinkTables, *setups: RouterSetup) -> GoldenModel:
    """A model with these routers and circuits; the underlay comes with its routes."""
    model = make(*setups, config=CONFIG, links=links)
    if any(setup.number == UNDERLAY for setup in setups):
        load(model, fib_image(ROUTES).writes(UNDERLAY))
    return model


def inject(model: GoldenModel, router: int, frame: bytes, port: int = X):
    """What comes out of a frame that the host injects."""
    return model.host_receive(HostFrame.inject(router, port, frame, source=HOST).to_bytes())


def counted(model: GoldenModel) -> dict[tuple[int, int, Reason], int]:
    """All counters."""
    return {(router, port, Reason(reason)): count for (router, port, reason), count in model.counters.items()}
