"""The agent's process, started without its network."""

import os
import subprocess
import sys
import uuid

from polyrouter.host.allocate import fabric_namespace
from polyrouter.host.fabric import namespace_path
from pyroute2 import netns


def test_a_missing_namespace_is_told_and_not_made(tmp_path):
    network = f"t{uuid.uuid4().hex[:10]}"
    environment = os.environ | {"POLYROUTER_STATE": str(tmp_path / "state"), "POLYROUTER_RUN": str(tmp_path / "run")}
    path = namespace_path(fabric_namespace(network))
    try:
        done = subprocess.run([sys.executable, "-m", "polyrouter.host.agent", network, "left"], env=environment,
                              text=True, capture_output=True, timeout=30)
        assert not path.exists()
    finally:
        if path.exists():
            netns.remove(path.name)
    assert done.returncode == 1
    assert done.stderr == (f"there is no network namespace {fabric_namespace(network)}: "
                           "bring the network up with polyrouter up\n")
