"""Looks addresses up in the bridges' MAC table."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import MAC_ROW
from .mactable_window import PLACES, MacPlace, MacPortSignature, place_of, row_of
from .records import META

__all__ = ["MAC_FOUND", "MAC_SEARCH", "MacSearch"]

#: What is looked for.
MAC_SEARCH = data.StructLayout({
    "walk": 1,              # if not set, nothing is read and nothing found
    "base": META["mac_base"].width,
    "size": META["mac_size"].width,
    "mac": META["dmac"].width,
})
#: The entry that was found; ``port`` and ``vid`` are zero unless ``hit``.
MAC_FOUND = data.StructLayout({"hit": 1, "port": META["mac_port"].width, "vid": META["mac_vid"].width})


class MacSearch(wiring.Component):
    """Reads the four rows where an address may be; the first one that has it counts. Outcomes come in order.

    A look-up takes 8 cycles, whatever it finds, and the next one begins 7 cycles after it; without a ``walk`` or with
    a window that is none, 2 cycles and one. Rows outside of the window or of the table are not read.

    Parameters
    ----------
    config : CoreConfig
        ``mac_rows`` is used.

    Attributes
    ----------
    i : stream of MAC_SEARCH
    o : stream of MAC_FOUND
    port : MacPortSignature
        It never writes.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(MAC_SEARCH)),
            "o": Out(stream.Signature(MAC_FOUND)),
            "port": Out(MacPortSignature(config)),
        })
        # Steps: 0 idle; 1 to 4 row numbers, each read in the step behind; the memory's output is registered, and
        # compared in the step after that. Attributes for the sake of proofs.
        self.last = PLACES + 3
        self.step = Signal(range(self.last + 1))
        self.mac = Signal(MAC_SEARCH["mac"].width)
        self.place = Signal(MacPlace)
        self.number = Signal(range(PLACES))
        self.inside = Signal()                  # the row that ``port.addr`` says is in the table
        self.reading = Signal()                 # what the memory delivers in this cycle was read for this look-up
        self.row = Signal(MAC_ROW)
        self.row_read = Signal()
        self.found = Signal()
        self.found_port = Signal(MAC_FOUND["port"].width)
        self.found_vid = Signal(MAC_FOUND["vid"].width)

    def elaborate(self, platform):
        m = Module()
        step, place, number, row, last = self.step, self.place, self.number, self.row, self.last
        leave = Signal()
        none = Signal()                         # there is nothing to read
        final = Signal()
        m.d.comb += [
            none.eq((step == 1) & ~place.usable),
            final.eq(none | (step == last)),
            leave.eq(final & (~self.o.valid | self.o.ready)),
            self.i.ready.eq((step == 0) | leave),
        ]
        with m.If(self.i.ready):
            m.d.sync += step.eq(0)
            with m.If(self.i.valid):
                request = self.i.payload
                fields = place_of(request.mac, request.base, request.size)
                m.d.sync += [
                    step.eq(1),
                    self.mac.eq(request.mac),
                    *(place[name].eq(value) for name, value in fields.items()),
                    place.usable.eq(request.walk & fields["usable"]),
                    number.eq(0),
                    self.found.eq(0),
                    self.found_port.eq(0),
                    self.found_vid.eq(0),
                ]
        with m.Elif(~final):
            m.d.sync += [step.eq(step + 1), number.eq(number + 1)]

        addr, inside = row_of(self._config, place, number)
        m.d.sync += [
            self.port.addr.eq(addr),
            self.inside.eq(inside),
            self.reading.eq(self.port.en),
            row.eq(self.port.data),
            self.row_read.eq(self.reading),
        ]
        m.d.comb += self.port.en.eq((step >= 2) & (step < 2 + PLACES) & self.inside)

        match = Signal()
        m.d.comb += match.eq((step >= 4) & self.row_read & (row.age != 0) & (row.mac == self.mac))
        found = self.found | match
        found_port = Mux(match & ~self.found, row.port, self.found_port)
        found_vid = Mux(match & ~self.found, row.vid, self.found_vid)
        with m.If(step >= 4), m.If(~self.i.ready):
            m.d.sync += [self.found.eq(found), self.found_port.eq(found_port), self.found_vid.eq(found_vid)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(leave):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.hit.eq(found),
                self.o.payload.port.eq(found_port),
                self.o.payload.vid.eq(found_vid),
            ]
        return m
