"""Makes the nonce of a start out of a source of unpredictable bits."""

from math import ceil

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.crc.catalog import CRC64_XZ
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.config import ConfigError

__all__ = ["REPEATED", "SAMPLES", "NonceCollector"]

#: Samples of which a nonce is made: 64 for each of its bits, so that a source with little in a sample will do.
SAMPLES = 4096
#: NIST SP 800-90B, 4.4.1, repetition count test: 1 + 32 / H samples in a row are not the same but once in 2**32 times
#: if a sample has H bits of entropy; here half a bit is asked for.
REPEATED = 65
#: Time between two samples, in ms: long against the period of a ring oscillator, so that its jitter adds up.
_SPACING_MS = 2e-3


class NonceCollector(wiring.Component):
    """Folds :data:`SAMPLES` samples into 64 bits, by the CRC-64 of ECMA-182, which loses none of their entropy.

    They take 8 ms. If :data:`REPEATED` samples in a row are the same, the source is taken to be broken: all begins
    anew, ``ready`` stays low, and ``alarm`` blinks a few times a second until the source is well. A source that shows
    a regular pattern is not found out; that its frequency is unpredictable is for whoever provides it.

    Parameters
    ----------
    clock_hz : float
        Clock of ``sync``, in Hz.
    time_scale : float
        The time between samples is multiplied by it: for simulation. It is a cycle at least.

    Attributes
    ----------
    entropy : Signal, in
        The source, asynchronous.
    nonce : Signal(64), out
        Constant while ``ready`` is high.
    ready : Signal, out
        There is a nonce. It stays high until the next reset.
    alarm : Signal, out
        Blinks while the source is broken.

    Raises
    ------
    ConfigError
        If a parameter is not positive.
    """

    def __init__(self, clock_hz: float, *, time_scale: float = 1) -> None:
        for name, value in ("clock_hz", clock_hz), ("time_scale", time_scale):
            if not value > 0:
                raise ConfigError(f"{name} must be positive, not {value!r}")
        self.spacing = max(1, ceil(_SPACING_MS * 1e-3 * clock_hz * time_scale))
        super().__init__({"entropy": In(1), "nonce": Out(64), "ready": Out(1), "alarm": Out(1)})

    def elaborate(self, platform):
        m = Module()
        bit = Signal()
        m.submodules.synchronizer = FFSynchronizer(self.entropy, bit)
        m.submodules.crc = crc = CRC64_XZ(data_width=1).create()
        timer = Signal(range(self.spacing))
        sample = Signal()
        taken = Signal(range(SAMPLES + 1))
        before = Signal()
        repeated = Signal(range(REPEATED))
        failures = Signal(12)           # of the source; its highest bit blinks: a failure takes 65 samples, 0.13 ms
        m.d.comb += [
            sample.eq((timer == 0) & ~self.ready), crc.data.eq(bit), crc.valid.eq(sample),
            self.nonce.eq(crc.crc), self.ready.eq(taken == SAMPLES), self.alarm.eq(failures[-1] & ~self.ready),
        ]
        m.d.sync += timer.eq(timer + 1)
        with m.If(timer == self.spacing - 1):
            m.d.sync += timer.eq(0)
        with m.If(sample):
            m.d.sync += [taken.eq(taken + 1), before.eq(bit), repeated.eq(0)]
            with m.If(bit == before):
                m.d.sync += repeated.eq(repeated + 1)
                with m.If(repeated == REPEATED - 2):
                    m.d.sync += [taken.eq(0), repeated.eq(0), failures.eq(failures + 1)]
        return m
