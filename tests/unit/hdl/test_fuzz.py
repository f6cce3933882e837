"""Any bytes at the ports, at the parser, at the host port and at the control engine: what comes next is right."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polyrouter.hdl.config import HOST_HEADER_BYTES, CoreConfig
from polyrouter.hdl.layouts import (
    CONTROL_OP,
    HOST_HEADER,
    INFO_MAGIC,
    HostStatus,
    Info,
    Opcode,
    OpStatus,
    RxError,
    Table,
    unpack,
)

from . import test_control, test_deframer, test_ingress, test_parser
from .bench import WIDTHS

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: A frame that the parser has to get right whatever came before: 10.0.0.1 to 10.0.0.2.
GOOD = bytes.fromhex("020000000001060000000001" "0800" "4500001c00004000401126cf0a0000010a000002" "000100020008e5d4"
                     ) + bytes(18)
ETHERTYPES = st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x08\x06", b"\0\0"])
TAGS = st.sampled_from([b"", b"", b"\x81\x00\0\0", b"\x81\x00\xff\xff"])
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


@QUICK
@given(st.lists(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=6), min_size=1, max_size=5),
       st.sampled_from(WIDTHS))
def test_any_operations_at_the_control_engine(noise, width):
    config = CoreConfig(data_width=width, fib_words=64, adjacencies=16, vmac_slots=64, routers=3, ports=3)
    bench = test_control.Bench(config)
    read_magic = test_control.op(Opcode.READ, Table.INFO, Info.MAGIC)

    async def main(ctx):
        for number, request in enumerate(noise):
            asked = [unpack(CONTROL_OP, int.from_bytes(octets, "little")) for octets in request]
            answers, status, expected = await bench.request(ctx, asked, 2 * number, sync=True)
            assert (status, expected, len(answers)) == (HostStatus.OK, 2 * number + 1, len(asked))
            for ask, answer in zip(asked, answers, strict=True):
                assert answer["status"] in set(OpStatus)
                # Nothing but the status, and the data of a read that was carried out, is changed.
                read = ask["opcode"] == Opcode.READ and answer["status"] == OpStatus.OK
                assert answer | {"status": 0, "data": 0 if read else answer["data"]} == ask | {
                    "status": 0, "data": 0 if read else ask["data"]}
            answers, status, _ = await bench.request(ctx, [read_magic], 2 * number + 1)
            assert status == HostStatus.OK and answers == [read_magic | {"data": INFO_MAGIC}]

    bench.run(main)
