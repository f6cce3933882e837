"""What the software lane needs of the kernel, tried out in a network namespace that is gone when this returns."""

import os
from collections.abc import Callable, Iterable

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ..link_spec import VnicSpec
from . import nft
from .guard import Guard, GuardedPort
from .limits import Share, bucket_for, ensure_bucket, ensure_redirect, ensure_shares, qdiscs_of
from .namespaces import in_new_namespace

__all__ = ["FEATURES", "missing_features", "needed_features"]

_ALWAYS = ("veth", "bridge", "nftables for bridges")
_FOR_LIMITS = ("ifb", "tc tbf", "tc ingress, u32 and mirred")
_FOR_SHARES = ("tc htb",)
#: Feature -> what makes it available.
FEATURES = {
    "veth": "modprobe veth (CONFIG_VETH)",
    "bridge": "modprobe bridge (CONFIG_BRIDGE)",
    "ifb": "modprobe ifb (CONFIG_IFB)",
    "tc tbf": "modprobe sch_tbf (CONFIG_NET_SCH_TBF)",
    "tc htb": "modprobe sch_htb (CONFIG_NET_SCH_HTB)",
    "tc ingress, u32 and mirred": "modprobe sch_ingress cls_u32 act_mirred (CONFIG_NET_SCH_INGRESS, "
                                  "CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED)",
    "nftables for bridges": "modprobe nf_tables (CONFIG_NF_TABLES_BRIDGE)",
}


def needed_features(wanted: Iterable[VnicSpec]) -> dict[str, str]:
    """What these VNICs need: feature, and what for."""
    needed: dict[str, str] = {}
    for spec in wanted:
        needed |= dict.fromkeys(_ALWAYS, "all VNICs")
        if spec.max_bw is not None:
            needed |= dict.fromkeys(_FOR_LIMITS, f"max_bw, of {spec.name}")
        if spec.min_bw is not None or spec.priority != "medium":
            needed |= dict.fromkeys(_FOR_SHARES, f"min_bw and priority, of {spec.name}")
    return needed


def missing_features() -> dict[str, str]:
    """What the kernel lacks: by feature, its message. Needs root.

    Raises
    ------
    OSError
        If there can be no network namespace.
    """
    missing: dict[str, str] = {}

    def work() -> None:
        with IPRoute() as route:
            _try_all(route, missing)

    in_new_namespace(work)
    return missing


def _try_all(route: IPRoute, missing: dict[str, str]) -> None:
    def attempt(feature: str, function: Callable[[], object]) -> None:
        try:
            function()
        except NetlinkError as error:
            missing[feature] = os.strerror(error.code)

    def index(name: str) -> int:
        found = route.link_lookup(ifname=name)
        if not found:
            raise NetlinkError(95, "no interface to try it on")
        return found[0]

    def filters() -> None:
        with nft.open_nft() as socket:
            Guard("polyrouter_try").sync(socket, [GuardedPort(1, frozenset({"02:00:00:00:00:01"}), traffic_class=1)])

    bucket = bucket_for(1_000_000, 1500)
    attempt("veth", lambda: route.link("add", ifname="try0", kind="veth", peer={"ifname": "try1"}))
    attempt("bridge", lambda: route.link("add", ifname="try2", kind="bridge", br_mcast_snooping=0))
    attempt("ifb", lambda: route.link("add", ifname="try3", kind="ifb"))
    # The loopback interface takes them as well: what is tried shall not depend on what was found missing.
    attempt("tc tbf", lambda: ensure_bucket(route, index("lo"), bucket, qdiscs_of(route)))
    attempt("tc ingress, u32 and mirred", lambda: ensure_redirect(route, index("lo"), index("lo"), qdiscs_of(route)))
    if "tc tbf" not in missing:
        ensure_bucket(route, index("lo"), None, qdiscs_of(route))
    attempt("tc htb", lambda: ensure_shares(route, index("lo"), 1_000_000, 1500, [Share(3, 0, "low")],
                                            qdiscs_of(route)))
    attempt("nftables for bridges", filters)
