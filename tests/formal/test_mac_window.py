"""The MAC table of the bridges, whatever it holds: no router's frames read or change a row outside its window."""

from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Module, Mux, Signal, Value
from polyrouter.hdl.layouts import MAC_AGES, MAC_ROW
from polyrouter.hdl.mactable_search import MacSearch
from polyrouter.hdl.mactable_update import MacUpdate
from polyrouter.hdl.mactable_window import PLACES

from .contract import StreamContract
from .runner import AnySeq, cover, prove
from .small import small_config

CONFIG = small_config(mac_rows=16)


def drive(m: Module, value) -> None:
    """Let the solver choose an input."""
    value = Value.cast(value)
    m.d.comb += value.eq(AnySeq(len(value)))


class Request:
    """The request that was taken last, and what the specification says of it, in words of its own."""

    def __init__(self, m: Module, stream):
        self.now = now = Signal(stream.payload.shape())
        with m.If(stream.valid & stream.ready):
            m.d.sync += now.eq(stream.payload)
        #: The window is one.
        self.usable = Signal()
        m.d.comb += self.usable.eq(Cat(now.size == 1 << k for k in range(2, len(now.size))).any())
        #: ``h``
        self.offset = Signal(len(now.base))
        m.d.comb += self.offset.eq((now.mac ^ now.mac >> 16 ^ now.mac >> 32) & (now.size - 1)[:len(now.size)])
        #: Rows where the address may be, without wrapping, and whether the table has them.
        self.rows = Array(Signal(len(now.base) + 1, name=f"row{j}") for j in range(PLACES))
        self.exists = Array(Signal(name=f"exists{j}") for j in range(PLACES))
        for j, (row, exists) in enumerate(zip(self.rows, self.exists, strict=True)):
            m.d.comb += [row.eq(now.base + (self.offset ^ j)), exists.eq(row < CONFIG.mac_rows)]

    def window_has(self, row: Value) -> Value:
        """A row of the table is in the window."""
        return (row >= self.now.base) & (row < self.now.base + self.now.size) & (row < CONFIG.mac_rows)

    def placed(self, dut) -> Value:
        """What the component keeps of the request agrees with it."""
        return (dut.mac == self.now.mac) & (dut.place.base == self.now.base) & (dut.place.offset == self.offset)


def search_harness() -> Module:
    """A search in a table of which only the four rows where the address may be hold still.

    The right outcome is worked out from these four alone. All other rows, and everything between two searches, are what
    the solver likes, anew in each cycle: whatever they hold, the outcome is the same.
    """
    m = Module()
    m.submodules.dut = dut = MacSearch(CONFIG)
    m.submodules.contract = StreamContract(dut.o)
    for signal in (dut.i.valid, dut.i.payload, dut.o.ready, dut.port.data):
        drive(m, signal)
    request = Request(m, dut.i)
    walking = Signal()
    m.d.comb += walking.eq(request.usable & request.now.walk)
    content = Array(Signal(MAC_ROW, name=f"content{j}") for j in range(PLACES))
    with m.If(dut.i.valid & dut.i.ready):
        m.d.sync += [Value.cast(row).eq(AnySeq(MAC_ROW.size)) for row in content]

    # Every read is of one of these rows, and delivers it in the cycle after.
    step = dut.step
    number = Signal(range(PLACES))
    m.d.comb += [number.eq(step - 2), Assert(~dut.port.write)]
    with m.If(dut.port.en):
        m.d.comb += [
            Assert(walking),
            Assert(request.window_has(dut.port.addr)),
            Assert(dut.port.addr == request.rows[number]),
            Cover(dut.port.addr == CONFIG.mac_rows - 1),
        ]
    was_read, last_number = Signal(), Signal.like(number)
    m.d.sync += [was_read.eq(dut.port.en), last_number.eq(number)]
    with m.If(was_read):
        m.d.comb += Assume(Value.cast(dut.port.data) == Value.cast(content[last_number]))

    # The outcome, as the first rows give it.
    outcomes = [Signal(dut.o.payload.shape(), name=f"outcome{count}") for count in range(PLACES + 1)]
    for j, row in enumerate(content):
        match = request.exists[j] & (row.age != 0) & (row.mac == request.now.mac)
        m.d.comb += outcomes[j + 1].eq(outcomes[j])
        with m.If(match & ~outcomes[j].hit):
            m.d.comb += [
                outcomes[j + 1].hit.eq(1), outcomes[j + 1].port.eq(row.port), outcomes[j + 1].vid.eq(row.vid)]
    expected = Signal.like(dut.o.payload)
    with m.If((step != 0) & dut.i.ready):
        m.d.sync += expected.eq(Mux(walking, outcomes[-1], 0))
    with m.If(dut.o.valid):
        m.d.comb += [
            Assert(dut.o.payload == expected),
            Cover(dut.o.payload.hit & (dut.o.payload.port == 5) & (dut.o.payload.vid == 7)),
        ]

    # What makes it inductive: what is known at each step.
    found = Cat(dut.found, dut.found_port, dut.found_vid)
    m.d.comb += Assert(step <= dut.last)
    with m.If(step != 0):
        m.d.comb += [Assert(request.placed(dut)), Assert(dut.place.usable == walking)]
    with m.If(step >= 2):
        m.d.comb += Assert(walking)
    m.d.comb += [Assert(was_read == dut.reading), Assert(~was_read | ((step >= 3) & (step <= 6)))]
    for k in range(1, dut.last + 1):
        with m.If(step == k):
            if k <= PLACES:
                m.d.comb += [Assert(dut.number == k - 1), Assert(found == 0)]
            if 2 <= k < 2 + PLACES:
                m.d.comb += [
                    Assert(dut.inside == request.exists[k - 2]),
                    Assert(dut.port.addr == request.rows[k - 2][:len(dut.port.addr)]),
                ]
            if 3 <= k < 3 + PLACES:
                m.d.comb += [Assert(dut.reading == request.exists[k - 3]), Assert(~was_read | (last_number == k - 3))]
            if k >= 4:
                now = ((dut.row_read == request.exists[k - 4]) & (found == Value.cast(outcomes[k - 4]))
                       & (~dut.row_read | (Value.cast(dut.row) == Value.cast(content[k - 4]))))
                # An outcome that could not leave at once.
                waiting = ~dut.row_read & (found == Value.cast(outcomes[PLACES]))
                m.d.comb += Assert(now | waiting if k == dut.last else now)
    return m


