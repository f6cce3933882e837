"""Limits of a VNIC, in both directions, and the queue of a switch's trunk.

What goes to a VNIC waits in a token bucket on its outer end (``tc-tbf``). What comes from it waits in one, too: the
outer end's ingress sends it by way of an interface of kind ``ifb`` that has the bucket, from where it comes back as if
nothing had been. Both are in the fabric, out of the user's reach. A frame counts with its Ethernet header and FCS, as
in the data plane's shapers (``docs/dataplane.md``, "Queues").
"""

from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_NEWQDISC, TC_H_INGRESS, TC_H_ROOT
from pyroute2.netlink.rtnl.tcmsg import tcmsg
from pyroute2.netlink.rtnl.tcmsg.common import calc_xmittime

__all__ = ["INGRESS", "Bucket", "Share", "bucket_for", "clear_root", "ensure_bucket", "ensure_redirect",
           "ensure_shares", "qdiscs_of", "remove_redirect"]

#: Handle of the hook for what an interface receives.
INGRESS = 0xFFFF0000
_HANDLE, _ROOT_CLASS, _REST = 0x10000, 0x10001, 0x10002
#: Handles of the classes' own queues are this and the number of the class.
_LEAVES = 0x100
_FCS, _HEADER = 4, 18
_ETHERNET = 1           # linklayer: the kernel need not guess it from a table
_ETH_P_ALL = 3
#: A bucket holds what comes in so many seconds (as the data plane's policers), a queue what leaves in so many.
_BUCKET_SECONDS, _QUEUE_SECONDS = 0.02, 0.05
_LEAST_BUCKET_FRAMES, _LEAST_QUEUE_FRAMES = 2, 8
#: Of a class of the trunk that nothing was promised: bytes a second.
_LEAST_SHARE = 1000
_PRIORITIES = {"high": 0, "medium": 1, "low": 2}


@dataclass(frozen=True)
class Bucket:
    """A token bucket as the kernel has it: bytes a second, bytes of queue, size in its ticks."""

    rate: int
    limit: int
    ticks: int


def bucket_for(bits: int, mtu: int) -> Bucket:
    """Bucket for so many bits a second. It holds two of the longest frames, or less than its rate would pass."""
    rate, frame = bits // 8, mtu + _HEADER
    size = max(_LEAST_BUCKET_FRAMES * frame, round(rate * _BUCKET_SECONDS))
    limit = max(_LEAST_QUEUE_FRAMES * frame, round(rate * _QUEUE_SECONDS))
    return Bucket(rate, limit, calc_xmittime(rate, size))


def qdiscs_of(route: IPRoute) -> dict[tuple[int, str], Any]:
    """All queueing disciplines by interface index and kind."""
    return {(row["index"], row.get("kind")): row for row in route.get_qdiscs()}


def ensure_bucket(route: IPRoute, index: int, bucket: Bucket | None, have: dict[tuple[int, str], Any]) -> bool:
    """Make the bucket of an interface so, in place; what waits in it stays. None: no limit."""
    present = have.get((index, "tbf"))
    if bucket is None:
        if present is None:
            return False
        clear_root(route, index)
        return True
    if present is not None:
        parameters = present.get("options").get_attr("TCA_TBF_PARMS")
        if bucket == Bucket(parameters["rate"], parameters["limit"], parameters["buffer"]):
            return False
    message = tcmsg()
    message["index"], message["parent"], message["handle"] = index, TC_H_ROOT, _HANDLE
    parameters = {"rate": bucket.rate, "rate_overhead": _FCS, "rate___reserved": _ETHERNET, "limit": bucket.limit,
                  "buffer": bucket.ticks}
    message["attrs"] = [["TCA_KIND", "tbf"], ["TCA_OPTIONS", {"attrs": [["TCA_TBF_PARMS", parameters]]}]]
    message["header"]["type"] = RTM_NEWQDISC
    # Of an existing one with this handle and kind, "replace" changes the parameters only.
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
    route.nlm_request_batch([message])
    return True


def clear_root(route: IPRoute, index: int) -> None:
    """Remove an interface's queueing discipline; it then has what it had in the beginning."""
    route.tc("del", index=index, parent=TC_H_ROOT)


