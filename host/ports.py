"""Logical ports: a router may be at the link port several times, each time by another circuit.

A port's number has the physical port in its low bits, and above them, at the link port, the circuit; so a port with a
wire is its own number.
"""

__all__ = ["circuit", "logical", "physical", "port_text"]

_PORT_BITS = 4


def logical(port: int, circuit: int) -> int:
    """A circuit at the link port; with circuit 0 a port as a whole."""
    return port | circuit << _PORT_BITS


def physical(port: int) -> int:
    """Port of the board that a logical port is at."""
    return port & (1 << _PORT_BITS) - 1


def circuit(port: int) -> int:
    """Circuit that a logical port is; 0: it is a port with a wire, or the link port as a whole."""
    return port >> _PORT_BITS


def port_text(port: int) -> str:
    """A logical port for people."""
    return f"circuit {circuit(port)}" if circuit(port) else f"port {port}"