def test_an_outcome_depends_on_the_window_alone(tmp_path):
    prove(search_harness(), tmp_path, depth=3)


def test_searches_end(tmp_path):
    cover(search_harness(), tmp_path, depth=10)


def update_harness() -> Module:
    """Learning, ageing and control at will, and a memory that delivers anything."""
    m = Module()
    m.submodules.dut = dut = MacUpdate(CONFIG)
    m.submodules.rule = StreamContract(dut.age, assume=True)
    for signal in (dut.learn.valid, dut.learn.payload, dut.age.valid, dut.age.payload, dut.table.stb, dut.table.write,
                   dut.table.addr, dut.table.w_data, dut.port.data):
        drive(m, signal)
    request = Request(m, dut.learn)
    port, now = dut.port, request.now

    # What the port did in the last two cycles.
    en1, en2, addr1, addr2 = Signal(), Signal(), Signal.like(port.addr), Signal.like(port.addr)
    data1 = Signal(MAC_ROW)
    m.d.sync += [en1.eq(port.en & ~port.write), en2.eq(en1), addr1.eq(port.addr), addr2.eq(addr1), data1.eq(port.data)]

    changed = Signal(MAC_ROW)
    m.d.comb += [changed.eq(data1), changed.age.eq(data1.age - 1)]
    with m.If(port.en):
        with m.If(dut.learning):
            m.d.comb += [Assert(dut.busy & request.usable), Assert(request.window_has(port.addr))]
            with m.If(port.write):
                m.d.comb += [
                    Assert(Cat(port.addr == row for row in request.rows).any()),
                    Assert(port.w_data.mac == now.mac),
                    Assert((port.w_data.port == now.port) & (port.w_data.vid == now.vid)),
                    Assert((port.w_data.age == MAC_AGES) & ~port.w_data.static),
                    Cover(port.addr == CONFIG.mac_rows - 1),
                ]
        with m.Elif(port.write & dut.age.ready):
            # It is the row that was read just before, but for its age.
            m.d.comb += [
                Assert(dut.age.valid & (port.addr == dut.age.payload)),
                Assert(en2 & ~en1 & (addr2 == port.addr)),
                Assert((Value.cast(port.w_data) == Value.cast(changed)) & (data1.age != 0) & ~data1.static),
                Cover(data1.age == 1),
            ]
        with m.Elif(port.write):
            m.d.comb += [
                Assert(dut.table.stb & dut.table.write & (port.addr == dut.table.addr)),
                Assert(Value.cast(port.w_data) == dut.table.w_data),
            ]

    # What makes it inductive.
    step = dut.step
    with m.If(dut.busy):
        m.d.comb += [
            Assert(request.placed(dut)), Assert(dut.learn_port == now.port), Assert(dut.learn_vid == now.vid),
            Assert(dut.place.usable == request.usable),
        ]
    with m.If(~dut.learning):
        m.d.comb += [Assert(~dut.reading), Assert(~dut.row_read), Assert(dut.number == 0),
                     Assert(~dut.age.ready | (en2 & ~en1)),
                     Assert(~dut.age.ready | (Value.cast(dut.row) == Value.cast(data1)))]
    with m.Else():
        m.d.comb += [
            Assert(dut.busy & request.usable),
            Assert(step <= PLACES + 2),
            Assert((step < PLACES) | (dut.number == 0)),
            Assert(dut.reading == (((step >= 1) & (step <= PLACES)) & request.exists[(step - 1)[:2]])),
            Assert(dut.row_read == (((step >= 2) & (step <= PLACES + 1)) & request.exists[(step - 2)[:2]])),
        ]
        for k in range(PLACES):
            with m.If(step == k):
                m.d.comb += [
                    Assert(dut.inside == request.exists[k]),
                    Assert(dut.addr == request.rows[k][:len(dut.addr)]),
                    Assert(dut.number == (k + 1) % PLACES),
                ]
            with m.If(step == k + 1):
                m.d.comb += Assert(dut.delivered == request.rows[k][:len(dut.addr)])
            with m.If(step == k + 2):
                m.d.comb += Assert(dut.row_addr == request.rows[k][:len(dut.addr)])
        for flag, row in ((dut.known, dut.known_row), (dut.vacant, dut.vacant_row)):
            m.d.comb += Assert(~flag | (request.window_has(row) & Cat(row == place for place in request.rows).any()))
            with m.If(step < 3):
                m.d.comb += Assert(~flag)
    return m


def test_learning_stays_in_the_window(tmp_path):
    prove(update_harness(), tmp_path, depth=4)


def test_rows_are_learned_and_get_older(tmp_path):
    cover(update_harness(), tmp_path, depth=12)
