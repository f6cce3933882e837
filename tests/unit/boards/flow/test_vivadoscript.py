# amaranth: UnusedElaboratable=no
"""The Tcl of a Vivado project, run with stand-ins for Vivado's commands: what it asks for, and when it fails."""

import re
import shutil
import subprocess

import pytest
from polyrouter.boards.devices import XILINX7
from polyrouter.boards.flow.vivado import VivadoFlow
from polyrouter.boards.hostlink import HostLinkKind
from polyrouter.boards.registry import board_named, boards
from polyrouter.boards.xilinx7_top import Xilinx7Top

from ..echo_top import EchoTop

pytestmark = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed: apt-get install tcl")

#: Objects of a design by name, as Vivado finds them; commands that have an effect say that they were called. What is
#: not here does nothing, as Amaranth's own steps.
_VIVADO = r"""
proc unknown args {}
proc matching {names filter} {
    regsub -all {NAME =~ (\S+)} $filter {[string match {\1} $name]} filter
    regsub -all {NAME !~ (\S+)} $filter {![string match {\1} $name]} filter
    set found {}
    foreach name $names { if {[expr $filter]} { lappend found $name } }
    return $found
}
proc get_pins args { return [expr {[lindex $args 0] eq "-hier" ? [matching $::pins [lindex $args end]] : {}}] }
proc get_ports args { return [matching $::ports [lindex $args end]] }
proc get_nets args { return [matching $::nets [lindex $args end]] }
proc get_drc_checks args { return $args }
proc get_clocks args {
    set last [lindex $args end]
    if {[lindex $args 0] ne "-of_objects"} { return [matching [dict values $::clocks] "NAME =~ $last"] }
    set found {}
    foreach pin $last { if {[dict exists $::clocks $pin]} { lappend found [dict get $::clocks $pin] } }
    return $found
}
foreach name {set_max_delay set_input_delay set_property} {
    proc $name args [string map [list NAME $name] { puts [list NAME {*}$args] }]
}
proc get_timing_paths args {
    set found {}
    foreach {option kind} {-setup setup -hold hold} {
        if {$option in $args || "min_max" in $args} { lappend found {*}[dict get $::slacks $kind] }
    }
    return $found
}
proc get_property {name paths} {
    if {$paths eq "error"} { error "no such command" }
    if {![llength $paths]} { error "'get_property' expects at least one object." }
    return $paths
}
proc check_timing args { return "There are $::unclocked register/latch pins with no clock." }
proc write_bitstream args { close [open [lindex $args end] w] }
"""
PORTS = 4


@pytest.fixture(scope="module", params=[board.name for board in boards() if board.device.family == XILINX7])
def project(request, tmp_path_factory):
    board = board_named(request.param)
    flow = VivadoFlow(board, Xilinx7Top(board, EchoTop(board, HostLinkKind.AUTHENTICATED)),
                      tmp_path_factory.mktemp("made"), lambda _: None)
    flow.elaborate()
    return flow.export()


@pytest.fixture
def run(project):
    """Runs the project's script in a design of which some objects are missing; returns its output and its error."""
    constraints = (project / "top.xdc").read_text()
    ports = sorted({name.replace("\\", "") for name in re.findall(r'get_ports "(.*?)"', constraints)})
    clocks = {f"pin of {name}": name for name in re.findall(r"create_clock -name (\S+)", constraints)}
    clocks |= {f"mmcm/mmcm/CLKOUT{number}": f"clock{number}" for number in range(3)}
    assert len(clocks) == 1 + PORTS + 3

    def make(without: str = "nothing", setup: str = "0.5", hold: str = "0.05", unclocked: int = 0) -> tuple[str, str]:
        def there(names) -> str:
            return " ".join(f"{{{name}}}" for name in names if not re.search(without, name))

        (project / "top.bit").write_text("of an earlier run")
        design = [f"set pins {{{there([*clocks, 'led/I'])}}}", f"set ports {{{there(ports)}}}",
                  f"set nets {{{there(['entropy/ring0_0', 'entropy/ring0_1', 'top/leds'])}}}",
                  "set clocks {" + " ".join(f"{{{pin}}} {{{name}}}" for pin, name in clocks.items()
                                            if not re.search(without, name)) + "}",
                  f"set slacks {{setup {{{setup}}} hold {{{hold}}}}}", f"set unclocked {unclocked}"]
        (project / "run.tcl").write_text(_VIVADO + "\n".join(design) + "\nsource top.tcl\n")
        ran = subprocess.run(["tclsh", "run.tcl"], cwd=project, capture_output=True, text=True, check=False)
        assert bool(ran.returncode) == bool(ran.stderr) == (not (project / "top.bit").exists()), ran.stderr
        return ran.stdout, ran.stderr.split("\n    while executing")[0]
    return make


