"""Frames to the host: puts the header before punted frames and responses."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .hostframe import BOARD_MAC, ETHERTYPE, header_beats, response_layout
from .layouts import HOST_HEADER, HOST_VERSION, HostFrameType
from .records import punted_layout
from .stream import FrameSignature

__all__ = ["HostEnframer"]


class HostEnframer(wiring.Component):
    """Merges punted frames and responses frame by frame, and puts ``HOST_HEADER`` before each.

    When both wait, they take turns. The header goes out from the cycle after the first beat is offered; a frame takes
    one cycle more than it has beats.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i_punt : stream of punted_layout
        Frames of the host port's queue.
    i_response : stream of response_layout
        Responses of the control engine.
    host_mac : Signal(48), in
        Destination of punted frames.
    o : FrameSignature
        Frames to the host.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "i_punt": In(stream.Signature(punted_layout(config.data_width))),
            "i_response": In(stream.Signature(response_layout(config.data_width))),
            "host_mac": In(48),
            "o": Out(FrameSignature(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        beats = header_beats(config)
        width = config.data_width
        header = Signal(HOST_HEADER)
        position = Signal(range(max(2, beats)))
        response = Signal()         # kind of the frame under way, or of the last one
        choice = Signal()
        punt, answer = self.i_punt, self.i_response
        m.d.comb += choice.eq(answer.valid & (~punt.valid | ~response))
        with m.FSM():
            with m.State("IDLE"), m.If(punt.valid | answer.valid):
                m.d.sync += [
                    response.eq(choice),
                    header.source.eq(BOARD_MAC),
                    header.ethertype.eq(ETHERTYPE),
                    header.version.eq(HOST_VERSION),
                ]
                with m.If(choice):
                    m.d.sync += [
                        header.destination.eq(answer.payload.destination),
                        header.type.eq(HostFrameType.RESPONSE),
                        header.sequence.eq(answer.payload.sequence),
                        header.expected.eq(answer.payload.expected),
                        header.router.eq(0),
                        header.port.eq(0),
                        header.reason.eq(answer.payload.reason),
                        header.length.eq(answer.payload.length),
                        header.tci.eq(0),
                    ]
                with m.Else():
                    m.d.sync += [
                        header.destination.eq(self.host_mac),
                        header.type.eq(HostFrameType.PUNT),
                        header.sequence.eq(0),
                        header.expected.eq(0),
                        header.router.eq(punt.payload.router),
                        header.port.eq(punt.payload.port),
                        header.reason.eq(punt.payload.reason),
                        header.length.eq(punt.payload.length),
                        header.tci.eq(punt.payload.tci),
                    ]
                m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(header.as_value().word_select(position, width)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += position.eq(Mux(position == beats - 1, 0, position + 1))
                    with m.If(position == beats - 1):
                        m.next = "BODY"
            with m.State("BODY"):
                for i, own in (punt, ~response), (answer, response):
                    with m.If(own):
                        m.d.comb += [
                            self.o.valid.eq(i.valid),
                            self.o.payload.data.eq(i.payload.data),
                            self.o.payload.last.eq(i.payload.last),
                            self.o.payload.empty.eq(Mux(i.payload.last, -i.payload.length, 0)),
                            i.ready.eq(self.o.ready),
                        ]
                with m.If(self.o.valid & self.o.ready & self.o.payload.last):
                    m.next = "IDLE"
        return m
