"""Whatever changes the bridges' MAC table: learning, ageing, and the control engine."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import MAC_AGES, MAC_ROW
from .mactable_window import PLACES, MacPlace, MacPortSignature, place_of, row_of
from .records import LEARN, TableSignature
from .table import table_addr_bits

__all__ = ["MacUpdate"]


class MacUpdate(wiring.Component):
    """Serves one after the other, on one port of the memory: what reads a row and then writes it is not interrupted.

    Learning takes 8 cycles, ageing a row 3, an access of the control port 1, and it may wait 11; control comes first,
    then ageing. So an address is learned every 10 cycles, whatever the others want.

    Of the four rows where an address may be, the first one that has it is updated, unless it is static or is as it
    should be already. Without one, the first empty row is taken, else the first of the oldest that are not static.
    Rows outside of the window or of the table are neither read nor written.

    Parameters
    ----------
    config : CoreConfig
        ``mac_rows`` is used.

    Attributes
    ----------
    learn : stream of LEARN
    age : stream
        Rows that are to be made one step older.
    table : TableSignature
        Control port.
    port : MacPortSignature
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        addr_bits = table_addr_bits(config.mac_rows)
        super().__init__({
            "learn": In(stream.Signature(LEARN)),
            "age": In(stream.Signature(addr_bits)),
            "table": In(TableSignature(addr_bits, MAC_ROW.size)),
            "port": Out(MacPortSignature(config)),
        })
        # Attributes for the sake of proofs.
        self.busy = Signal()
        self.mac = Signal(LEARN["mac"].width)
        self.learn_port = Signal(LEARN["port"].width)
        self.learn_vid = Signal(LEARN["vid"].width)
        self.place = Signal(MacPlace)
        self.learning = Signal()                # the port is for the address that is to be learned
        self.step = Signal(range(PLACES + 3))
        self.number = Signal(range(PLACES))
        self.addr = Signal(addr_bits)           # of the row to be read
        self.inside = Signal()
        self.delivered = Signal(addr_bits)      # of the row that the memory delivers
        self.reading = Signal()
        self.row = Signal(MAC_ROW)
        self.row_addr = Signal(addr_bits)
        self.row_read = Signal()
        self.known = Signal()                   # a row has the address
        self.known_row = Signal(addr_bits)
        self.vacant = Signal()                  # a row may be taken
        self.vacant_row = Signal(addr_bits)

    def elaborate(self, platform):
        m = Module()
        port, place, row = self.port, self.place, self.row

        done = Signal()                         # with the address to be learned
        request = self.learn.payload
        m.d.comb += self.learn.ready.eq(~self.busy | done)
        with m.If(self.learn.ready):
            m.d.sync += self.busy.eq(self.learn.valid)
            with m.If(self.learn.valid):
                m.d.sync += [
                    self.mac.eq(request.mac),
                    self.learn_port.eq(request.port),
                    self.learn_vid.eq(request.vid),
                    *(place[name].eq(value)
                      for name, value in place_of(request.mac, request.base, request.size).items()),
                ]

        # Row numbers are found a cycle ahead of reading, the memory's output is registered before it is looked at.
        step, number = self.step, self.number
        addr, inside = row_of(self._config, place, number)
        m.d.sync += [
            self.addr.eq(addr), self.inside.eq(inside),
            self.reading.eq(0), self.delivered.eq(self.addr),
            self.row_read.eq(self.reading), self.row_addr.eq(self.delivered), row.eq(port.data),
        ]
        settled = Signal()                      # the row that has the address needs no change
        least_age = Signal.like(row.age)
        start = Signal()                        # of an access of the control port
        m.d.sync += self.table.ack.eq(start)
        m.d.comb += [self.table.r_data.eq(port.data), port.addr.eq(self.table.addr), port.w_data.eq(self.table.w_data)]

        with m.FSM() as states:
            m.d.comb += self.learning.eq(states.ongoing("LEARN"))
            with m.State("IDLE"):
                m.d.sync += [step.eq(0), number.eq(0), self.known.eq(0), self.vacant.eq(0)]
                with m.If(self.table.stb & ~self.table.ack):
                    m.d.comb += [start.eq(1), port.en.eq(1), port.write.eq(self.table.write)]
                with m.Elif(self.age.valid):
                    m.d.comb += [port.en.eq(1), port.addr.eq(self.age.payload)]
                    m.next = "AGE-READ"
                with m.Elif(self.busy):
                    m.d.comb += done.eq(~place.usable)
                    with m.If(place.usable):
                        m.d.sync += number.eq(1)
                        m.next = "LEARN"

            with m.State("AGE-READ"):
                m.next = "AGE-WRITE"
            with m.State("AGE-WRITE"):
                older = Signal(MAC_ROW)
                m.d.comb += [
                    older.eq(row),
                    older.age.eq(row.age - 1),
                    port.addr.eq(self.age.payload),
                    port.w_data.eq(older),
                    port.write.eq(1),
                    port.en.eq((row.age != 0) & ~row.static),
                    self.age.ready.eq(1),
                ]
                m.next = "IDLE"

            # Steps 0 to 3 read, 2 to 5 look at what was read, 6 writes.
            with m.State("LEARN"):
                m.d.sync += step.eq(step + 1)
                with m.If(step < PLACES - 1):
                    m.d.sync += number.eq(number + 1)
                with m.If(step < PLACES):
                    m.d.comb += [port.en.eq(self.inside), port.addr.eq(self.addr)]
                    m.d.sync += self.reading.eq(self.inside)
                with m.If(step == PLACES + 2):
                    m.d.comb += [
                        port.en.eq(Mux(self.known, ~settled, self.vacant)),
                        port.write.eq(1),
                        port.addr.eq(Mux(self.known, self.known_row, self.vacant_row)),
                        port.w_data.mac.eq(self.mac),
                        port.w_data.port.eq(self.learn_port),
                        port.w_data.vid.eq(self.learn_vid),
                        port.w_data.static.eq(0),
                        port.w_data.age.eq(MAC_AGES),
                        done.eq(1),
                    ]
                    m.next = "IDLE"
                with m.If((step >= 2) & self.row_read):
                    with m.If((row.age != 0) & (row.mac == self.mac) & ~self.known):
                        m.d.sync += [
                            self.known.eq(1),
                            self.known_row.eq(self.row_addr),
                            settled.eq(row.static | ((row.port == self.learn_port) & (row.vid == self.learn_vid)
                                                     & (row.age == MAC_AGES))),
                        ]
                    # An empty row has the least age.
                    with m.If(((row.age == 0) | ~row.static) & (~self.vacant | (row.age < least_age))):
                        m.d.sync += [
                            self.vacant.eq(1),
                            self.vacant_row.eq(self.row_addr),
                            least_age.eq(row.age),
                        ]
        return m
