// A port at a GMII (IEEE 802.3 clause 35), one byte a cycle each way: what a PHY and its neighbour's MAC do.
#pragma once

#include <cstddef>
#include <cstdint>

#include "board_config.h"
#include "fcs.h"
#include "model_pins.h"
#include "port.h"

class GmiiPort final : public Port {
public:
    GmiiPort(int fd, GmiiPins pins) : Port(fd), pins_(pins) {}

    bool receiving() const override { return rx_at_ < rx_end_; }

    std::size_t fetch() override {
        std::uint8_t *const frame = rx_ + board::PREAMBLE_BYTES + 1;
        const std::size_t length = fd.receive(frame);
        if (!length)
            return 0;
        std::size_t end = 0;
        while (end < board::PREAMBLE_BYTES)
            rx_[end++] = board::PREAMBLE;
        rx_[end++] = board::SFD;
        end += length;
        for (std::uint32_t fcs = fcs::of(frame, length), i = 0; i < board::FCS_BYTES; ++i, fcs >>= 8)
            rx_[end++] = static_cast<std::uint8_t>(fcs);
        rx_length_ = end;
        rx_end_ = end + board::GAP_BYTES;
        rx_at_ = 0;
        drive();
        return length;
    }

    bool sample() override {
        if (*pins_.tx_en) {
            take();
        } else if (sending_) {
            finish();
        }
        return receiving() || sending_;
    }

    void advance() override {
        if (!receiving())
            return;
        ++rx_at_;
        drive();
    }

private:
    void drive() {
        const bool valid = rx_at_ < rx_length_;
        *pins_.rx_dv = valid;
        *pins_.rxd = valid ? rx_[rx_at_] : 0;
    }

    void take() {
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

    void finish() {
        sending_ = false;
        if (!bad_ && tx_length_ > board::FCS_BYTES && fcs::is_right(tx_, tx_length_))
            fd.send(tx_, tx_length_ - board::FCS_BYTES);
        else
            ++fd.dropped;
    }

    GmiiPins pins_;
    bool sending_ = false, in_frame_ = false, bad_ = false;
    std::size_t rx_length_ = 0, rx_end_ = 0, rx_at_ = 0, tx_length_ = 0;
    std::uint8_t rx_[FrameFd::CAPACITY + 64];
    std::uint8_t tx_[FrameFd::CAPACITY];
};
