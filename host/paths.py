"""Where state, sockets and caches are."""

import os
from pathlib import Path

__all__ = ["cache_dir", "images_dir", "network_dir", "networks_dir", "node_dir", "node_run_dir", "run_dir",
           "saved_networks", "state_dir"]


def state_dir() -> Path:
    """What must survive a restart of the machine."""
    return Path(os.environ.get("POLYROUTER_STATE") or "/var/lib/polyrouter")


def run_dir() -> Path:
    """Sockets and pid files."""
    return Path(os.environ.get("POLYROUTER_RUN") or "/run/polyrouter")


def cache_dir() -> Path:
    """What can be made again."""
    return Path(os.environ.get("POLYROUTER_CACHE") or Path.home() / ".cache" / "polyrouter")


def images_dir() -> Path:
    """Root file systems of container images."""
    return state_dir() / "images"


def networks_dir() -> Path:
    """Saved state of all networks."""
    return state_dir() / "networks"


def saved_networks() -> list[str]:
    """Networks that are up, or half up."""
    return sorted(path.parent.name for path in networks_dir().glob("*/network.db"))


def network_dir(network: str) -> Path:
    """Saved state of a network."""
    return networks_dir() / network


def node_dir(network: str, node: str) -> Path:
    """Saved state of a node's agent."""
    return network_dir(network) / node


def node_run_dir(network: str, node: str) -> Path:
    """Socket and pid files of a node."""
    return run_dir() / network / node
