"""Pid files, events and the supervisor of processes."""

import errno
import json
import os
import subprocess
import sys
import threading

import pytest
from polyrouter.host.agent.events import EventLog
from polyrouter.host.agent.pidfile import AlreadyRunning, PidFile, running_pid
from polyrouter.host.agent.supervisor import Supervisor

WAIT = 30


def test_pid_file_is_held_by_one(tmp_path):
    path = tmp_path / "run" / "agent.pid"
    assert running_pid(path) is None
    first = PidFile(path)
    assert running_pid(path) == os.getpid()
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        PidFile(path)
    first.close()
    assert running_pid(path) is None
    PidFile(path).close()


def test_pid_file_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "agent.pid"
    code = ("from pathlib import Path\nfrom polyrouter.host.agent.pidfile import PidFile\n"
            f"held = PidFile(Path({str(path)!r}))\nprint('held', flush=True)\ninput()")
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    assert running_pid(path) == process.pid
    process.kill()
    process.communicate()
    assert running_pid(path) is None


def test_events_go_on_after_a_restart(tmp_path):
    path = tmp_path / "events.jsonl"
    EventLog(path).emit("started", node="left")
    with path.open("a") as file:
        file.write('{"number": 2, "wh')      # the agent was killed while it wrote
    log = EventLog(path)
    log.emit("ended")
    assert [(event["number"], event["what"]) for event in log.since()] == [(1, "started"), (2, "ended")]
    assert [event["what"] for event in log.since(1)] == ["ended"]
    assert json.loads(path.read_text().splitlines()[-1])["what"] == "ended"


def test_a_long_file_of_events_is_shortened(tmp_path):
    path = tmp_path / "events.jsonl"
    EventLog(path).emit("first")
    line = json.dumps({"number": 2, "what": "many", "text": "x" * 2000}) + "\n"
    with path.open("a") as file:
        file.write(line * 5000)
    log = EventLog(path)
    log.emit("last")
    assert len(log.since()) == 4096 and log.since()[-1]["number"] == 3
    assert len(path.read_text().splitlines()) == 4097


def test_a_full_disk_stops_no_events(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")

    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, "no space left")

    log._file = Full()
    log.emit("no room")
    assert [event["what"] for event in log.since()] == ["no room"]


def test_events_can_be_followed(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.emit("one")
    follower = log.follow()
    assert next(follower)["what"] == "one"
    threading.Timer(0.05, lambda: log.emit("two")).start()
    assert next(event for event in follower if event is not None)["what"] == "two"


def test_supervisor_tells_of_ends_once():
    supervisor = Supervisor()
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    ended = threading.Event()
    supervisor.watch("cat", process.pid, ended.set)
    assert not ended.is_set()
    process.communicate()
    assert ended.wait(WAIT)
    supervisor.close()


def test_supervisor_of_what_is_gone_already():
    process = subprocess.Popen(["true"])
    process.wait()
    supervisor, ended = Supervisor(), threading.Event()
    supervisor.watch("gone", process.pid, ended.set)
    assert ended.wait(WAIT)
    nothing = threading.Event()
    supervisor.watch("never there", 0, nothing.set)
    assert nothing.wait(WAIT)
    supervisor.close()


def test_supervisor_forgets():
    supervisor = Supervisor()
    first, second = (subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(2))
    wrong, right = threading.Event(), threading.Event()
    supervisor.watch("first", first.pid, wrong.set)
    supervisor.watch("second", second.pid, right.set)
    supervisor.forget("first")
    first.communicate()
    second.communicate()
    assert right.wait(WAIT)
    assert not wrong.is_set()
    supervisor.close()
