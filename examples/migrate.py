#!/usr/bin/env python3
"""Moves red-west of migrate.yaml to and fro, while its hosts ping, send UDP and keep a TCP transfer open through it.

Says at the end what each of them has noticed, and fails if that is anything. As root, with polyrouter in the PATH:

    examples/migrate.py [MOVES]
"""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".yaml")
ADDRESS = "192.168.2.10"


def polyrouter(*arguments: str) -> Any:
    """What a command says, from its JSON."""
    done = subprocess.run(["polyrouter", *arguments, "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def start(stack: ExitStack, host: str, *command: str) -> "subprocess.Popen[str]":
    """Start a program in a host's namespace; it ends when the stack is left, at the latest."""
    process = subprocess.Popen(["ip", "netns", "exec", f"pr-migrate.red-{host}", *command], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def end(process: "subprocess.Popen[str]") -> str:
    """End it as Ctrl-C does, and return what it said."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=30)[0]


def listening() -> str:
    """Where servers of the second host listen."""
    return subprocess.check_output(["ip", "netns", "exec", "pr-migrate.red-b", "ss", "-ltn"], text=True)


def session() -> tuple[int, str]:
    """How often the neighbour has made its BGP session, and its OSPF neighbour's state."""
    show = ["polyrouter", "exec", "red-core", "--", "vtysh", "-c"]
    bgp, = json.loads(subprocess.check_output([*show, "show bgp neighbor json"])).values()
    ospf = json.loads(subprocess.check_output([*show, "show ip ospf neighbor json"]))["neighbors"]
    return bgp["connectionsEstablished"], next(iter(ospf.values()))[0]["converged"]


def main(moves: int) -> int:
    """Run it; returns the exit code."""
    subprocess.run(["polyrouter", "up", str(FILE)], check=True)
    ping = ["ip", "netns", "exec", "pr-migrate.red-a", "ping", "-q", "-c", "1", "-W", "1", ADDRESS]
    while subprocess.run(ping, stdout=subprocess.DEVNULL).returncode or session()[1] != "Full":
        time.sleep(0.2)
    before = session()
    with ExitStack() as stack:
        servers = [start(stack, "b", "iperf3", "--server", "--one-off", "--json", "--port", port)
                   for port in ("5201", "5202")]
        while not all(f":{port} " in listening() for port in ("5201", "5202")):
            time.sleep(0.1)
        client = ["iperf3", "--json", "--client", ADDRESS, "--time", "3600", "--port"]
        pinging = start(stack, "a", "ping", "-n", "-i", "0.02", ADDRESS)
        udp = start(stack, "a", *client, "5201", "--udp", "--length", "64", "--bitrate", "500k")
        tcp = start(stack, "a", *client, "5202", "--bitrate", "2M")
        time.sleep(1)       # of traffic before the moves, and as much after them
        for move in range(moves):
            node = next(row["node"] for row in polyrouter("ps")["routers"] if row["name"] == "red-west")
            to = "east" if node == "west" else "west"
            freeze = polyrouter("migrate", "red-west", "--to", to)["freeze_ms"]
            print(f"move {move + 1}: on {to}; its routing stack stood still for {freeze:.0f} ms", flush=True)
        time.sleep(1)
        transfer = json.loads(end(tcp))
        end(udp)
        counted = json.loads(servers[0].communicate(timeout=30)[0])["end"]["sum"]
        replies = {int(number) for number in re.findall(r"icmp_seq=(\d+)", end(pinging))}
        unanswered = max(replies) - len(replies)        # what is on its way at the end does not count
    after = session()
    print(f"ping:     {unanswered} of {max(replies)} unanswered")
    print(f"UDP:      {counted['lost_packets']} of {counted['packets']} datagrams lost")
    print(f"TCP:      {transfer['end']['sum_sent']['bytes']:,} bytes, {len(transfer['start']['connected'])} connection")
    print(f"sessions: OSPF {after[1]}, BGP made {after[0]} times, before the moves {before[0]} times")
    fine = not unanswered and not counted["lost_packets"] and after == before
    print("nobody noticed" if fine else "somebody noticed")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
