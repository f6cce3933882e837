// The data-plane bench: a Verilated core, driven cycle by cycle as a script says.
//
//     board SCRIPT
//
// Every phase of the script gives one line of JSON on standard output: what became of each of its frames and requests,
// and when. Cycles are those of the lines: of the GMIIs, or of the core where the ports are frame streams.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "host_frames.h"
#include "line.h"
#include "script.h"

namespace {

// Enough for reset synchronizers.
constexpr int RESET_CYCLES = 32;
// Requests that the host has under way at a time.
constexpr std::size_t WINDOW = 2;
// Cycles that an answer may take, FENCEs and a busy core included.
constexpr std::uint64_t PATIENCE = 1000000;
// Parts of a cycle in which intervals between frames are given.
constexpr std::uint64_t PARTS = 16;
constexpr std::uint64_t NEVER = ~0ull;

// Or the number of the outcome, from 1. LOST is also a frame that must not come out, and does not.
enum Fate : int { LOST = 0, CORRUPTED = -1, MISDELIVERED = -2 };

struct Record {
    int fate;
    std::uint64_t in, out;
};

struct Totals {
    std::uint64_t received, duplicated, bad_fcs, unknown, punted, lost, wrong, last_due, last_in, last_out, cycles;
};

class Bench {
public:
    Bench() : top_((context_.threads(1), &context_)) {
        for (const board::Wire::Pins &pins : board::pins(top_))
            lines_.push_back(std::make_unique<Line>(pins));
        top_.rst = 1;
        for (int i = 0; i < RESET_CYCLES; ++i)
            step();
        top_.rst = 0;
        for (int i = 0; i < RESET_CYCLES; ++i)
            step();
    }

    ~Bench() { top_.final(); }
    Bench(const Bench &) = delete;

    void run(const Phase &phase) {
        phase_ = &phase;
        if (!phase.slowest) {
            pass(0);
            report(0);
            return;
        }
        // The shortest interval at which everything comes through, and as soon after it was due as at the longest: else a
        // queue grew all the while.
        pass(phase.slowest);
        const std::uint64_t usual = totals_.last_out - totals_.last_due;
        std::uint64_t good = 0, low = phase.fastest, high = phase.slowest;
        while (low <= high) {
            const std::uint64_t middle = (low + high) / 2;
            pass(middle);
            if (!totals_.lost && !totals_.wrong && totals_.last_out <= totals_.last_due + usual + phase.slack) {
                good = middle;
                high = middle - 1;
            } else {
                low = middle + 1;
            }
        }
        if (good)
            pass(good);
        report(good);
    }

private:
    // One cycle of the lines, and so many of the core as belong to it. No output depends on an input without a register
    // between, so inputs change with the falling edge, and need no evaluation of their own.
    void step() {
        if constexpr (board::Wire::CORE_CYCLES == 1.0) {
            board::core_clock(top_, 1);
            board::line_clock(top_, 1);
            top_.eval();
            for (auto &line : lines_)
                line->advance();
            begin_frames();
            board::core_clock(top_, 0);
            board::line_clock(top_, 0);
            top_.eval();
        } else {
            for (due_ += board::Wire::CORE_CYCLES; due_ >= 1.0; due_ -= 1.0)
                for (std::uint8_t level : {1, 0}) {
                    board::core_clock(top_, level);
                    top_.eval();
                }
            board::line_clock(top_, 1);
            top_.eval();
            for (auto &line : lines_)
                line->advance();
            begin_frames();
            board::line_clock(top_, 0);
            top_.eval();
        }
        ++cycle_;
    }

    // A byte that is set after the edge of cycle c is there in cycle c + 1, which is when the model takes it.
    void begin_frames() {
        if (!phase_)
            return;
        const std::uint64_t now = cycle_ + 1 - began_;
        for (std::size_t port = 0; port <= board::PORTS; ++port) {
            Line &line = *lines_[port];
            std::vector<std::uint32_t> &queue = queues_[port];
            std::size_t &next = next_[port];
            if (next == queue.size() || line.busy())
                continue;
            const std::uint32_t serial = queue[next];
            const Frame &frame = phase_->frames[serial];
            // Ports take turns within an interval.
            const std::uint64_t at = interval_ ? (interval_ * next + interval_ * port / board::PORTS) / PARTS : frame.at;
            if (now < at)
                continue;
            line.start(frame.bytes.data(), frame.bytes.size());
            records_[serial].in = now;
            totals_.last_due = at;
            totals_.last_in = moved_ = now;
            ++next;
            --unsent_;
        }
        Line &host = *lines_[board::PORTS];
        if (asked_ < phase_->requests.size() && asked_ - answered_ < WINDOW && !host.busy()
            && now >= phase_->requests[asked_].at) {
            const Request &request = phase_->requests[asked_];
            host.start(request.bytes.data(), request.bytes.size());
            asked_at_[asked_++] = moved_ = now;
        }
    }

