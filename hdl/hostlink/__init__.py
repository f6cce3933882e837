"""How a host reaches a board that has no port to spare: authenticated frames on a data port, or a UART."""
