"""Parameters of the core are checked, and the message says which one and what is allowed."""

import pytest
from polyrouter.hdl.config import (
    MAX_FRAME_JUMBO,
    ConfigError,
    CoreConfig,
    power_of_two_at_least,
    power_of_two_at_most,
)


def test_defaults():
    config = CoreConfig()
    assert (config.ports, config.routers, config.data_width) == (4, 8, 64)
    assert config.host_port == 4 and config.all_ports == 5 and config.no_router == 8
    assert config.vmac_slots == 128 and config.vmac_index_bits == 5
    assert (config.filter_rules, config.filter_banks, config.policers, config.mac_rows) == (64, 1, 16, 1024)
    assert (config.circuits, config.wired_ports, config.link_port) == (0, 4, None)
    assert config.cells == 1024 and config.beat_bytes == 8
    config.check_line_rate()


@pytest.mark.parametrize("values, message", [
    ({"ports": 0}, "ports must be 1 to 8, not 0"),
    ({"ports": 9}, "ports must be 1 to 8, not 9"),
    ({"ports": 4.0}, "ports must be an integer, not 4.0"),
    ({"ports": True}, "ports must be an integer, not True"),
    ({"routers": 0}, "routers must be 1 to 1024, not 0"),
    ({"routers": 1025}, "routers must be 1 to 1024, not 1025"),
    ({"data_width": 48}, "data_width must be 32, 64, 128 or 256, not 48"),
    ({"vmac_slots": 100}, "vmac_slots must be a power of two, 16 to 16384, not 100"),
    ({"routers": 64, "vmac_slots": 256},
     "vmac_slots must be at least 8 x routers (512), so that 4 x routers entries are 50 % load, not 256"),
    ({"fib_words": 1 << 21}, "fib_words must be 64 to 1048576, not 2097152"),
    ({"fib_rings": 3}, "fib_rings must be 1 to 2, not 3"),
    ({"vmac_cycles": 3}, "vmac_cycles must be 1 to 2, not 3"),
    ({"slices": 2}, "slices must be 0 to 1, not 2"),
    ({"stage_registers": 2}, "stage_registers must be 0 to 1, not 2"),
    ({"stage_registers": 0, "vmac_cycles": 2},
     "stage_registers 0 takes vmac_cycles 2 and context_words 2 or 4, not 2 and 1"),
    ({"stage_registers": 0, "context_words": 4},
     "stage_registers 0 takes vmac_cycles 2 and context_words 2 or 4, not 1 and 4"),
    ({"hash_cycles": 6}, "hash_cycles must be 4 or 12, not 6"),
    ({"access_bits": 32}, "access_bits must be 16 or 64, not 32"),
    ({"record_rows": 32}, "record_rows must be 16 or 64, not 32"),
    ({"context_words": 3}, "context_words must be a power of two, 1 to 4, not 3"),
    ({"headers": 32}, "headers must be a power of two, 4 to 16, not 32"),
    ({"adjacencies": 3}, "adjacencies must be 4 to 262144, not 3"),
    ({"cell_bytes": 48}, "cell_bytes must be a power of two, 32 to 512, not 48"),
    ({"buffer_bytes": 10001}, "buffer_bytes must be a multiple of cell_bytes (64), not 10001"),
    ({"buffer_bytes": 2048}, "buffer_bytes must be at least two frames of max_frame (3044) and at most 16777216, "
                             "not 2048"),
    ({"queue_frames": 3}, "queue_frames must be a power of two, 4 to 1024, not 3"),
    ({"ingress_bytes": 2048}, "ingress_bytes must be a power of two, 3108 to 1048576, not 2048"),
    ({"max_frame": 1500}, "max_frame must be 1518 to 9018, not 1500"),
    ({"filter_rules": 2049}, "filter_rules must be 0 to 2048, not 2049"),
    ({"filter_banks": 3}, "filter_banks must be a power of two, 1 to 8, not 3"),
    ({"filter_banks": 16}, "filter_banks must be a power of two, 1 to 8, not 16"),
    ({"policers": 4096}, "policers must be 1 to 4095, not 4096"),
    ({"mac_rows": 1000}, "mac_rows must be a power of two, 16 to 262144, not 1000"),
    ({"mac_rows": 8}, "mac_rows must be a power of two, 16 to 262144, not 8"),
    ({"circuits": 1000}, "circuits must be a power of two, 16 to 4096, not 1000"),
    ({"circuits": 8}, "circuits must be a power of two, 16 to 4096, not 8"),
    ({"circuits": 8192}, "circuits must be a power of two, 16 to 4096, not 8192"),
    ({"circuits": -16}, "circuits must be a power of two, 16 to 4096, not -16"),
    ({"circuits": 16, "ports": 1}, "ports must be 2 to 8, not 1"),
    ({"clock_hz": 0}, "clock_hz must be positive, not 0"),
])
def test_out_of_range(values, message):
    with pytest.raises(ConfigError) as caught:
        CoreConfig(**values)
    assert str(caught.value) == message


