// What is at the other end of the core's frame-stream boundary: a beat of BEAT_BYTES a cycle each way. What the core
// sends is always taken, as a wire knows no back-pressure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "board_config.h"
#include "frame_buffer.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payloads are copied as little-endian integers");

class StreamWire {
public:
    // Where the model keeps the port's signals. A payload is `data`, then one byte with the other fields.
    struct Pins {
        std::uint8_t *rx_payload, *rx_valid;
        const std::uint8_t *rx_ready;
        const std::uint8_t *tx_payload, *tx_valid;
    };

    // Cycles of the core in one of the wire.
    static constexpr double CORE_CYCLES = 1;

    explicit StreamWire(Pins pins) : pins_(pins) {}

    // A frame is being handed to the model.
    bool receiving() const { return rx_length_ != 0; }
    // The model is in the middle of a frame.
    bool sending() const { return tx_length_ != 0; }

    // Where a frame of at most FRAME_BYTES is put, while nothing is received.
    std::uint8_t *buffer() { return rx_; }
    // Begins to hand over what was put there; its first beat is there from now on.
    void start(std::size_t length) {
        rx_length_ = length;
        rx_at_ = 0;
        drive();
    }

    // Before the clock edge: takes what is sent, and gives every frame that ends to `take(bytes, length, good)`; all are
    // good. Tells whether anything moves.
    template <typename Take> bool sample(Take &&take) {
        accepted_ = rx_length_ && *pins_.rx_ready;
        if (!*pins_.tx_valid)
            return receiving();
        if (tx_length_ + board::BEAT_BYTES <= FRAME_BYTES) {
            std::memcpy(tx_ + tx_length_, pins_.tx_payload, board::BEAT_BYTES);
            tx_length_ += board::BEAT_BYTES;
        }
        const unsigned fields = pins_.tx_payload[board::BEAT_BYTES];
        if (fields >> board::LAST_SHIFT & 1) {
            take(tx_, tx_length_ - (fields >> board::EMPTY_SHIFT & (board::BEAT_BYTES - 1)), true);
            tx_length_ = 0;
        }
        return true;
    }

    // After the clock edge: the next beat, if the model took the one before.
    void advance() {
        if (!accepted_)
            return;
        accepted_ = false;
        rx_at_ += board::BEAT_BYTES;
        if (rx_at_ < rx_length_) {
            drive();
        } else {
            rx_length_ = 0;
            *pins_.rx_valid = 0;
        }
    }

private:
    void drive() {
        const std::size_t left = rx_length_ - rx_at_;
        std::uint8_t fields = 0;
        std::memcpy(pins_.rx_payload, rx_ + rx_at_, board::BEAT_BYTES);
        if (left <= board::BEAT_BYTES) {
            const std::size_t empty = board::BEAT_BYTES - left;
            std::memset(pins_.rx_payload + left, 0, empty);
            fields = static_cast<std::uint8_t>(empty << board::EMPTY_SHIFT | 1u << board::LAST_SHIFT);
        }
        pins_.rx_payload[board::BEAT_BYTES] = fields;
        *pins_.rx_valid = 1;
    }

    Pins pins_;
    bool accepted_ = false;
    std::size_t rx_length_ = 0, rx_at_ = 0, tx_length_ = 0;
    std::uint8_t rx_[FRAME_BYTES + board::BEAT_BYTES];
    std::uint8_t tx_[FRAME_BYTES];
};
