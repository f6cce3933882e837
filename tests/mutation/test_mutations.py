"""Seeded single-line faults in the RTL: each must make a test fail.

``FAULTS`` lists them. One test checks that each still applies, to exactly one line; the other plants each in a copy of
the project and runs the tests that should notice.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hdl", "boards", "sim", "host")


class Fault(NamedTuple):
    """``line`` of ``file`` becomes ``becomes``; one of ``tests``, narrowed down by ``only`` (``-k``), has to fail."""

    name: str
    file: str
    line: str
    becomes: str
    tests: str
    only: str = ""


def unit(part: str) -> str:
    """The unit tests of a part of the hardware."""
    return f"tests/unit/hdl/test_{part}.py"


FAULTS = [
    # From the ports.
    Fault("a gap between frames is a byte short", "hdl/mac/tx.py",
          "with m.If(step == GAP_BYTES - 2):", "with m.If(step == GAP_BYTES - 3):", "tests/unit/hdl/mac/test_tx.py"),
    Fault("the FCS of padded frames leaves out the last byte of padding", "hdl/mac/tx.py",
          "m.d.comb += [enable.eq(1), crc.valid.eq(1)]",
          "m.d.comb += [enable.eq(1), crc.valid.eq(length != least - 1)]",
          "tests/unit/hdl/mac/test_tx.py"),
    Fault("frames may be one beat too long", "hdl/ingress.py",
          "places = ((excess, longest_beats),", "places = ((excess, longest_beats + 1),", unit("ingress"), "limits"),
    Fault("a dropped frame's beats stay in the buffer", "hdl/framestore.py",
          "head.eq(Mux(self.keep, head + 1, start)),", "head.eq(head + 1),", unit("ingress"), "passes_good"),
    Fault("a header of IPv4 is given before its layer-4 ports are there, if there is a tag", "hdl/capture.py",
          "m.d.comb += complete.eq(Mux(tagged, final(IPV4_NEEDED + TAG_BYTES), final(IPV4_NEEDED)))",
          "m.d.comb += complete.eq(final(IPV4_NEEDED))", unit("ingress"), "header_comes"),
    Fault("the tag stays in a header of narrow beats", "hdl/narrowheader.py",
          "position.eq(Mux(self.last, 0, position + ((position != _ROWS) & ~is_tag))),",
          "position.eq(Mux(self.last, 0, position + (position != _ROWS))),", unit("ingress"), "passes_good and 32"),
    Fault("a tag that ends with its frame hides that it was one", "hdl/narrowheader.py",
          "write.en.eq(self.fire & ~before & (position != _ROWS) & ~lacks_type),",
          "write.en.eq(self.fire & ~before & (position != _ROWS)),", unit("ingress"), "passes_good and 32"),
    Fault("a port has more headers under way than there is room for verdicts", "hdl/arbiter.py",
          "asks[index].eq(source.valid & (underway != self.config.headers)),", "asks[index].eq(source.valid),",
          unit("arbiter"), "underway"),
    # Look-ups.
    Fault("an IPv6 header's version is not looked at", "hdl/parser.py",
          "good.eq(Mux(family, (version == 6) & has(_IPV6_END),", "good.eq(Mux(family, has(_IPV6_END),",
          unit("parser"), "fields"),
    Fault("a total length that ends in the header is good", "hdl/parser.py",
          "fits.eq(family | ((ihl << 2) <= ipv4_length)),", "fits.eq(1),", unit("parser"), "fields"),
    Fault("a VMAC-VE entry of a router that does not exist matches", "hdl/vmac.py",
          "compared.usable.eq(row.valid & (row.router < self.config.routers)),", "compared.usable.eq(row.valid),",
          unit("vmac"), "random"),
    Fault("a frame without a router gets the context of the one before", "hdl/context.py",
          "row.eq(Mux(exists, rows.o.payload, 0)),", "row.eq(rows.o.payload),", unit("context"), "random_rows"),
    Fault("a word of a row is kept a cycle late", "hdl/serialtable.py",
          "with m.If(step == k + 1):", "with m.If(step == k + 2):", unit("serialtable")),
    Fault("a row that the control engine asked for is a look-up's", "hdl/serialtable.py",
          "self.o.valid.eq(last & ~access),", "self.o.valid.eq(last),", unit("serialtable"), "random"),
    Fault("a bridge looks up its own address", "hdl/lookup.py",
          '"mac": goes_on & bridged & ~record.group & ~record.own,', '"mac": goes_on & bridged & ~record.group,',
          unit("lookup"), "all_engines and 40"),
    Fault("quick engines' outcomes have no room while they wait for the FIB's", "hdl/lookup.py",
          "_OUTCOMES = 16", "_OUTCOMES = 8", unit("lookup"), "holds_few"),
    Fault("rules ahead of the window are compared", "hdl/filter.py",
          "& (~self.first | (bank >= self.base[:self._bank_bits])))", "& (~self.first | (bank >= 0)))",
          unit("filter"), "random_rules"),
    Fault("a rule that is found last wins", "hdl/filter.py",
          "with m.If(found & ~stage.first):", "with m.If(found & ~stage.first & ~matches.any()):",
          unit("filter"), "random_rules"),
    Fault("the next quarter of the flow's key takes the place of the one before", "hdl/flowhash.py",
          "hashed.eq(reduce(xor, parts) ^ Mux(parts_first, 0, hashed)),", "hashed.eq(reduce(xor, parts)),",
          unit("flowhash"), "every_bit"),
    Fault("the oldest of equals is not the first", "hdl/mactable_update.py",
          "(~self.vacant | (row.age < least_age))):", "(~self.vacant | (row.age <= least_age))):",
          unit("mactable"), "learning_leaves"),
    Fault("an entry that has aged out is still found", "hdl/mactable_search.py",
          "self.row_read & (row.age != 0) & (row.mac == self.mac))", "self.row_read & (row.mac == self.mac))",
          unit("mactable"), "searches"),
    Fault("the row behind the FIB window is inside", "hdl/fib_ring.py",
          "inside = (waiting.row < request.size) & (waiting.pool_row < self._words)",
          "inside = (waiting.row <= request.size) & (waiting.pool_row < self._words)", unit("fib"), "last_row"),
    Fault("a read of the FIB that missed counts as done", "hdl/fib_ring.py",
          "go3.eq(walk.active & ~walk.missed),", "go3.eq(walk.active),", unit("fib"), "while_the_table"),
    Fault("a walk of the FIB goes on from its neighbour's level", "hdl/fib_ring.py",
          "after.level.eq(walk.level + 1),", "after.level.eq(stages[2].level + 1),",
          "tests/formal/test_fib_isolation.py", "fate"),
    Fault("the control engine takes reads of the FIB away without a rest", "hdl/fib_pool.py",
          "start.eq(asked & (~last.en | rested)),", "start.eq(asked),", unit("fib_pool")),
    Fault("one bit too many of a leaf is compared", "hdl/fib_ring.py",
          "covered = [bit & _at_least(leaf.length, _LEAF_BITS - k)",
          "covered = [bit & _at_least(leaf.length, _LEAF_BITS - k - 1)", unit("fib"), "random_words"),
    Fault("every record gets the first ring's outcome", "hdl/fib.py",
          "self.o.payload.eq(Array(ring.o.payload.as_value() for ring in self.rings)[leaving]),",
          "self.o.payload.eq(self.rings[0].o.payload),", unit("fib"), "random_words"),
    Fault("the adjacency behind the window is inside", "hdl/adjacency.py",
          "below_size.eq(arrival.result < arrival.adj_size),", "below_size.eq(arrival.result <= arrival.adj_size),",
          unit("adjacency"), "random_rows and 37"),
    Fault("a member's window is not checked", "hdl/adjacency.py",
          "m.d.sync += [below_size.eq(member < meta.adj_size), index.eq(meta.adj_base + member)]",
          "m.d.sync += index.eq(meta.adj_base + member)", unit("adjacency"), "members_outside"),
    Fault("a packet whose TTL ends is forwarded", "hdl/verdict.py",
          "tests.ttl_ends.eq(meta.ttl <= 1),", "tests.ttl_ends.eq(meta.ttl < 1),", unit("verdict"), "first_condition"),
    Fault("IP multicast goes back to where it came from", "hdl/verdict.py",
          "tests.multicast.eq(multicast.ports & others),", "tests.multicast.eq(multicast.ports & mine),",
          unit("verdict"), "first_condition"),
    # Circuits.
    Fault("every header of the link port is taken for a tunnel's packet", "hdl/arbiter.py",
          "link.given.eq(self.given),", "link.given.eq(1),", unit("arbiter"), "given"),
    Fault("a tunnel's packet is routed by whoever owns the segment", "hdl/vmac.py",
          "with m.If(~meta.injected & ~meta.given):", "with m.If(~meta.injected):", unit("vmac"), "every_slot"),
    Fault("a tunnel's packet is not for its router itself", "hdl/vmac.py",
          "own.eq((hit & ~meta.injected & ~meta.group) | meta.given),", "own.eq(hit & ~meta.injected & ~meta.group),",
          unit("vmac"), "every_slot"),
    Fault("a guarded segment lets any source in", "hdl/context.py",
          "includes(self.config, row.guard, meta.port) | meta.segment_guard),",
          "includes(self.config, row.guard, meta.port)),", unit("context"), "random_rows"),
    Fault("an address that moves to another circuit of its port is not learned anew", "hdl/mactable_update.py",
          "(row.port == self.learn_port) & (row.vid == self.learn_vid)", "(row.port == self.learn_port)",
          unit("mactable"), "known_costs"),
    Fault("the circuit of the last place that has an address counts", "hdl/mactable_search.py",
          "found_vid = Mux(match & ~self.found, row.vid, self.found_vid)",
          "found_vid = Mux(match, row.vid, self.found_vid)", unit("mactable"), "searches"),
    Fault("a VLAN of a wire is learned as a circuit", "hdl/pairing.py",
          "return Mux(verdict.port == self.config.link_port, verdict.tci[:LEARN[\"vid\"].width], 0)",
          "return verdict.tci[:LEARN[\"vid\"].width]", unit("pairing"), "circuit"),
    Fault("a frame from one circuit to another of its bridge is dropped", "hdl/verdict.py",
          "tests.mac_back.eq((meta.mac_port == meta.port) & (~at_link | (meta.mac_vid == vid))),",
          "tests.mac_back.eq(meta.mac_port == meta.port),", unit("verdict"), "circuits_apart"),
    Fault("a flood does not reach the other circuits", "hdl/verdict.py",
          "others = mine & Mux(at_link, mine, ~ingress)", "others = mine & ~ingress",
          unit("verdict"), "circuits_apart"),
    Fault("IP multicast may come by any circuit", "hdl/verdict.py",
          "tests.rpf_ok.eq((multicast.port == meta.port) & (~at_link | (multicast.vid == vid))),",
          "tests.rpf_ok.eq(multicast.port == meta.port),", unit("verdict"), "right_circuit"),
    Fault("a stranger's group frame is delivered from a circuit", "hdl/verdict.py",
          "tests.alone.eq(on_port & ~is_stranger &", "tests.alone.eq(on_port &", unit("verdict"), "router_alone"),
    Fault("a tunnel ends at a router that has no link port", "hdl/verdict.py",
          "meta.tunnels & includes(config, meta.ports, Const(config.link_port, len(meta.port)))", "meta.tunnels",
          unit("verdict"), "each_condition"),
    Fault("any UDP packet is taken for one of a tunnel", "hdl/verdict.py",
          "& (meta.l4_destination == VXLAN_PORT))))", ")))", unit("verdict"), "each_condition"),
    Fault("the VLAN of an adjacency replaces that of a rule", "hdl/rewrite.py",
          "with m.If(verdict.vid.any() & ~verdict.keep_tag):", "with m.If(verdict.vid.any()):",
          unit("rewrite"), "tag_that_counts"),
    Fault("a new VLAN id keeps the drop eligible bit", "hdl/rewrite.py",
          "stored.tci[:13].eq(verdict.vid)]", "stored.tci[:12].eq(verdict.vid)]", unit("rewrite"), "tag_that_counts"),
    Fault("every frame is taken for one that came in at the link port", "hdl/admission.py",
          "copy.descriptor.from_link.eq(job.port == config.link_port),", "copy.descriptor.from_link.eq(1),",
          unit("buffer"), "link_port"),
    Fault("the flow of a frame is forgotten in its queue", "hdl/dequeue.py",
          "for name in (\"from_link\", \"entropy\")]", "for name in (\"from_link\",)]",
          unit("buffer"), "link_port"),
    # Effects.
    Fault("the source of a malformed frame is learned", "hdl/pairing.py",
          "learn.eq(verdict.learn & ~malformed),", "learn.eq(verdict.learn),", unit("pairing"), "effects"),
    Fault("a frame is sent that is being thrown away", "hdl/pairing.py",
          "valid.eq(Cat(source.valid & ~waste[k] for k, source", "valid.eq(Cat(source.valid for k, source",
          unit("pairing"), "random_frames and 64"),
    Fault("a hit is lost while the counters are accessed", "hdl/hits.py",
          "m.d.comb += [read_en.eq(1), events.r_en.eq(~start)]", "m.d.comb += [read_en.eq(1), events.r_en.eq(1)]",
          unit("hits")),
    Fault("a bucket does not know of the frame before last", "hdl/policers.py",
          "use_newer.eq(written.valid & (written.row == fetched.row)),", "use_newer.eq(0),",
          unit("policers"), "every_frame"),
    Fault("a counter's sum is short by a carry", "hdl/counters.py",
          "value + 1))", "Cat(value[:8] + 1, value[9:])))", unit("counters")),
    Fault("an event is lost while a counter is accessed", "hdl/counters.py",
          "m.d.comb += [read.en.eq(1), take.eq(~start)]", "m.d.comb += [read.en.eq(1), take.eq(1)]",
          unit("counters")),
    # Changes to frames.
    Fault("the hop limit is put where IPv4 has an address", "hdl/rewrite.py",
          "(verdict.set_ttl & verdict.ipv6, Ipv6.HOP_LIMIT.spread(verdict.ttl)),",
          "(verdict.set_ttl, Ipv6.HOP_LIMIT.spread(verdict.ttl)),", unit("rewrite"), "random_frames and 64"),
    Fault("a frame whose last beat has one byte more than a tag loses that beat", "hdl/untag.py",
          "short_tail.eq((i.payload.length - 1)[:exact_log2(beat_bytes)] < TAG_BYTES),",
          "short_tail.eq((i.payload.length - 1)[:exact_log2(beat_bytes)] <= TAG_BYTES),",
          unit("rewrite"), "every_length and 64"),
    Fault("a frame gets the checksums of the one before", "hdl/heldframes.py",
          "results.r_en.eq(ends & out_side.waits),", "results.r_en.eq(0),", unit("rewrite"), "random_frames and 64"),
    Fault("a checksum's last carry is lost", "hdl/checksum.py",
          "final.eq(folded[:16] + folded[16]),", "final.eq(folded[:16]),", unit("checksum")),
    Fault("a tag pushes nothing out of a beat with four bytes left", "hdl/inserter.py",
          "((beat.length - 1)[:exact_log2(beat_bytes)] >= beat_bytes - TAG_BYTES)),",
          "((beat.length - 1)[:exact_log2(beat_bytes)] > beat_bytes - TAG_BYTES)),",
          unit("egress"), "every_length and 64"),
    # Frame buffer.
    Fault("cells of a frame with two copies are freed with the first", "hdl/admission.py",
          "shared.eq(job.group | (count != 1)),", "shared.eq(job.group | (count > 2)),",
          unit("buffer"), "random_traffic and light"),
    Fault("a copy of a frame that was not stored is queued", "hdl/admission.py",
          "copy.refused.eq(~ok | nowhere),", "copy.refused.eq(nowhere),", unit("buffer"), "without_cells"),
    Fault("a cell counts as free a cycle before it can be taken", "hdl/cells.py",
          "returning.eq(self.free),", "self.available.eq(self.available + self.free),",
          "tests/formal/test_queues.py", "test_part and allocator and not within"),
    Fault("shared cells come back as more than were taken", "hdl/quotas.py",
          "m.d.comb += given.eq(Mux(after >= 0, amount, before))", "m.d.comb += given.eq(amount)", unit("quotas")),
    Fault("what is left of a deficit is forgotten", "hdl/scheduler.py",
          "new_this.deficit.eq(credit),", "new_this.deficit.eq(0),", unit("scheduler"), "order"),
    Fault("a turn goes on while others wait", "hdl/scheduler.py",
          "(alone | (credit > quantum))", "1", unit("scheduler"), "order"),
    Fault("a router that had the port to itself sends one frame more", "hdl/scheduler.py",
          "yields.eq(this.alone & ~lists.alone & (this.deficit <= quantum)),", "yields.eq(0),",
          unit("scheduler"), "begins_is_before"),
    Fault("preamble and gap are not charged", "hdl/scheduler.py",
          "credit.eq(rest + granted - LINE_BYTES),", "credit.eq(rest + granted),", unit("scheduler"), "order"),
    Fault("a refill of a large bucket runs over", "hdl/scheduler.py",
          "next_tokens = Signal(signed(TOKENS.width + 1))", "next_tokens = Signal(TOKENS)",
          unit("scheduler"), "largest"),
    Fault("a frame is chosen before it is wanted", "hdl/scheduler.py",
          "& wanted[q] & ~self.hold for q", "& ~self.hold for q", unit("scheduler"), "wanted"),
    Fault("a queue may hold one frame more", "hdl/scheduler.py",
          "(state.depth != config.queue_frames)", "(state.depth != config.queue_frames + 1)",
          unit("buffer"), "full_queue"),
    Fault("a router gets its quantum once and never again", "hdl/activelists.py",
          "m.d.sync += self.fresh[q][c].eq(self.turn != Turn.STAY)", "m.d.sync += self.fresh[q][c].eq(0)",
          unit("activelists")),
    Fault("a shaper's bucket has no rim", "hdl/shapers.py",
          "return Mux(tokens > full_bucket(burst), full_bucket(burst), tokens)", "return tokens",
          unit("buffer_service"), "shaper_keeps"),
    Fault("a port goes on with the next cell of another port", "hdl/dequeue.py",
          "m.d.comb += following.eq(Mux(arrived & read_first, self.link_data, follower))",
          "m.d.comb += following.eq(Mux(read_first, self.link_data, follower))",
          unit("buffer"), "random_traffic and heavy"),
    Fault("a refused group copy is not given back", "hdl/replicator.py",
          "m.d.sync += rest.eq(Mux(self.refused, rest, rest - 1))", "m.d.sync += rest.eq(rest - 1)",
          unit("buffer_groups"), "group or no_place"),
    Fault("group frames go to routers of any VLAN", "hdl/membership.py",
          "& (read_vlan.data == query.vid)", "& 1", unit("buffer_groups"), "many"),
    # The host.
    Fault("an inject for a port that isn't there gets through", "hdl/deframer.py",
          "& (header.router < config.routers) & (header.port < config.ports)),",
          "& (header.router < config.routers) & (header.port <= config.ports)),", unit("deframer")),
    Fault("the host is not told of a tag", "hdl/enframer.py",
          "header.tci.eq(punt.payload.tci),", "header.tci.eq(0),", unit("enframer")),
    Fault("what is left of a tunnelled frame has no beat of its own", "hdl/encapsulate.py",
          ">= by_kind(tunnel.kind, {kind: beat_bytes - k for kind, k in shift.items()})),",
          "> by_kind(tunnel.kind, {kind: beat_bytes - k for kind, k in shift.items()})),", unit("encapsulate")),
    Fault("the last carry of the outer checksum is lost", "hdl/encapsulate.py",
          "checksum.eq(~(folded[:16] + folded[16])),", "checksum.eq(~folded[:16]),", unit("encapsulate")),
    Fault("a fragment is taken out of a tunnel", "hdl/decapsulate.py",
          "& ((Ipv4.FRAGMENT.of(octets) & Ipv4.FRAGMENTED) == 0)),", "),", unit("decapsulate")),
    Fault("GRE with a checksum is taken for GRE without", "hdl/decapsulate.py",
          "(Gre.FLAGS.of(octets) & Gre.FLAGS_CHECKED)", "(Gre.FLAGS.of(octets) & Gre.FLAG_K)", unit("decapsulate")),
    Fault("padding follows the inner frame", "hdl/decapsulate.py",
          "m.next = \"PADDING\"", "m.next = \"HEADER\"", unit("decapsulate")),
    Fault("an inner frame may be cut short", "hdl/decapsulate.py",
          "& (total_length + ETHERNET_BYTES <= length)),", "),", unit("decapsulate")),
    Fault("a tunnel may be entered from another router", "hdl/terminations.py",
          "(Cat(row[name] for name, _ in TERMINATION_KEY) == key.as_value())),",
          "(Cat(row[name] for name, _ in TERMINATION_KEY)[10:] == key.as_value()[10:])),", unit("terminations")),
    Fault("a frame leaves by another router's circuit", "hdl/circuits.py",
          "owned.eq(exists & (row.router == departure.router)),", "owned.eq(exists),", unit("circuits"), "64"),
    Fault("the proof of circuits is blind", "hdl/circuits.py",
          "owned.eq(exists & (row.router == departure.router)),", "owned.eq(exists),", "tests/formal/test_circuits.py"),
    Fault("a list gives a frame back to where it came from", "hdl/circuits.py",
          "with m.If(owned & (member != departure.source)", "with m.If(owned", unit("circuits"), "lists and 64"),
    Fault("a tunnel's frame is flooded into other tunnels", "hdl/circuits.py",
          "from_tunnel.eq(exists & (row.kind == LinkKind.TUNNEL))", "from_tunnel.eq(0)",
          unit("circuits"), "lists and 64"),
    Fault("a list that bites its tail never ends", "hdl/circuits.py",
          "(member >= circuits) | (left == 0)", "(member >= circuits)", unit("circuits"), "tail"),
    Fault("what is too long for a tunnel by a byte goes in", "hdl/circuits.py",
          "config.max_frame - FCS_BYTES - by_kind", "config.max_frame - 3 - by_kind", unit("circuits"), "longest"),
    Fault("a frame goes back by the circuit that it came by", "hdl/circuits.py",
          "m.d.sync += silent.eq(1)", "m.next = \"PASS\"", unit("circuits"), "each_kind and 64"),
    Fault("a packet for no tunnel comes in on circuit 0", "hdl/tunnelend.py",
          "with m.If(terminations.o.payload.hit):", "with m.If(1):", unit("linkengine"), "out_of and 64"),
    Fault("an inner frame is another router's", "hdl/decapsulate.py",
          "router.eq(i.payload.router),\n                    ]", "]", unit("decapsulate"), "64"),
    Fault("a frame of two streams is interrupted", "hdl/framemux.py",
          "busy.eq(~(self.o.ready & self.o.payload.last))", "busy.eq(~self.o.ready)", unit("framemux")),
    Fault("a tunnel's row counts that is not valid", "hdl/terminations.py",
          "(step >= 4) & row.valid &", "(step >= 4) &", unit("terminations")),
    Fault("the last place of a tunnel is not looked at", "hdl/terminations.py",
          "self.o.payload.hit.eq(found.hit | match),", "self.o.payload.hit.eq(found.hit),", unit("terminations")),
    Fault("the row behind a window can be written", "hdl/control.py",
          "with m.If(windowed & ((window_row >= size) | (last_row >= table_rows))):",
          "with m.If(windowed & ((window_row > size) | (last_row >= table_rows))):",
          unit("control"), "random_requests and 64"),
    Fault("a fence does not wait for the look-up that begins with it", "hdl/control.py",
          "status.eq(checked), older.eq(lookups_now),", "status.eq(checked),",
          unit("control"), "fence"),
    Fault("of two overflows of the host link at once one counts", "hdl/hostlink/receiver.py",
          "m.d.sync += uncounted.eq(lost_frame & lost_greeting)", "m.d.sync += uncounted.eq(0)",
          "tests/unit/hdl/hostlink/test_receiver.py", "no_room_at_all"),
    # Crossings.
    Fault("the receiver keeps too little free in its FIFO", "hdl/mac/rx.py",
          "RESERVE = 6", "RESERVE = 2", "tests/formal/test_receive_crossing.py", "refused"),
    Fault("a beat counts as a whole frame", "hdl/mac/tx.py",
          "with m.If(self.i.valid & self.i.ready & self.i.payload.last):", "with m.If(self.i.valid & self.i.ready):",
          "tests/formal/test_transmit_crossing.py", "started"),
    Fault("a value is taken over at its first sample", "boards/rgmii/steady.py",
          "with m.If(sample == before):", "with m.If(1):", "tests/formal/test_value_crossing.py", "never_was"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_applies(fault):
    assert (ROOT / fault.file).read_text().count(fault.line) == 1
    for path in fault.tests.split():
        assert (ROOT / path).exists()


def plant(fault: Fault, where: Path) -> None:
    """Copy the project, with the fault in it; what is compiled already stays good for all other files."""
    for folder in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / folder, where / folder)
    shutil.copy(ROOT / "pyproject.toml", where)
    packages = where / "path" / "polyrouter"
    packages.mkdir(parents=True)
    for folder in PACKAGES:
        (packages / folder).symlink_to(where / folder)
    faulty = where / fault.file
    faulty.write_text(faulty.read_text().replace(fault.line, fault.becomes))


def run(where: Path, log: Path, *arguments: str) -> int:
    """Exit code of Python in the copy, whose packages come ahead of the installed project's in the path."""
    environment = os.environ | {"PYTHONPATH": str(where / "path")}
    environment.pop("PYTEST_XDIST_WORKER", None)
    with log.open("w") as output:
        return subprocess.run([sys.executable, *arguments], cwd=where, env=environment, stdout=output,
                              stderr=output).returncode


#: Some of them each time, all of them every night.
OFTEN = [fault for number, fault in enumerate(FAULTS) if number % 6 == 3
         and not fault.tests.startswith(("tests/formal", unit("buffer_service")))]     # which take a minute and more


@pytest.mark.parametrize("fault", [
    fault if fault in OFTEN else pytest.param(fault, marks=pytest.mark.slow) for fault in FAULTS],
    ids=lambda fault: fault.name)
def test_fault_is_caught(fault, tmp_path):
    where, log = tmp_path / "copy", tmp_path / "log"
    plant(fault, where)
    assert run(where, log, "-c", "import polyrouter.hdl.config as it; print(it.__file__)") == 0
    assert Path(log.read_text().strip()).is_relative_to(where)
    code = run(where, log, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout", "100", "-m", "not slow",
               "-k", fault.only, *fault.tests.split())
    text = log.read_text()
    # 1: tests ran, and one failed; a copy that can't be imported or collected would be another code
    # A warning may come behind the summary.
    assert code == 1 and any(line.startswith("1 failed") for line in text.splitlines()), text[-3000:]
