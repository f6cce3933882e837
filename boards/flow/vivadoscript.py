"""The Tcl that a board adds to Amaranth's script for Vivado: constraints that need derived clocks, and timing's test.

For Vivado, a constraint of objects that it doesn't find is a warning, and timing that is missed is one too. Here they
end the script with an error, without a bitstream.
"""

from ..toplevel import ETH_HZ

__all__ = ["AFTER_BITSTREAM", "FIRST", "after_synthesis"]

#: RGMII 2.0, table 2, of a PHY that delays RXC: the data are there for so long before and after each edge of it, in ns.
_SETUP_NS = _HOLD_NS = 1.0
_HALF_NS = 1e9 / ETH_HZ / 2
#: RX_CTL and RXD of a port.
_INPUTS = 5

#: Before all else: no bitstream of an earlier run is left if this one fails.
FIRST = "file delete top.bit top.bin\n"

#: After synthesis, when the clocks that Vivado has derived are there. No two clocks have a phase to each other but
#: those of the transmitters: all crossings are FIFOs and synchronizers, which want a delay of less than a cycle.
_AFTER_SYNTHESIS = """
proc polyrouter_found {{count what objects}} {{
    if {{[llength $objects] < $count}} {{
        error "there are [llength $objects] $what, not at least $count: their constraints would be missing"
    }}
    return $objects
}}
set polyrouter_core [polyrouter_found 1 "pins of the MMCM's output for the core" \\
    [get_pins -hier -filter {{NAME =~ *mmcm/CLKOUT0}}]]
set polyrouter_eth [polyrouter_found 1 "pins of the MMCM's outputs for the transmitters" \\
    [get_pins -hier -filter {{NAME =~ *mmcm/CLKOUT1 || NAME =~ *mmcm/CLKOUT2}}]]
set polyrouter_rxcs [polyrouter_found {ports} "clocks of receivers" [get_clocks *rx_clk*]]
set polyrouter_groups [list \\
    [polyrouter_found 1 "clocks of the core" [get_clocks -of_objects $polyrouter_core]] \\
    [polyrouter_found 1 "clocks of the transmitters" [get_clocks -of_objects $polyrouter_eth]]]
foreach clock $polyrouter_rxcs {{ lappend polyrouter_groups $clock }}
foreach from $polyrouter_groups {{
    foreach to $polyrouter_groups {{
        if {{$from ne $to}} {{ set_max_delay -datapath_only -from $from -to $to {period} }}
    }}
}}
foreach clock $polyrouter_rxcs {{
    regsub {{rx_clk.*}} $clock {{rx_}} prefix
    set data [polyrouter_found {inputs} "inputs $prefix" \\
        [get_ports -filter "NAME =~ $prefix* && NAME !~ *rx_clk*"]]
    set_input_delay -clock $clock -max {latest} $data
    set_input_delay -clock $clock -min {earliest} $data
    set_input_delay -clock $clock -clock_fall -add_delay -max {latest} $data
    set_input_delay -clock $clock -clock_fall -add_delay -min {earliest} $data
}}
"""
_RINGS = """set_property ALLOW_COMBINATORIAL_LOOPS TRUE [polyrouter_found 1 "nets of ring oscillators" \\
    [get_nets -hier -filter {NAME =~ *entropy*ring*}]]
set_property SEVERITY {Warning} [get_drc_checks LUTLP-1]
"""

#: There are platforms that have steps of their own ahead of the bitstream, so it is there already. The worst path of
#: each kind is taken by itself: those of several are a list, which is no number to compare.
AFTER_BITSTREAM = """
proc polyrouter_check {} {
    foreach kind {setup hold} {
        set paths [get_timing_paths -$kind -max_paths 1]
        set slack ""
        if {[llength $paths]} { set slack [get_property SLACK [lindex $paths 0]] }
        if {![regexp {^-?[0-9.]+$} $slack]} { error "no path was checked for $kind: see top_timing.rpt" }
        if {$slack < 0} { error "timing is missed by [expr {-$slack}] ns ($kind): see top_timing.rpt" }
    }
    if {![regexp {There are 0 register/latch pins with no clock} \\
            [check_timing -override_defaults no_clock -return_string]]} {
        error "a clock has no constraint: see top_timing.rpt"
    }
}
if {[catch polyrouter_check why]} {
    file delete top.bit top.bin
    error $why
}
"""


def after_synthesis(ports: int, *, rings: bool) -> str:
    """Clock crossings, the receivers' inputs, and the loops that are meant to be there.

    Parameters
    ----------
    ports : int
        RGMIIs of the board.
    rings : bool
        There are ring oscillators.
    """
    return _AFTER_SYNTHESIS.format(ports=ports, inputs=_INPUTS, period=2 * _HALF_NS, latest=_HALF_NS - _SETUP_NS,
                                   earliest=_HOLD_NS) + (_RINGS if rings else "")