    void pass(std::uint64_t interval) {
        const Phase &phase = *phase_;
        interval_ = interval;
        records_.assign(phase.frames.size(), Record{LOST, NEVER, 0});
        asked_at_.assign(phase.requests.size(), 0);
        answered_at_.assign(phase.requests.size(), 0);
        queues_.assign(board::PORTS + 1, {});
        next_.assign(board::PORTS + 1, 0);
        for (std::uint32_t serial = 0; serial < phase.frames.size(); ++serial)
            queues_.at(phase.frames[serial].port).push_back(serial);
        punts_ = std::any_of(phase.frames.begin(), phase.frames.end(), is_punted);
        unsent_ = phase.frames.size();
        unreceived_ = std::count_if(phase.frames.begin(), phase.frames.end(), is_awaited);
        asked_ = answered_ = 0;
        read_.clear();
        totals_ = {};
        began_ = cycle_;
        moved_ = 0;
        const auto now = [this] { return cycle_ - began_; };
        while (true) {
            for (std::size_t port = 0; port < lines_.size(); ++port)
                lines_[port]->sample(now(), [this, port](const Received &frame) { take(port, frame); });
            step();
            const bool waiting = answered_ < phase.requests.size();
            if (waiting && asked_ > answered_ && now() > asked_at_[answered_] + PATIENCE)
                throw std::runtime_error("request " + std::to_string(answered_) + " of "
                                         + std::to_string(phase.requests.size()) + " was not answered");
            // A little longer than everything takes, for what should not come.
            if (!unsent_ && !waiting && now() > moved_ + (unreceived_ ? phase.drain : std::min<std::uint64_t>(phase.drain, 1024)))
                break;
        }
        totals_.cycles = now();
        for (std::size_t serial = 0; serial < records_.size(); ++serial) {
            totals_.lost += records_[serial].fate == LOST && is_awaited(phase.frames[serial]);
            totals_.wrong += records_[serial].fate < 0;
        }
        totals_.wrong += totals_.duplicated + totals_.bad_fcs + totals_.unknown;
    }

    void take(std::size_t port, const Received &frame) {
        if (!phase_)
            return;
        const std::uint64_t now = cycle_ - began_;
        moved_ = now;
        if (!frame.good) {
            ++totals_.bad_fcs;
            return;
        }
        if (port == board::PORTS)
            return take_host(frame);
        take_frame(port, frame);
    }

    void take_frame(std::size_t port, const Received &frame) {
        ++totals_.received;
        std::uint32_t serial = 0;
        if (frame.length >= sizeof serial)
            std::memcpy(&serial, frame.bytes + frame.length - sizeof serial, sizeof serial);
        if (frame.length < sizeof serial || serial >= records_.size() || records_[serial].in == NEVER) {
            ++totals_.unknown;
            return;
        }
        Record &record = records_[serial];
        if (record.fate != LOST) {
            ++totals_.duplicated;
            return;
        }
        unreceived_ -= is_awaited(phase_->frames[serial]);
        record.fate = judge(phase_->frames[serial], port, frame);
        record.out = frame.began;
        totals_.last_out = std::max(totals_.last_out, frame.began);
    }

    static bool is_awaited(const Frame &frame) { return !frame.outcomes.empty(); }

    static bool is_punted(const Frame &frame) {
        return std::any_of(frame.outcomes.begin(), frame.outcomes.end(),
                           [](const Outcome &outcome) { return outcome.port == board::PORTS; });
    }

    static int judge(const Frame &sent, std::size_t port, const Received &frame) {
        bool right_port = false;
        for (std::size_t i = 0; i < sent.outcomes.size(); ++i) {
            const Outcome &outcome = sent.outcomes[i];
            if (outcome.port != port)
                continue;
            right_port = true;
            const std::size_t head = outcome.head.size();
            if (frame.length == sent.bytes.size() - outcome.replaced + head
                && std::equal(outcome.head.begin(), outcome.head.end(), frame.bytes)
                && std::equal(frame.bytes + head, frame.bytes + frame.length, sent.bytes.begin() + outcome.replaced))
                return static_cast<int>(i) + 1;
        }
        return right_port ? CORRUPTED : MISDELIVERED;
    }

