"""Link objects made, changed and removed by commands, while traffic flows; all of a change is done, or none."""

from collections.abc import Callable, Mapping
from typing import Any

from .errors import NetworkError
from .link_objects import LinkObjectError, Objects, create, delete, said_of_objects, update
from .machine import require_machine
from .network import Network
from .plan import BY_COMMAND, Change, plan
from .see import see
from .settle import Settling
from .spec import NetworkSpec
from .store import NetworkStore
from .topology import Topology
from .topology_document import TopologyError
from .topology_file import document_of, parse

__all__ = ["LinkCommands"]

#: Objects by command, the topology file's data and the topology as it is -> objects by command as they are to be.
_Edit = Callable[[Objects, dict[str, Any], Topology], Objects]


class LinkCommands:
    """Changes of a network's link objects.

    Parameters
    ----------
    network : Network
        Whose.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def create(self, kind: str, name: str, properties: Mapping[str, Any]) -> list[Change]:
        """Make a link object; see :meth:`set`."""
        return self._change(lambda objects, _, now: create(objects, kind, name, properties, now))

    def set(self, kind: str, name: str, properties: Mapping[str, Any]) -> list[Change]:
        """Change properties of a link object.

        Parameters
        ----------
        kind, name : str
            A kind of :data:`.link_objects.KINDS`, and the object's name.
        properties : mapping
            Properties by the names of a topology file, and their new values; None: its default again.

        Returns
        -------
        list of Change
            What was done.

        Raises
        ------
        LinkObjectError
            If what is asked for is not possible; nothing is done then.
        AllocationError
            If it does not fit; nothing is done then.
        NetworkError
            If it could not be made; all is then as it was, or the message says that it is not.
        """
        return self._change(lambda objects, data, now: update(objects, data, kind, name, properties, now))

    def delete(self, kind: str, name: str) -> list[Change]:
        """Remove a link object; see :meth:`set`."""
        return self._change(lambda objects, data, now: delete(objects, data, kind, name, now))

    def _change(self, edit: _Edit) -> list[Change]:
        network = self._network
        now = network.topology()
        with network.alone(), network.store() as store:
            old, unfinished = network.saved(store)
            if unfinished or old is None:
                raise NetworkError(f"the last change of {network.name} did not end: run 'polyrouter up' again first")
            objects, running = network.links()
            text, path = store.get("text"), store.get("file")
            wanted = edit(objects, document_of(text, path).data, now)
            try:
                file = parse(text, path, objects=wanted, running=running, keep_boards=True)
            except TopologyError as error:
                raise LinkObjectError("\n".join(said_of_objects(str(problem)) for problem in error.problems)) from None
            changes, spec, allocation = network.plan(file, BY_COMMAND)
            replaced = [change for change in changes if change.kind == "node" and change.action == "replace"]
            if replaced:
                raise NetworkError(f"the board of {replaced[0].name} would have to be started anew "
                                   f"({replaced[0].why}): run 'polyrouter up {path}'")
            require_machine()
            before = store.get("allocation")
            store.set(attempt=spec.model_dump(), allocation=allocation.model_dump(mode="json"))
            try:
                Settling(network.name, store, network.progress).execute(old, spec, changes, BY_COMMAND)
            except BaseException as error:      # Ctrl-C, too
                self._undo(store, old, spec, before, error)
                raise
            store.set(links=wanted, spec=spec.model_dump(), attempt=None)
        return changes

    def _undo(self, store: NetworkStore, old: NetworkSpec, tried: NetworkSpec, allocation: Any,
              why: BaseException) -> None:
        """Make it what it was.

        Raises
        ------
        NetworkError
            If that fails too; the next ``up`` finds the attempt and repairs what is there.
        """
        network = self._network
        network.progress("undoing it")
        try:
            changes = plan(tried, old, see(network.name, tried))
            Settling(network.name, store, network.progress).execute(tried, old, changes)
        except Exception as error:
            said = str(why) or type(why).__name__
            raise NetworkError(f"{said}; nor could it be undone ({error}): run 'polyrouter up' with the network's "
                               "file, which repairs it") from why
        store.set(attempt=None, allocation=allocation)
