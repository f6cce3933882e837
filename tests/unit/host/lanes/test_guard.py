"""The guard's table, in a real kernel."""

import ctypes
import threading

import pytest
from polyrouter.host.lanes import nft
from polyrouter.host.lanes.guard import Guard, GuardedPort
from pyroute2.netlink.exceptions import NetlinkError

pytestmark = pytest.mark.root

OWN, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"


def alone(function) -> None:
    """Call a function in a network namespace that is gone afterwards."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            assert ctypes.CDLL(None).unshare(0x40000000) == 0
            with nft.open_nft() as socket:
                function(socket)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_sync_makes_the_table_so():
    def work(socket) -> None:
        guard = Guard("g1")
        ports = [GuardedPort(5, frozenset({OWN, OTHER})), GuardedPort(6, frozenset({OTHER}), any_source=True),
                 GuardedPort(7, frozenset({OWN}), all_frames=True, traffic_class=0x10003)]
        assert guard.sync(socket, ports)
        assert not guard.sync(socket, ports)
        assert guard.forged(socket) == {5: 0, 7: 0}
        assert guard.classes(socket) == {7: 0x10003}
        assert len(nft.elements(socket, "g1", "senders")) == len(nft.elements(socket, "g1", "receivers")) == 4
        assert len(nft.elements(socket, "g1", "closed")) == 2
        assert guard.sync(socket, [GuardedPort(7, frozenset({OTHER}), traffic_class=0x10004)])
        assert guard.forged(socket) == {7: 0}
        assert guard.classes(socket) == {7: 0x10004}
        assert list(nft.elements(socket, "g1", "senders")) == [b"\7\0\0\0" + bytes.fromhex("020000000002") + bytes(2)]
        assert guard.remove(socket)
        assert not guard.remove(socket)
        assert (guard.forged(socket), guard.classes(socket)) == ({}, {})

    alone(work)


def test_tables_of_others_are_left_alone():
    def work(socket) -> None:
        one, two = Guard("g1"), Guard("g2")
        one.sync(socket, [GuardedPort(5, frozenset({OWN}))])
        two.sync(socket, [GuardedPort(6, frozenset({OWN}))])
        assert one.forged(socket) == {5: 0}
        one.remove(socket)
        assert nft.tables(socket) == {"g2"}
        assert two.forged(socket) == {6: 0}

    alone(work)


def test_a_transaction_is_done_as_a_whole_or_not_at_all():
    def work(socket) -> None:
        change = nft.Transaction("g1")
        change.add_table()
        change.delete_rule("nowhere", 7)
        with pytest.raises(NetlinkError):
            change.commit(socket)
        assert nft.tables(socket) == set()

    alone(work)
