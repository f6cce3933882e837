"""polyrouter schema"""

from .common import print_json

__all__ = ["schema"]


def schema() -> None:
    """Print the JSON schema of topology files, for editors that complete them."""
    from ..topology import TopologyFile

    print_json(TopologyFile.model_json_schema())