def ensure_redirect(route: IPRoute, index: int, target: int, have: dict[tuple[int, str], Any]) -> bool:
    """Send all that an interface receives by way of another one."""
    if (index, "ingress") not in have:
        route.tc("add", "ingress", index, INGRESS)
    elif target in _redirects(route, index):
        return False
    else:
        route.tc("del-filter", index=index, parent=INGRESS)
    action = {"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": target}
    route.tc("add-filter", "u32", index, parent=INGRESS, prio=1, protocol=_ETH_P_ALL, target=_ROOT_CLASS,
             keys=["0x0/0x0+0"], action=[action])
    return True


def remove_redirect(route: IPRoute, index: int, have: dict[tuple[int, str], Any]) -> bool:
    """Let what an interface receives take the direct way."""
    if (index, "ingress") not in have:
        return False
    route.tc("del", index=index, parent=TC_H_INGRESS, handle=INGRESS, kind="ingress")
    return True


def _redirects(route: IPRoute, index: int) -> set[int]:
    found = set()
    for row in route.get_filters(index=index, parent=INGRESS):
        options = row.get("options")
        actions = options.get_attr("TCA_U32_ACT") if hasattr(options, "get_attr") else None
        if actions:
            parameters = actions.get_attr("TCA_ACT_PRIO_1").get_attr("TCA_ACT_OPTIONS").get_attr("TCA_MIRRED_PARMS")
            found.add(parameters["ifindex"])
    return found


@dataclass(frozen=True)
class Share:
    """A VNIC's part of its switch's trunk.

    Attributes
    ----------
    minor : int
        Number of its class.
    least : int
        Bits a second that it has in any case; 0: nothing is promised.
    priority : str
        low, medium, high: who has more than its least rate first.
    """

    minor: int
    least: int
    priority: str

    @property
    def handle(self) -> int:
        """Of its class."""
        return _HANDLE | self.minor


def ensure_shares(route: IPRoute, index: int, bits: int, mtu: int, shares: list[Share],
                  have: dict[tuple[int, str], Any]) -> bool:
    """Make a trunk's queue so (``tc-htb``): one class for each share, one for all others. No shares: no queue."""
    present = (index, "htb") in have
    if not shares:
        if present:
            clear_root(route, index)
        return present
    changed = not present
    if not present:
        route.tc("add", "htb", index, _HANDLE, default=_REST & 0xFFFF)
    rate, frame = bits // 8, mtu + _HEADER
    wanted = {_ROOT_CLASS: (_HANDLE, rate, rate, 0), _REST: (_ROOT_CLASS, _LEAST_SHARE, rate, _PRIORITIES["medium"])}
    wanted |= {share.handle: (_ROOT_CLASS, max(_LEAST_SHARE, share.least // 8), rate, _PRIORITIES[share.priority])
               for share in shares}
    classes = {}
    for row in route.get_classes(index=index):
        parameters = row.get("options").get_attr("TCA_HTB_PARMS")
        classes[row["handle"]] = parameters["rate"], parameters["ceil"], parameters["prio"]
    leaves = {row["parent"] for row in route.get_qdiscs(index=index) if row.get("kind") == "pfifo"}
    for handle in sorted(set(classes) - set(wanted)):
        route.tc("del-class", index=index, handle=handle)
        changed = True
    for handle, (parent, least, most, priority) in wanted.items():
        inner, found = handle == _ROOT_CLASS, classes.get(handle)
        if found == (least, most, priority) and (inner or handle in leaves):
            continue
        if found is not None and found[2] != priority:
            # The kernel goes by the old one for as long as there are frames in the class.
            route.tc("del-class", index=index, handle=handle)
        route.tc("replace-class", "htb", index, handle, parent=parent, rate=least, ceil=most, prio=priority,
                 burst=_burst(least, frame), cburst=_burst(most, frame), overhead=_FCS, quantum=frame)
        if not inner:
            route.tc("replace", "pfifo", index, (_LEAVES + (handle & 0xFFFF)) << 16, parent=handle,
                     limit=max(_LEAST_QUEUE_FRAMES, round(rate * _QUEUE_SECONDS / frame)))
        changed = True
    return changed


def _burst(rate: int, frame: int) -> int:
    return max(_LEAST_BUCKET_FRAMES * frame, round(rate * _BUCKET_SECONDS / 10))
