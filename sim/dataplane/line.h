// A port as the bench sees it: hands frames to the model and takes those that it sends, in step with the clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "board_config.h"
#include "fcs.h"
#include "model_pins.h"

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
    // No frame is longer than this, whatever the core is set to.
    static constexpr std::size_t CAPACITY = 16384;

    virtual ~Line() = default;

    // A frame, or the gap after it, is still being handed to the model.
    virtual bool busy() const = 0;
    // Begins to hand over a frame; its first byte is there from now on.
    virtual void start(const std::uint8_t *frame, std::size_t length) = 0;
    // Before the clock edge: takes what the model shows in this cycle.
    virtual void sample(std::uint64_t cycle) = 0;
    // After the clock edge: the next byte or beat.
    virtual void advance() = 0;

    std::function<void(const Received &)> on_frame;
};

// GMII (IEEE 802.3 clause 35): a byte a cycle, preamble before and FCS and the least gap behind every frame.
class GmiiLine final : public Line {
public:
    explicit GmiiLine(GmiiPins pins) : pins_(pins), rx_(CAPACITY + 64) {}

    bool busy() const override { return rx_at_ < rx_end_; }

    void start(const std::uint8_t *frame, std::size_t length) override {
        std::size_t end = 0;
        while (end < board::PREAMBLE_BYTES)
            rx_[end++] = board::PREAMBLE;
        rx_[end++] = board::SFD;
        std::memcpy(&rx_[end], frame, length);
        end += length;
        for (std::uint32_t fcs = fcs::of(frame, length), i = 0; i < board::FCS_BYTES; ++i, fcs >>= 8)
            rx_[end++] = static_cast<std::uint8_t>(fcs);
        rx_length_ = end;
        rx_end_ = end + board::GAP_BYTES;
        rx_at_ = 0;
        drive();
    }

    void sample(std::uint64_t cycle) override {
        if (*pins_.tx_en) {
            if (!sending_) {
                sending_ = true;
                in_frame_ = bad_ = false;
                began_ = cycle;
                tx_.clear();
            }
            bad_ |= *pins_.tx_er != 0;
            if (!in_frame_)
                in_frame_ = *pins_.txd == board::SFD;
            else if (tx_.size() < CAPACITY)
                tx_.push_back(*pins_.txd);
        } else if (sending_) {
            sending_ = false;
            const bool good = !bad_ && tx_.size() > board::FCS_BYTES && fcs::is_right(tx_.data(), tx_.size());
            on_frame({tx_.data(), tx_.size() - (good ? board::FCS_BYTES : 0), began_, good});
        }
    }

    void advance() override {
        if (!busy())
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

    GmiiPins pins_;
    bool sending_ = false, in_frame_ = false, bad_ = false;
    std::uint64_t began_ = 0;
    std::size_t rx_length_ = 0, rx_end_ = 0, rx_at_ = 0;
    std::vector<std::uint8_t> rx_, tx_;
};

// The core's frame-stream boundary: a beat a cycle as long as the core takes it; what it sends is always taken.
class StreamLine final : public Line {
public:
    explicit StreamLine(StreamPins pins) : pins_(pins), rx_(CAPACITY + board::BEAT_BYTES) {}

    bool busy() const override { return rx_length_ != 0; }

    void start(const std::uint8_t *frame, std::size_t length) override {
        std::memcpy(rx_.data(), frame, length);
        rx_length_ = length;
        rx_at_ = 0;
        drive();
    }

    void sample(std::uint64_t cycle) override {
        accepted_ = rx_length_ && *pins_.rx_ready;
        if (!*pins_.tx_valid)
            return;
        if (tx_.empty())
            began_ = cycle;
        if (tx_.size() < CAPACITY)
            tx_.insert(tx_.end(), pins_.tx_payload, pins_.tx_payload + board::BEAT_BYTES);
        const unsigned fields = pins_.tx_payload[board::BEAT_BYTES];
        if (fields >> board::LAST_SHIFT & 1) {
            on_frame({tx_.data(), tx_.size() - (fields >> board::EMPTY_SHIFT & (board::BEAT_BYTES - 1)), began_, true});
            tx_.clear();
        }
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
        std::memcpy(pins_.rx_payload, &rx_[rx_at_], board::BEAT_BYTES);
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
    std::uint64_t began_ = 0;
    std::size_t rx_length_ = 0, rx_at_ = 0;
    std::vector<std::uint8_t> rx_, tx_;
};
