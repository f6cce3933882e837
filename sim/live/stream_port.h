// A port at the core's frame-stream boundary: a beat of BEAT_BYTES a cycle each way. What the core sends is always
// taken, as a wire knows no back-pressure, and lost if the descriptor can't.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "board_config.h"
#include "model_pins.h"
#include "port.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payloads are copied as little-endian integers");

class StreamPort final : public Port {
public:
    StreamPort(int fd, StreamPins pins) : Port(fd), pins_(pins) {}

    bool receiving() const override { return rx_length_ != 0; }

    std::size_t fetch() override {
        rx_length_ = fd.receive(rx_);
        rx_at_ = 0;
        if (rx_length_)
            drive();
        return rx_length_;
    }

    bool sample() override {
        accepted_ = rx_length_ && *pins_.rx_ready;
        if (!*pins_.tx_valid)
            return rx_length_ != 0;
        if (tx_length_ + board::BEAT_BYTES <= FrameFd::CAPACITY) {
            std::memcpy(tx_ + tx_length_, pins_.tx_payload, board::BEAT_BYTES);
            tx_length_ += board::BEAT_BYTES;
        }
        const unsigned fields = pins_.tx_payload[board::BEAT_BYTES];
        if (fields >> board::LAST_SHIFT & 1) {
            fd.send(tx_, tx_length_ - (fields >> board::EMPTY_SHIFT & (board::BEAT_BYTES - 1)));
            tx_length_ = 0;
        }
        return true;
    }

    void advance() override {
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

    StreamPins pins_;
    bool accepted_ = false;
    std::size_t rx_length_ = 0, rx_at_ = 0, tx_length_ = 0;
    std::uint8_t rx_[FrameFd::CAPACITY + board::BEAT_BYTES];
    std::uint8_t tx_[FrameFd::CAPACITY + board::BEAT_BYTES];
};