    void take_host(const Received &frame) {
        if (frame.length >= host::HEADER_BYTES && frame.bytes[host::TYPE_AT] == host::PUNT && punts_)
            return take_punt(frame);
        if (frame.length < host::HEADER_BYTES || frame.bytes[host::TYPE_AT] != host::RESPONSE) {
            ++totals_.punted;
            return;
        }
        std::uint32_t sequence;
        std::memcpy(&sequence, frame.bytes + host::SEQUENCE_AT, sizeof sequence);
        if (answered_ == asked_ || sequence != phase_->requests[answered_].sequence)
            throw std::runtime_error("the answer " + std::to_string(sequence) + " belongs to no request");
        const std::string which = "request " + std::to_string(answered_) + " of " + std::to_string(phase_->requests.size());
        if (frame.bytes[host::REASON_AT] != host::OK)
            throw std::runtime_error(which + " was out of sequence");
        const std::size_t length = std::min(frame.length, phase_->requests[answered_].bytes.size());
        for (std::size_t at = host::HEADER_BYTES; at + host::OP_BYTES <= length; at += host::OP_BYTES) {
            const std::uint8_t *const op = frame.bytes + at;
            if (const int status = op[host::STATUS_AT] >> host::STATUS_SHIFT & host::STATUS_MASK)
                throw std::runtime_error(which + ": access " + std::to_string((at - host::HEADER_BYTES) / host::OP_BYTES)
                                         + " was refused with status " + std::to_string(status));
            if ((op[host::OPCODE_AT] >> host::OPCODE_SHIFT & host::OPCODE_MASK) == host::READ) {
                std::uint64_t value;
                std::memcpy(&value, op + host::DATA_AT, sizeof value);
                read_.push_back(value);
            }
        }
        answered_at_[answered_++] = cycle_ - began_;
    }

    // Without its header, and without what pads a short frame.
    void take_punt(Received frame) {
        std::uint16_t length;
        std::memcpy(&length, frame.bytes + host::LENGTH_AT, sizeof length);
        frame.length = std::min<std::size_t>(length, frame.length - host::HEADER_BYTES);
        frame.bytes += host::HEADER_BYTES;
        take_frame(board::PORTS, frame);
    }

    void report(std::uint64_t interval) {
        const Totals &t = totals_;
        std::printf("{\"interval\": %" PRIu64 ", \"cycles\": %" PRIu64 ", \"received\": %" PRIu64 ", \"lost\": %" PRIu64
                    ", \"wrong\": %" PRIu64 ", \"duplicated\": %" PRIu64 ", \"bad_fcs\": %" PRIu64 ", \"unknown\": %" PRIu64
                    ", \"punted\": %" PRIu64 ", \"last_in\": %" PRIu64 ", \"last_out\": %" PRIu64 ", \"frames\": [",
                    interval, t.cycles, t.received, t.lost, t.wrong, t.duplicated, t.bad_fcs, t.unknown, t.punted, t.last_in,
                    t.last_out);
        for (std::size_t i = 0; i < records_.size(); ++i)
            std::printf("%s[%d,%" PRIu64 ",%" PRIu64 "]", i ? "," : "", records_[i].fate, records_[i].in, records_[i].out);
        std::printf("], \"requests\": [");
        for (std::size_t i = 0; i < asked_at_.size(); ++i)
            std::printf("%s[%" PRIu64 ",%" PRIu64 "]", i ? "," : "", asked_at_[i], answered_at_[i]);
        std::printf("], \"reads\": [");
        for (std::size_t i = 0; i < read_.size(); ++i)
            std::printf("%s%" PRIu64, i ? "," : "", read_[i]);
        std::printf("]}\n");
        std::fflush(stdout);
    }

    VerilatedContext context_;
    Vboard top_;
    std::vector<std::unique_ptr<Line>> lines_;
    const Phase *phase_ = nullptr;
    std::vector<Record> records_;
    std::vector<std::uint64_t> asked_at_, answered_at_, read_;
    std::vector<std::vector<std::uint32_t>> queues_;
    std::vector<std::size_t> next_;
    bool punts_ = false;        // some frames of this phase are to be punted
    std::size_t unsent_ = 0, unreceived_ = 0, asked_ = 0, answered_ = 0;
    Totals totals_{};
    std::uint64_t cycle_ = 0, began_ = 0, moved_ = 0, interval_ = 0;
    double due_ = 0;
};

}  // namespace

int main(int argc, char **argv) {
    try {
        if (argc != 2)
            throw std::runtime_error("usage: board SCRIPT");
        Script script(argv[1]);
        const auto bench = std::make_unique<Bench>();
        while (script.more())
            bench->run(script.phase());
    } catch (const std::exception &error) {
        std::fprintf(stderr, "board: %s\n", error.what());
        return 2;
    }
    return 0;
}
