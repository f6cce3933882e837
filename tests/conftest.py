"""What all tests share."""

# The plugin of hypothesis imports it when it prints its summary. Python 3.11.2 can fail to compile a module then, if
# much garbage is collected meanwhile (cpython#106905); so it is imported while there is none.
import gc
import os
import subprocess

import hypothesis  # noqa: F401
import pytest

# An elaborated design is millions of objects that stay: looking through them again and again for garbage, as often as
# Python's own thresholds say, takes as long as elaborating it.
gc.set_threshold(100_000, 20, 10)


def _why_no_namespaces() -> str | None:
    """What keeps tests that are marked ``root`` from running on this machine."""
    if os.geteuid() != 0:
        return f"needs root, not user {os.geteuid()}: run the tests as root, for instance with sudo"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    return None if made.returncode == 0 else f"root can't make network namespaces here: {made.stderr.strip()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine can't run, and say why (``-rs``)."""
    marked = [item for item in items if item.get_closest_marker("root")]
    if marked and (why := _why_no_namespaces()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_collection_finish() -> None:
    """What is there now stays to the end: the collector need not look at it."""
    gc.collect()
    gc.freeze()
