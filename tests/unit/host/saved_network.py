"""A network of links that is saved as up, without agents and interfaces."""

from pathlib import Path

from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.network import Network
from polyrouter.host.topology_file import parse

from .link_text import TEXT

__all__ = ["save"]


def save(directory: Path) -> Network:
    """The network "small" of ``link_text``, in the state directory that the environment names."""
    file = parse(TEXT)
    allocation = allocate(file)
    network = Network("small")
    with network.store() as store:
        store.set(file=str(directory / "net.yaml"), text=TEXT, allocation=allocation.model_dump(mode="json"),
                  spec=network_spec(file, allocation).model_dump(), attempt=None)
    return network
