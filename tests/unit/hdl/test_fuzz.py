"""Any bytes at the ports, at the parser, at the host port and at the control engine: what comes next is right."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polyrouter.hdl.config import HOST_HEADER_BYTES, CoreConfig
from polyrouter.hdl.layouts import (
    CONTEXT_ROW,
    CONTROL_OP,
    HOST_HEADER,
    INFO_MAGIC,
    HostStatus,
    Info,
    Opcode,
    RxError,
    Table,
    pack,
    unpack,
)
from polyrouter.hdl.records import TAG

from tests.effort import examples

from . import test_control, test_deframer, test_front, test_ingress, test_parser
from .bench import WIDTHS

QUICK = settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: A frame that the parser has to get right whatever came before: 10.0.0.1 to 10.0.0.2.
GOOD = bytes.fromhex("020000000001060000000001" "0800" "4500001c00004000401126cf0a0000010a000002" "000100020008e5d4"
                     ) + bytes(18)
ETHERTYPES = st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x08\x06", b"\0\0"])
TAGS = st.sampled_from([b"", b"", b"\x81\x00\0\0", b"\x81\x00\xff\xff"])
#: Fields of a record that the headers have no say in.
TAG_FIELDS = {name for name, _ in TAG}
FRAMES = st.one_of(
    st.binary(min_size=14, max_size=90),
    st.builds(lambda addresses, tag, ethertype, first, rest: addresses + tag + ethertype + first + rest,
              st.binary(min_size=12, max_size=12), TAGS, ETHERTYPES,
              st.sampled_from([b"", b"\x45", b"\x46", b"\x60", b"\x6f"]), st.binary(max_size=80)))


@QUICK
@given(st.lists(FRAMES, min_size=1, max_size=12))
def test_any_bytes_at_the_parser(noise):
    frames = [(frame, test_parser.TAG_ZERO) for noisy in noise for frame in (noisy, GOOD)]
    records, *_ = test_parser.run(frames)
    for (frame, tag), record in zip(frames, records, strict=True):
        wanted = test_parser.reference(frame, tag)
        assert {name: record[name] for name in wanted} == wanted, frame.hex()


@QUICK
@given(st.lists(st.tuples(st.one_of(FRAMES, st.binary(min_size=1, max_size=20)), st.sampled_from(RxError)),
                min_size=1, max_size=12), st.sampled_from(WIDTHS))
def test_any_frames_at_a_port(noise, width):
    config = CoreConfig(data_width=width)
    longest = config.max_frame - 4
    frames = [frame for noisy in noise for frame in (noisy, (GOOD, RxError.NONE))]
    result = test_ingress.run(config, frames)
    verdicts = [test_ingress.judge(*frame, longest) for frame in frames]
    assert result.events == [verdict for verdict in verdicts if verdict is not None]
    assert result.passed == [frame for (frame, _), verdict in zip(frames, verdicts, strict=True) if verdict is None]
    test_ingress.check_headers(result, frames, width, longest)


class FrontBench(test_front.Bench):
    """Keeps the records, too."""

    def verdict(self, meta):
        self.records.append(meta)
        return super().verdict(meta)

    records: list


def outcome(frame: bytes) -> dict:
    return test_parser.reference(frame, test_parser.TAG_ZERO)


@settings(QUICK, max_examples=examples(12))
@given(st.lists(st.lists(st.tuples(FRAMES, st.sampled_from(RxError)), max_size=6), min_size=2, max_size=2),
       st.lists(FRAMES, max_size=4), st.sampled_from(WIDTHS))
def test_any_frames_from_all_ports_to_their_verdicts(noise, injected, width):
    """Ingress, arbiter, parser and pairing: each frame's record is its own, and the frame comes out if it is whole."""
    config = CoreConfig(data_width=width, ports=2)
    ports = [[frame for noisy in frames for frame in (noisy, (GOOD, RxError.NONE))] for frames in noise]
    to_inject = [(frame, k % config.routers, k % config.ports) for k, frame in enumerate(injected)]
    bench = FrontBench(config)
    bench.records = []
    sent = bench.run(ports, to_inject)
    for port, frames in enumerate([*ports, [(frame, RxError.NONE) for frame in injected]]):
        records = iter([record for record in bench.records if record["port"] == port])
        good = [frame for frame, error in frames if test_ingress.judge(frame, error, config.max_frame - 4) is None]
        for frame in good:
            wanted = {name: value for name, value in outcome(frame).items() if name not in TAG_FIELDS}
            # Between them are those of frames that went bad when their header was gone already.
            assert any({name: record[name] for name in wanted} == wanted for record in records), frame.hex()
        whole = [frame for frame in good
                 if outcome(frame)["least_length"] <= len(frame) and int.from_bytes(frame[6:12], "big") & 7]
        assert [frame for frame, _ in sent[port]] == whole


