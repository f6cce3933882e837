// What the bench is to do, as polyrouter/sim/dataplane/script.py writes it; little-endian.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

using Bytes = std::vector<std::uint8_t>;

// What may become of a frame: it leaves by `port`, and `head` takes the place of its first `replaced` bytes.
struct Outcome {
    std::uint8_t port;
    std::uint16_t replaced;
    Bytes head;
};

// A frame for a data port; or for the host port, with its header, to be injected. Its serial number, the place in the list, is in its last four bytes. Without outcomes it must
// not come out.
struct Frame {
    std::uint8_t port;
    std::uint64_t at;       // not before this cycle of the phase
    Bytes bytes;
    std::vector<Outcome> outcomes;
};

// A REQUEST for the host port.
struct Request {
    std::uint64_t at;
    std::uint32_t sequence;
    Bytes bytes;
};

struct Phase {
    std::vector<Frame> frames;
    std::vector<Request> requests;
    std::uint64_t drain;                // cycles without anything after which what is missing is lost
    std::uint64_t slowest, fastest;     // intervals to be searched between, in 1/16 cycles, or zero
    std::uint64_t slack;                // cycles that the last frame may leave later than at the slowest one
};

class Script {
public:
    explicit Script(const std::string &name) {
        std::FILE *file = std::fopen(name.c_str(), "rb");
        if (!file)
            throw std::runtime_error("cannot read " + name);
        std::uint8_t buffer[1 << 16];
        for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, file));)
            data_.insert(data_.end(), buffer, buffer + n);
        std::fclose(file);
    }

    bool more() const { return at_ < data_.size(); }

    Phase phase() {
        Phase phase;
        phase.drain = take<std::uint64_t>();
        phase.slowest = take<std::uint64_t>();
        phase.fastest = take<std::uint64_t>();
        phase.slack = take<std::uint64_t>();
        phase.frames.resize(take<std::uint32_t>());
        for (Frame &frame : phase.frames) {
            frame.port = take<std::uint8_t>();
            frame.at = take<std::uint64_t>();
            frame.bytes = bytes();
            frame.outcomes.resize(take<std::uint8_t>());
            for (Outcome &outcome : frame.outcomes) {
                outcome.port = take<std::uint8_t>();
                outcome.replaced = take<std::uint16_t>();
                outcome.head = bytes();
            }
        }
        phase.requests.resize(take<std::uint32_t>());
        for (Request &request : phase.requests) {
            request.at = take<std::uint64_t>();
            request.sequence = take<std::uint32_t>();
            request.bytes = bytes();
        }
        return phase;
    }

private:
    const std::uint8_t *need(std::size_t count) {
        if (data_.size() - at_ < count)
            throw std::runtime_error("the script is cut short");
        at_ += count;
        return &data_[at_ - count];
    }

    template <typename T> T take() {
        T value;
        std::memcpy(&value, need(sizeof value), sizeof value);
        return value;
    }

    Bytes bytes() {
        const auto length = take<std::uint16_t>();
        const std::uint8_t *from = need(length);
        return Bytes(from, from + length);
    }

    Bytes data_;
    std::size_t at_ = 0;
};
