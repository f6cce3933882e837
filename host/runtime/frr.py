"""What FRR finds in a container: which daemons to run, its configuration, and the first process that runs it."""

from collections.abc import Mapping

__all__ = [
    "ALWAYS",
    "CONSOLE",
    "DAEMONS",
    "INIT",
    "INIT_SCRIPT",
    "LOG",
    "READY",
    "RELOAD",
    "daemons_file",
    "with_hostname",
]

#: Daemons that FRR starts in any case.
ALWAYS = frozenset({"zebra", "mgmtd", "staticd"})
#: Daemons that can be chosen.
DAEMONS = frozenset(
    {
        *("babeld", "bfdd", "bgpd", "eigrpd", "fabricd", "isisd", "ldpd", "nhrpd", "ospf6d", "ospfd"),
        *("pathd", "pbrd", "pim6d", "pimd", "ripd", "ripngd", "vrrpd"),
    }
)

LOG = "var/log/frr/frr.log"
CONSOLE = "var/log/frr/console.log"
INIT = ".polyrouter/init"
READY = "run/polyrouter-ready"

# watchfrr runs as a child that the first process waits for, not on its own as frrinit.sh does it: the container then
# ends when FRR's supervisor ends, and nobody takes a container without routing for a healthy one. That all daemons are
# up is read from what watchfrr prints: asking again and again would starve the daemons when many routers start at once.
INIT_SCRIPT = f"""\
#!/bin/bash
# First process of a virtual router: starts FRR, collects ended processes, and stops FRR when told to.
exec </dev/null >>/{CONSOLE} 2>&1
export HOME=/root
log_success_msg() {{ echo "$*"; }}
log_warning_msg() {{ echo "$*"; }}
log_failure_msg() {{ echo "$*"; }}
. /usr/lib/frr/frrcommon.sh
install -d -o "$FRR_USER" -g "$FRR_GROUP" -m 0755 "$V_PATH"
daemon_list daemons

follow() {{
    while read -r line; do
        printf '%s\\n' "$line"
        [[ $line == *"all daemons up"* ]] || continue
        # The configuration is read by the job that starts the daemons; watchfrr is idle when that has ended.
        until status=$("$VTYSH" -d watchfrr -c 'show watchfrr') &&
              [[ $status == *"phase: Idle"* && $status != *"Configuration: yes"* ]]; do
            sleep 0.2
        done
        : >/{READY}
    done
}}
stop() {{
    trap '' TERM INT
    kill "$watchfrr"
    wait "$watchfrr"
    all_stop --reallyall
    exit 0
}}

"$D_PATH"/watchfrr $watchfrr_options $daemons > >(follow) 2>&1 &
watchfrr=$!
trap stop TERM INT
wait "$watchfrr"
echo "watchfrr ended with code $?"
exit 1
"""

# The new text is checked as a whole before anything changes, since frr-reload goes on after a line that is refused.
RELOAD = """\
umask 077
new=/run/polyrouter-frr.conf
cat >"$new" || exit 1
if ! errors=$(vtysh --dryrun --inputfile "$new" 2>&1); then
    printf '%s\\n' "$errors"
    exit 1
fi
/usr/lib/frr/frr-reload.py --reload --stdout --log-level warning "$new" 2>&1 || exit 1
cat "$new" >/etc/frr/frr.conf
rm -f "$new"
"""


def daemons_file(daemons: frozenset[str], options: Mapping[str, str]) -> str:
    """Text of /etc/frr/daemons.

    Parameters
    ----------
    daemons : frozenset of str
        Those of `DAEMONS` to run; those of `ALWAYS` are allowed and change nothing.
    options : mapping
        Further options by daemon.

    Raises
    ------
    ValueError
        If a daemon isn't known, or options are given for one that doesn't run.
    """
    if unknown := daemons - DAEMONS - ALWAYS:
        raise ValueError(f"unknown routing daemon {', '.join(sorted(unknown))}; there are {', '.join(sorted(DAEMONS))}")
    if idle := options.keys() - daemons - ALWAYS:
        raise ValueError(f"options for {', '.join(sorted(idle))}, which does not run")
    lines = ["vtysh_enable=yes", f'frr_global_options="--log file:/{LOG} --log-level informational"']
    lines += [f"{daemon}={'yes' if daemon in daemons else 'no'}" for daemon in sorted(DAEMONS)]
    for daemon in sorted(daemons | ALWAYS):
        address = "::1" if daemon in ("ospf6d", "ripngd", "pim6d") else "127.0.0.1"
        # 90 MB is what FRR's packages give zebra's netlink socket; the kernel caps it at its own maximum.
        own = f"-A {address}" + (" -s 90000000" if daemon == "zebra" else "")
        further = options.get(daemon, "")
        if any(char in further for char in '"`$\\\n'):
            raise ValueError(f"options of {daemon} have a character that a shell would take for its own: {further!r}")
        lines.append(f'{daemon}_options="{own}{" " + further if further else ""}"')
    return "\n".join(lines) + "\n"


def with_hostname(config: str, hostname: str) -> str:
    """The configuration with a `hostname` line, added if it has none: FRR has one and a reload would take it away."""
    lines = config.splitlines()
    if not any(line.startswith("hostname ") for line in lines):
        lines.insert(0, f"hostname {hostname}")
    return "\n".join(lines) + "\n"