def test_all_crossings_and_all_inputs_are_constrained(run):
    done, error = run()
    assert not error
    groups = ["clock0", "clock1 clock2", *(f"eth_rgmii_{port}__rx_clk__io" for port in range(PORTS))]
    delays = {(one, other) for one in groups for other in groups if one != other}
    crossings = re.findall(r"^set_max_delay -datapath_only -from ({.*?}|\S+) -to ({.*?}|\S+) 8\.0$", done, re.MULTILINE)
    assert {(one.strip("{}"), other.strip("{}")) for one, other in crossings} == delays
    assert len(crossings) == len(delays) == done.count("set_max_delay")
    inputs = re.findall(r"^set_input_delay -clock eth_rgmii_(\d)__rx_clk__io (-clock_fall -add_delay )?"
                        r"(-max 3\.0|-min 1\.0) {(.*)}$", done, re.MULTILINE)
    assert len(inputs) == len({each[:3] for each in inputs}) == 4 * PORTS
    for port, _, _, data in inputs:
        assert data.replace("{", "").replace("}", "").split() == [
            f"eth_rgmii_{port}__rx_ctl__io", *(f"eth_rgmii_{port}__rx_data__io[{bit}]" for bit in range(4))]
    assert "set_property ALLOW_COMBINATORIAL_LOOPS TRUE {entropy/ring0_0 entropy/ring0_1}" in done


@pytest.mark.parametrize("without,said", [
    ("CLKOUT0", "there are 0 pins of the MMCM's output for the core, not at least 1"),
    ("CLKOUT[12]", "there are 0 pins of the MMCM's outputs for the transmitters, not at least 1"),
    ("clock0", "there are 0 clocks of the core, not at least 1"),
    ("clock[12]", "there are 0 clocks of the transmitters, not at least 1"),
    ("__rx_clk__io", "there are 0 clocks of receivers, not at least 4"),
    ("2__rx_clk__io", "there are 3 clocks of receivers, not at least 4"),
    ("2__rx_(data|ctl)", "there are 0 inputs eth_rgmii_2__rx_, not at least 5"),
    ("3__rx_ctl", "there are 4 inputs eth_rgmii_3__rx_, not at least 5"),
    ("ring", "there are 0 nets of ring oscillators, not at least 1"),
])
def test_a_constraint_of_nothing_is_an_error(run, without, said):
    """For Vivado it is a warning, and the design is as if there were no such constraint."""
    assert run(without)[1] == f"{said}: their constraints would be missing"


@pytest.mark.parametrize("slacks,said", [
    (("-0.3", "0.05"), "timing is missed by 0.3 ns (setup): see top_timing.rpt"),
    (("0.1", "-0.2"), "timing is missed by 0.2 ns (hold): see top_timing.rpt"),
    (("-10.0", "-0.2"), "timing is missed by 10.0 ns (setup): see top_timing.rpt"),
    (("", "0.05"), "no path was checked for setup: see top_timing.rpt"),
    (("0.1", ""), "no path was checked for hold: see top_timing.rpt"),
    (("inf", "0.05"), "no path was checked for setup: see top_timing.rpt"),
    (("0.1", "0.05", 3), "a clock has no constraint: see top_timing.rpt"),
])
def test_without_timing_there_is_no_bitstream(run, slacks, said):
    assert run("nothing", *slacks)[1] == said


def test_a_test_that_can_not_be_made_leaves_no_bitstream(run):
    """Vivado's commands are not at hand: if one were used wrongly, the bitstream would be there, not tested."""
    assert run(setup="error")[1] == "no such command"


@pytest.mark.parametrize("slacks", [("0.0", "0.000"), ("12.5", "0.001")])
def test_with_timing_there_is(run, slacks):
    assert run("nothing", *slacks)[1] == ""
