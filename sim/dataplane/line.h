// A port as the bench sees it: hands frames to the model and takes those that it sends, in step with the clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "board_pins.h"

// A frame that the model sent: without FCS, the cycle in which its first byte was to be seen, and whether it was whole
// and, where it has one, its FCS right.
struct Received {
    const std::uint8_t *bytes;
    std::size_t length;
    std::uint64_t began;
    bool good;
};

class Line {
public:
    explicit Line(board::Wire::Pins pins) : wire_(pins) {}

    // A frame, or the gap after it, is still being handed to the model.
    bool busy() const { return wire_.receiving(); }

    // Begins to hand over a frame; its first byte is there from now on.
    void start(const std::uint8_t *frame, std::size_t length) {
        std::memcpy(wire_.buffer(), frame, length);
        wire_.start(length);
    }

    // Before the clock edge: takes what the model shows in this cycle, and gives a frame that ends to `take`.
    template <typename Take> void sample(std::uint64_t cycle, Take &&take) {
        if (!wire_.sending())
            began_ = cycle;
        wire_.sample([&](const std::uint8_t *bytes, std::size_t length, bool good) {
            take(Received{bytes, length, began_, good});
        });
    }

    // After the clock edge: the next byte or beat.
    void advance() { wire_.advance(); }

private:
    board::Wire wire_;
    std::uint64_t began_ = 0;
};
