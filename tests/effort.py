"""How much the property tests do."""

import os

__all__ = ["examples"]


def examples(count: int) -> int:
    """Examples of a property test: ``count`` in ``make nightly``, a third of them in ``make test``."""
    return count if os.environ.get("POLYROUTER_TESTS") == "all" else -(-count // 3)
