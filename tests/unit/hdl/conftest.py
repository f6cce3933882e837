"""What `make test` leaves to `make nightly`."""

import pytest

#: Widths of a beat that are tried only at night: between the narrowest that is in use and the widest, and below.
NIGHTLY_WIDTHS = (32, 128)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that are there for every width are slow at two of the four."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        shape = parameters.get("shape")
        width = shape.get("data_width") if isinstance(shape, dict) else parameters.get("width")
        if width in NIGHTLY_WIDTHS and not item.get_closest_marker("every_width"):
            item.add_marker(pytest.mark.slow)