def test_line_rate():
    with pytest.raises(ConfigError, match="carries 4 Gb/s, less than 8 ports of 1 Gb/s: use a wider data_width or a "
                                          "faster clock"):
        CoreConfig(ports=8, clock_hz=62.5e6).check_line_rate()
    CoreConfig(ports=8, data_width=128, clock_hz=75e6).check_line_rate()


def test_line_rate_of_headers():
    """Four ports leave 10.5 cycles of 16 ns for each of the shortest frames."""
    CoreConfig(clock_hz=62.5e6).check_line_rate()
    CoreConfig(clock_hz=62.5e6, vmac_cycles=2).check_line_rate()
    with pytest.raises(ConfigError) as caught:
        CoreConfig(clock_hz=62.5e6, vmac_cycles=2, slices=0).check_line_rate()
    assert str(caught.value) == ("a header every 11 cycles at 62.5 MHz is 5.68 million frames a second, less than "
                                 "4 ports of 1 Gb/s: use vmac_cycles 1, slices 1 or a faster clock")
    CoreConfig(clock_hz=66e6, vmac_cycles=2, slices=0).check_line_rate()


def test_rate_of_one_port():
    CoreConfig(ports=8, data_width=32, clock_hz=32e6).check_port_rate()
    with pytest.raises(ConfigError) as caught:
        CoreConfig(ports=1, data_width=32, clock_hz=31.25e6).check_port_rate()
    assert str(caught.value) == ("data_width 32 at 31.25 MHz carries 1 Gb/s, less than a port of 1 Gb/s delivers: use "
                                 "a wider data_width or a faster clock")


def test_line_rate_of_the_fib():
    """An IPv4 packet takes ten cycles of a ring, and on one port the shortest frame 672 ns."""
    CoreConfig(ports=4, data_width=128, clock_hz=60e6, fib_rings=1).check_line_rate()
    with pytest.raises(ConfigError) as caught:
        CoreConfig(ports=4, data_width=128, clock_hz=59e6, fib_rings=1).check_line_rate()
    assert str(caught.value) == ("fib_rings 1 at 59 MHz look up 5.90 million IPv4 packets a second, less than 4 ports "
                                 "of 1 Gb/s: use fib_rings 2 or a faster clock")
    CoreConfig(ports=4, data_width=128, clock_hz=59e6).check_line_rate()


def test_link_port():
    """The last data port, without a wire that would count for the line rate."""
    config = CoreConfig(ports=5, circuits=64, clock_hz=62.5e6)
    assert (config.link_port, config.host_port, config.wired_ports, config.all_ports) == (4, 5, 4, 6)
    assert config.termination_index_bits == 4
    config.check_line_rate()
    with pytest.raises(ConfigError, match="carries 4 Gb/s, less than 5 ports"):
        CoreConfig(ports=6, circuits=64, clock_hz=62.5e6).check_line_rate()


def test_extremes():
    config = CoreConfig(ports=8, routers=1024, data_width=256, max_frame=MAX_FRAME_JUMBO)
    assert config.vmac_slots == 16384 and config.vmac_index_bits == 12
    assert config.ingress_bytes == 32768
    assert config.policers == 2048
    assert CoreConfig(filter_rules=0).filter_rules == CoreConfig(mac_rows=0).mac_rows == 0


def test_powers_of_two():
    powers = [1 << k for k in range(12)]
    for n in range(1, 2048):
        assert power_of_two_at_least(n) == min(power for power in powers if power >= n)
        assert power_of_two_at_most(n) == max(power for power in powers if power <= n)
    assert power_of_two_at_most(0) == 0
