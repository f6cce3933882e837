// A port of the board: moves frames between a descriptor and the wire, in step with the clock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "board_pins.h"
#include "frame_fd.h"

class Port {
public:
    Port(int fd, board::Wire::Pins pins) : fd(fd), wire_(pins) {}

    // A frame is being handed to the model.
    bool receiving() const { return wire_.receiving(); }

    // Starts to hand the next frame to the model; gives its length, 0 if there is none.
    std::size_t fetch() {
        const std::size_t length = fd.receive(wire_.buffer());
        if (length)
            wire_.start(length);
        return length;
    }

    // Before the clock edge: takes what is sent; a frame is lost if the descriptor can't. Tells whether anything moves.
    bool sample() {
        return wire_.sample([this](std::uint8_t *frame, std::size_t length, bool good) {
            if (good)
                fd.send(frame, length);
            else
                ++fd.dropped;
        });
    }

    // After the clock edge: sets what is received.
    void advance() { wire_.advance(); }

    FrameFd fd;

private:
    static_assert(FrameFd::CAPACITY <= FRAME_BYTES);

    board::Wire wire_;
};
