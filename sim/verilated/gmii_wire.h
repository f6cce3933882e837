// What is at the other end of a GMII (IEEE 802.3 clause 35): a PHY and a neighbour's MAC, a byte a cycle each way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "board_config.h"
#include "fcs.h"
#include "frame_buffer.h"

class GmiiWire {
public:
    // Where the model keeps the port's signals.
    struct Pins {
        std::uint8_t *rxd, *rx_dv;
        const std::uint8_t *txd, *tx_en, *tx_er;
    };

    // Cycles of the core in one of the wire.
    static constexpr double CORE_CYCLES = 1 / board::LINE_BYTES_PER_CYCLE;

    explicit GmiiWire(Pins pins) : pins_(pins) {
        for (std::size_t i = 0; i < board::PREAMBLE_BYTES; ++i)
            rx_[i] = board::PREAMBLE;
        rx_[board::PREAMBLE_BYTES] = board::SFD;
    }

    // A frame, or the least gap after it, is being handed to the model.
    bool receiving() const { return rx_at_ < rx_end_; }
    // The model is in the middle of a frame.
    bool sending() const { return sending_; }

    // Where a frame of at most FRAME_BYTES without FCS is put, while nothing is received.
    std::uint8_t *buffer() { return rx_ + BEGIN; }
    // Begins to hand over what was put there; its first byte of preamble is there from now on.
    void start(std::size_t length) {
        std::size_t end = BEGIN + length;
        for (std::uint32_t fcs = fcs::of(buffer(), length), i = 0; i < board::FCS_BYTES; ++i, fcs >>= 8)
            rx_[end++] = static_cast<std::uint8_t>(fcs);
        rx_length_ = end;
        rx_end_ = end + board::GAP_BYTES;
        rx_at_ = 0;
        drive();
    }

    // Before the clock edge: takes what is sent, and gives every frame that ends to
    // `take(bytes, length without FCS, good)`, where a bad one has no FCS, or a wrong one. Tells whether anything moves.
    template <typename Take> bool sample(Take &&take) {
        if (*pins_.tx_en)
            sample_byte();
        else if (sending_) {
            sending_ = false;
            const bool good = !bad_ && tx_length_ > board::FCS_BYTES && fcs::is_right(tx_, tx_length_);
            take(tx_, tx_length_ - (good ? board::FCS_BYTES : 0), good);
        }
        return receiving() || sending_;
    }

    // After the clock edge: the next byte.
    void advance() {
        if (!receiving())
            return;
        ++rx_at_;
        drive();
    }

private:
    static constexpr std::size_t BEGIN = board::PREAMBLE_BYTES + 1;

    void drive() {
        const bool valid = rx_at_ < rx_length_;
        *pins_.rx_dv = valid;
        *pins_.rxd = valid ? rx_[rx_at_] : 0;
    }

    void sample_byte() {
        if (!sending_) {
            sending_ = true;
            in_frame_ = bad_ = false;
            tx_length_ = 0;
        }
        bad_ |= *pins_.tx_er != 0;
        if (!in_frame_)
            in_frame_ = *pins_.txd == board::SFD;
        else if (tx_length_ < sizeof tx_)
            tx_[tx_length_++] = *pins_.txd;
    }

    Pins pins_;
    bool sending_ = false, in_frame_ = false, bad_ = false;
    std::size_t rx_length_ = 0, rx_end_ = 0, rx_at_ = 0, tx_length_ = 0;
    std::uint8_t rx_[BEGIN + FRAME_BYTES + board::FCS_BYTES];
    std::uint8_t tx_[FRAME_BYTES];
};