def well_formed(frame: bytes) -> bool:
    """Whether the deframer has to let a frame pass, by the rules of docs/dataplane.md."""
    if len(frame) <= HOST_HEADER_BYTES:
        return False
    header = unpack(HOST_HEADER, int.from_bytes(frame[:HOST_HEADER_BYTES], "little"))
    if header["ethertype"] != 0xB588 or header["version"] != 1 or header["length"] > len(frame) - HOST_HEADER_BYTES:
        return False
    if header["type"] == 2:
        return header["length"] >= 14 and header["router"] < 8 and header["port"] < 4
    return header["type"] == 3 and header["length"] in range(16, 1025, 16)


@st.composite
def host_frames(draw):
    """Noise, or a frame from the host with a few bytes of its header changed."""
    if draw(st.booleans()):
        return draw(st.binary(min_size=14, max_size=120))
    body = draw(st.binary(min_size=1, max_size=100))
    frame = bytearray(test_deframer.frame(body, type=draw(st.integers(1, 4)), router=draw(st.integers(0, 9))))
    for position, value in draw(st.lists(st.tuples(st.integers(12, 31), st.integers(0, 255)), max_size=2)):
        frame[position] = value
    return bytes(frame)


@QUICK
@given(st.lists(host_frames(), min_size=1, max_size=12), st.sampled_from(WIDTHS))
def test_any_bytes_at_the_host_port(noise, width):
    good = test_deframer.frame(bytes(range(60)), type=2, router=7, port=3)
    frames = [frame for noisy in noise for frame in (noisy, good)]
    result, drops, _ = test_deframer.run(width, frames)
    passed = [frame for frame in frames if well_formed(frame)]
    assert drops == len(frames) - len(passed)
    assert [body for *_, body in result] == [frame[HOST_HEADER_BYTES:] for frame in passed]


#: Any bytes, and accesses that get further.
OPERATIONS = st.one_of(
    st.binary(min_size=16, max_size=16).map(lambda octets: unpack(CONTROL_OP, int.from_bytes(octets, "little"))),
    st.builds(test_control.op, st.sampled_from([Opcode.READ, Opcode.WRITE, Opcode.WRITE, Opcode.FENCE]),
              st.sampled_from([*Table, Table.CONTEXT, max(Table) + 1]), st.integers(0, 12),
              router=st.integers(0, 4), word=st.integers(0, 8), data=st.integers(0, 2**64 - 1)))
#: Windows, so that there is something inside of them.
CONTEXTS = st.builds(
    lambda router, base, size: test_control.write_row(Table.CONTEXT, 0, pack(CONTEXT_ROW, {
        f"{table}_{what}": value for table in ("fib", "adj", "filter", "policer", "mac")
        for what, value in (("base", base), ("size", size))}), router=router),
    st.integers(0, 2), st.integers(0, 20), st.integers(0, 16))


@QUICK
@given(st.lists(st.tuples(st.lists(st.one_of(OPERATIONS.map(lambda op: [op]), CONTEXTS), min_size=1, max_size=6),
                          st.sampled_from(["next", "next", "sync", "wrong"])), min_size=1, max_size=6),
       st.sampled_from(WIDTHS))
def test_any_operations_at_the_control_engine(noise, width):
    config = CoreConfig(data_width=width, fib_words=64, adjacencies=16, vmac_slots=64, routers=3, ports=3,
                        filter_rules=8, mac_rows=16)
    bench, model = test_control.Bench(config), test_control.Model(config)
    read_magic = test_control.op(Opcode.READ, Table.INFO, Info.MAGIC)

    async def main(ctx):
        for number, (groups, order) in enumerate(noise):
            asked = [ask for group in groups for ask in group]
            sequence = model.expected + (order == "wrong") if order != "sync" else 1000 * number
            # What was in ``status`` counts only where nothing is done.
            expected = model.request(
                sequence, asked if order == "wrong" else [ask | {"status": 0} for ask in asked], order == "sync")
            assert await bench.request(ctx, asked, sequence, order == "sync") == expected
            sequence = model.expected
            model.request(sequence, [read_magic])
            answers, status, _ = await bench.request(ctx, [read_magic], sequence)
            assert status == HostStatus.OK and answers == [read_magic | {"data": INFO_MAGIC}]

    bench.run(main)
