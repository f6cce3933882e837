import pytest
from polyrouter.host.runtime.base import RouterId


def test_names():
    id = RouterId("lab", "node-1", 3)
    assert (str(id), id.container) == ("lab/node-1/3", "lab.node-1.3")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "-a", "a-", "a" * 33, "a b", "a\n"])
def test_names_that_would_leave_their_directory_or_group(name):
    with pytest.raises(ValueError, match="expected 1 to 32 letters"):
        RouterId(name, "n", 0)
    with pytest.raises(ValueError, match="expected 1 to 32 letters"):
        RouterId("n", name, 0)


def test_negative_number():
    with pytest.raises(ValueError, match="negative"):
        RouterId("lab", "n", -1)
