"""A cable between a host port and the golden model's, which loses, repeats and reorders frames as told."""

import socket
from random import Random

from polyrouter.hdl.config import CoreConfig
from polyrouter.sim.golden import GoldenModel


class Link:
    """A transport whose other end is a golden model, which handles a frame while it is being sent.

    Parameters
    ----------
    model : GoldenModel
        Board at the far end.
    rng : Random
        What happens to a frame.
    loss, repeat, delay : float
        Probabilities, in each direction; a delayed frame is overtaken by the next few.
    """

    def __init__(self, model: GoldenModel, rng: Random | None = None, *, loss: float = 0, repeat: float = 0,
                 delay: float = 0):
        self.model = model
        self.rng = rng or Random(0)
        self.loss, self.repeat, self.delay = loss, repeat, delay
        self.requests: list[bytes] = []
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._late: dict[str, list[tuple[int, bytes]]] = {"down": [], "up": []}

    def send(self, frame: bytes) -> int:
        """To the board."""
        self.requests.append(frame)
        for arrived in self._impair("down", frame):
            for output in self.model.host_receive(arrived):
                if output.port == self.model.config.host_port:
                    self.deliver(output.frame)
        return len(frame)

    def deliver(self, frame: bytes) -> None:
        """To the host."""
        for arrived in self._impair("up", frame):
            self._far.send(arrived)

    def recv(self, size: int) -> bytes:
        """The next frame from the board."""
        return self._near.recv(size)

    def fileno(self) -> int:
        """Of the near end."""
        return self._near.fileno()

    def close(self) -> None:
        """Both ends."""
        self._near.close()
        self._far.close()

    def _impair(self, direction: str, frame: bytes) -> list[bytes]:
        late = self._late[direction]
        copies = 0 if self.rng.random() < self.loss else 2 if self.rng.random() < self.repeat else 1
        arrived = []
        for _ in range(copies):
            if self.rng.random() < self.delay:
                late.append((self.rng.randint(1, 4), frame))
            else:
                arrived.append(frame)
        arrived += [frame for wait, frame in late if wait == 0]
        late[:] = [(wait - 1, frame) for wait, frame in late if wait > 0]
        return arrived


def small_config() -> CoreConfig:
    """A configuration with small tables."""
    return CoreConfig(ports=2, routers=4, fib_words=256, adjacencies=64)
