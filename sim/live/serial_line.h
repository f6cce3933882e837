// A serial line between the model's UART and a descriptor: eight bits, no parity, one stop bit, bit by bit.
#pragma once

#include <cstdint>
#include <deque>

#include <fcntl.h>
#include <unistd.h>

#include "board_config.h"

class SerialLine {
public:
    // `rxd` is the model's input, `txd` its output. The descriptor becomes non-blocking; bytes that it does not take are
    // lost, as on a line without flow control.
    SerialLine(int fd, std::uint8_t *rxd, const std::uint8_t *txd) : fd_(fd), rxd_(rxd), txd_(txd) {
        *rxd_ = 1;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }

    int fd() const { return fd_; }

    void fetch() {
        std::uint8_t bytes[4096];
        if (waiting_.size() >= sizeof bytes)
            return;
        const ssize_t count = read(fd_, bytes, sizeof bytes);
        if (count > 0)
            waiting_.insert(waiting_.end(), bytes, bytes + count);
    }

    bool sample() {
        receive();
        return left_ || sending_ || !waiting_.empty();
    }

    void advance() {
        if (!sending_) {
            if (waiting_.empty())
                return;
            // A start bit, the byte, low bit first, a stop bit.
            bits_ = static_cast<unsigned>(waiting_.front()) << 1 | 1u << 9;
            waiting_.pop_front();
            sending_ = 10;
            phase_ = 0;
        } else if ((phase_ += board::BITS_PER_CYCLE) >= 1) {
            phase_ -= 1;
            bits_ >>= 1;
            --sending_;
        }
        *rxd_ = sending_ ? bits_ & 1 : 1;
    }

private:
    void receive() {
        const bool level = *txd_;
        if (!left_) {
            if (level)
                return;
            left_ = 10;
            sampled_ = 0;
            until_ = 0.5 / board::BITS_PER_CYCLE;   // the middle of the start bit
        }
        if ((until_ -= 1) > 0)
            return;
        until_ += 1 / board::BITS_PER_CYCLE;
        sampled_ |= static_cast<unsigned>(level) << (10 - left_);
        if (--left_)
            return;
        const std::uint8_t byte = static_cast<std::uint8_t>(sampled_ >> 1);
        if (level)
            lost_ += write(fd_, &byte, 1) != 1;
    }

    int fd_;
    std::uint8_t *rxd_;
    const std::uint8_t *txd_;
    std::deque<std::uint8_t> waiting_;
    std::uint64_t lost_ = 0;
    unsigned bits_ = 0, sending_ = 0, left_ = 0, sampled_ = 0;
    double phase_ = 0, until_ = 0;
};
