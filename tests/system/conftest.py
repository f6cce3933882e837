"""What the tests with real containers share: one image for all, and directories of its own for each test."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from polyrouter.host.agent.client import AgentClient
from polyrouter.host.fabric import Fabric, remove_namespace
from polyrouter.host.runtime.criu import Criu, find_criu, install_criu
from polyrouter.host.runtime.image import ImageError, Images
from xdist.remote import Producer

from ..scheduling import GroupScheduling

#: Files that share a board are run by one worker, since two would wait for one build. What takes longest comes first.
GROUPS = {
    "tops": ("test_board_top", "test_board_selftest", "test_board_commands", "test_real_board"),
    "links": ("test_links_examples", "test_links", "test_links_bandwidth", "test_links_peers", "test_link_commands",
              "test_links_many", "test_links_overlay"),
    "boards": ("test_network", "test_multicast", "test_dual_stack", "test_policies_example", "test_live_board",
               "test_live_board_taps", "test_policies", "test_migration"),
}
_GROUP_OF = {file: group for group, files in GROUPS.items() for file in files}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of the groups."""
    order = {file: place for place, file in enumerate(_GROUP_OF)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """Groups as above; each other file is one, as its tests share a network."""
    def group_of(nodeid: str) -> str:
        file = Path(nodeid.split("::")[0]).stem
        return _GROUP_OF.get(file, file)

    return GroupScheduling(config, log, group_of)


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """Interfaces in a namespace of their own."""
    with Fabric(f"t{uuid.uuid4().hex[:10]}") as fabric:
        fabric.ensure_namespace()
        try:
            yield fabric
        finally:
            remove_namespace(fabric.namespace)


@pytest.fixture(scope="session")
def image() -> Path:
    """Directory of the image "default" of this machine, built at the first use."""
    state = Path(os.environ.get("POLYROUTER_STATE", "/var/lib/polyrouter"))
    images = Images(state)
    if not images.exists():
        state.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            images.build()
        except ImageError:
            # Another worker may have been faster; its image is as good.
            if not images.exists():
                raise
    return images.path("default")


@pytest.fixture(scope="session")
def criu() -> Criu:
    """A CRIU that will do on this machine; one is installed if there is none."""
    state = Path(os.environ.get("POLYROUTER_STATE", "/var/lib/polyrouter"))
    found = find_criu(state)
    return found if found is not None and found.problem() is None else install_criu(state)


@pytest.fixture(scope="module")
def directories(image):
    """A state directory that has the image, and a run directory; both must be empty but for that at the end."""
    # Not below pytest's own directory: containers' users may not enter that.
    top = Path(tempfile.mkdtemp(prefix="polyrouter-test-"))
    top.chmod(0o755)
    state, run = top / "state", top / "run"
    (state / "images").mkdir(parents=True)
    (state / "images/default").symlink_to(image)
    run.mkdir()
    yield state, run
    shutil.rmtree(top)


@pytest.fixture
def network() -> str:
    """Name of a network that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def agent(site, monkeypatch) -> Iterator[AgentClient]:
    """Client of the agent of node "left", for modules whose fixture ``site`` is a network with that node."""
    for name in ("POLYROUTER_STATE", "POLYROUTER_RUN"):
        monkeypatch.setenv(name, site.environment[name])
    with AgentClient(site.name, "left") as client:
        yield client
