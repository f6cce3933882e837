"""Which frames of a shared wire belong to a router's port."""

from types import SimpleNamespace

import pytest
from polyrouter.host.capture import CaptureError, Filter, capture
from polyrouter.host.spec import PortSpec

OWN, PEER, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
ALL_ROUTERS = "01:00:5e:00:00:05"


def frame(destination: str, source: str) -> bytes:
    return bytes.fromhex((destination + source).replace(":", "")) + b"\x08\x00" + bytes(46)


def port(*, guard: bool) -> PortSpec:
    return PortSpec(port=0, name="eth0", outer="left-v0p0", mac=OWN, addresses=[], mtu=1500, guard=guard, peers=[PEER])


@pytest.mark.parametrize("destination,source,guarded,unguarded", [
    (OWN, PEER, True, True),
    (OWN, OTHER, True, True),
    (PEER, OWN, True, True),
    (ALL_ROUTERS, OWN, True, True),
    (ALL_ROUTERS, PEER, True, True),
    (ALL_ROUTERS, OTHER, False, True),
    (PEER, OTHER, False, False),
])
def test_filter(destination, source, guarded, unguarded):
    seen = frame(destination, source)
    assert Filter.of(port(guard=True)).matches(seen) is guarded
    assert Filter.of(port(guard=False)).matches(seen) is unguarded


def test_a_circuit_has_no_wire_to_listen_at(tmp_path):
    router = SimpleNamespace(name="red-left", ports=[port(guard=False).model_copy(update={"port": 2, "circuit": 9})])
    with pytest.raises(CaptureError, match=r"eth0 of red-left is at a circuit, .* use --hardware"):
        capture(None, router, "eth0", tmp_path / "file.pcapng")
