import subprocess

import pytest
from polyrouter.host.runtime import frr


def test_daemons_file_is_shell_that_selects(tmp_path):
    file = tmp_path / "daemons"
    file.write_text(frr.daemons_file(frozenset({"ospfd", "zebra"}), {"zebra": "--asic-offload=notify_on_offload"}))
    show = f'. {file}; echo "$ospfd $bgpd|$zebra_options|$frr_global_options"'
    said = subprocess.run(["sh", "-euc", show], capture_output=True, text=True, check=True).stdout.strip()
    assert said == (
        "yes no|-A 127.0.0.1 -s 90000000 --asic-offload=notify_on_offload|"
        "--log file:/var/log/frr/frr.log --log-level informational"
    )


def test_unknown_daemon():
    with pytest.raises(ValueError, match="unknown routing daemon ospf; there are babeld, bfdd, bgpd"):
        frr.daemons_file(frozenset({"ospf"}), {})


def test_options_of_a_daemon_that_does_not_run():
    with pytest.raises(ValueError, match="options for bgpd, which does not run"):
        frr.daemons_file(frozenset({"ospfd"}), {"bgpd": "-p 0"})


@pytest.mark.parametrize("options", ['"; reboot', "$(reboot)", "`reboot`", "-x\nreboot"])
def test_options_are_not_shell(options):
    with pytest.raises(ValueError, match="a shell would take for its own"):
        frr.daemons_file(frozenset(), {"zebra": options})


def test_hostname_is_added_once():
    assert frr.with_hostname("", "r1") == "hostname r1\n"
    assert frr.with_hostname("router ospf\n", "r1") == "hostname r1\nrouter ospf\n"
    assert frr.with_hostname("hostname x\nrouter ospf", "r1") == "hostname x\nrouter ospf\n"


@pytest.mark.parametrize("script", [frr.INIT_SCRIPT, frr.RELOAD])
def test_scripts_parse(script):
    assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).stderr == ""
