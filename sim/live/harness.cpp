// The live board: a Verilated core whose ports are file descriptors.
//
//     board --port 0=fd:3 --port 1=fd:4 --host fd:5 [--stats FILE]
//
// A board's top level has no --host where the host comes by another way, and more options (surroundings.h).
//
// Runs flat out while something moves, and sleeps in epoll_wait while nothing does. SIGUSR1 writes the figures to FILE
// (standard error if there is none), so does the end, by SIGTERM, SIGINT or the loss of every interface. SIGUSR2 resets
// the model.
#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "port.h"
#ifdef BOARD_TRACE
#include "verilated_fst_c.h"
#endif

namespace {

// Cycles without anything moving after which nothing will.
constexpr std::uint64_t QUIET_CYCLES = board::QUIET_CYCLES;
// Cycles between looks at a descriptor that had nothing: a system call costs about as much as a cycle.
constexpr std::uint64_t POLL_CYCLES = 64;
constexpr std::uint64_t SIGNAL_CYCLES = 4096;
// Enough for reset synchronizers.
constexpr int RESET_CYCLES = 16;
// How fast the core takes frames from all data ports together. It was measured to begin a look-up every 11 cycles, the
// deepest ones too, and to move a beat a cycle; the rest is for what the host sends in between.
constexpr std::uint64_t LOOKUP_CYCLES = 16;
std::uint64_t core_cycles(std::uint64_t length) {
    const std::uint64_t beats = (length + board::BEAT_BYTES - 1) / board::BEAT_BYTES;
    return std::max(LOOKUP_CYCLES, beats + beats / 4 + 4);
}
// How fast the host port is: 1 Gb/s, with preamble, start of frame delimiter, FCS and gap around a frame.
std::uint64_t wire_cycles(std::uint64_t length) {
    constexpr std::uint64_t OVERHEAD = board::PREAMBLE_BYTES + 1 + board::FCS_BYTES + board::GAP_BYTES;
    return static_cast<std::uint64_t>(static_cast<double>(length + OVERHEAD) / board::LINE_BYTES_PER_CYCLE) + 1;
}

double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Descriptors from the command line, by port; the host port is the last.
struct Options {
    std::vector<int> fds = std::vector<int>(board::ALL_PORTS, -1);
    std::string stats, trace;

    Options(int argc, char **argv) {
        for (int i = 1; i < argc; i += 2) {
            const std::string name = argv[i];
            if (i + 1 == argc)
                throw std::invalid_argument(name + " needs a value");
            const std::string value = argv[i + 1];
            unsigned port = board::PORTS;
            int fd = -1;
            if (name == "--port" && std::sscanf(value.c_str(), "%u=fd:%d", &port, &fd) == 2 && port < board::PORTS)
                fds[port] = fd;
            else if (board::HAS_HOST && name == "--host" && std::sscanf(value.c_str(), "fd:%d", &fd) == 1)
                fds[board::PORTS] = fd;
            else if (name == "--stats")
                stats = value;
#ifdef BOARD_TRACE
            else if (name == "--trace")
                trace = value;
#endif
            else if (!board::Surroundings::option(name, value))
                throw std::invalid_argument("cannot use " + name + " " + value + "; expected --port N=fd:K with N below "
                                            + std::to_string(board::PORTS) + (board::HAS_HOST ? ", --host fd:K" : "")
                                            + board::Surroundings::usage() + " or --stats FILE");
        }
        for (std::size_t i = 0; i < fds.size(); ++i)
            if (fds[i] < 0)
                throw std::invalid_argument(i < board::PORTS ? "no --port " + std::to_string(i) + "=fd:K" : "no --host fd:K");
    }
};

class Board {
public:
    // `signals` is a signalfd, made before the model: its library starts threads, which must have the same mask.
    Board(const Options &options, int signals)
        : stats_(options.stats), top_((context_.threads(1), &context_)), surroundings_(top_), events_(epoll_create1(EPOLL_CLOEXEC)), signals_(signals) {
        watch(signals_, SIGNAL_EVENT);
#ifdef BOARD_TRACE
        context_.traceEverOn(true);
        if (!options.trace.empty()) {
            top_.trace(&trace_, 99);
            trace_.open(options.trace.c_str());
        }
#endif
        for (const board::Wire::Pins &pins : board::pins(top_)) {
            const std::size_t port = ports_.size();
            ports_.push_back(std::make_unique<Port>(options.fds[port], pins));
            watch(options.fds[port], port);
        }
        if (surroundings_.fd() >= 0)
            watch(surroundings_.fd(), SURROUNDINGS_EVENT);
        reset();
    }

    ~Board() {
        top_.final();
#ifdef BOARD_TRACE
        trace_.close();
#endif
        report();
    }

    Board(const Board &) = delete;

    void run() {
        std::uint64_t moved_at = cycles_;
        while (!stop_) {
            if (cycles_ % POLL_CYCLES == 0 || cycles_ >= fetch_at_)
                fetch();
            if (cycle())
                moved_at = cycles_;
            if (cycles_ % SIGNAL_CYCLES == 0)
                take_signals();
            if (cycles_ - moved_at > QUIET_CYCLES && !waiting_) {
                sleep();
                moved_at = cycles_;
            }
        }
    }

private:
    static constexpr std::uint64_t SIGNAL_EVENT = ~0ull, SURROUNDINGS_EVENT = ~1ull;

    void watch(int fd, std::uint64_t tag) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = tag;
        if (epoll_ctl(events_, EPOLL_CTL_ADD, fd, &event) < 0)
            throw std::runtime_error("cannot wait for descriptor " + std::to_string(fd)
                                     + ": it must be a TAP, a packet socket or a datagram socket");
    }

    // All memories stay as they are.
    void reset() {
        top_.rst = 1;
        for (int i = 0; i < RESET_CYCLES; ++i)
            step();
        top_.rst = 0;
    }

    void clock(std::uint8_t level) {
        board::core_clock(top_, level);
        board::line_clock(top_, level);
        top_.eval();
    }

    // A rising edge and a falling one. No output depends on an input without a register between, so inputs can change
    // with the falling edge, and need no evaluation of their own. With MACs, all clocks run in step.
    void step() {
        clock(1);
        for (auto &port : ports_)
            port->advance();
        surroundings_.advance();
        clock(0);
        ++cycles_;
#ifdef BOARD_TRACE
        if (trace_.isOpen())
            trace_.dump(cycles_);
#endif
    }

    // One clock cycle; tells whether anything moves at the ports or in the core.
    bool cycle() {
        bool moves = board::active(top_);
        for (auto &port : ports_)
            moves |= port->sample();
        moves |= surroundings_.sample();
        step();
        return moves;
    }

    // Takes frames from the descriptors, no faster than the core can: an ingress buffer drops what comes too fast, as
    // it must on a wire, where a descriptor keeps it.
    void fetch() {
        waiting_ = false;
        fetch_at_ = ~0ull;
        for (std::size_t i = 0; i < board::PORTS; ++i)
            fetch_port((first_ + i) % board::PORTS, data_free_at_, core_cycles);
        if (board::HAS_HOST)
            fetch_port(board::PORTS, host_free_at_, wire_cycles);
        surroundings_.fetch();
    }

    void fetch_port(std::size_t index, std::uint64_t &free_at, std::uint64_t (*cycles_of)(std::uint64_t)) {
        auto &port = *ports_[index];
        if (port.receiving() || port.fd.closed())
            return;
        if (cycles_ < free_at) {
            waiting_ = true;
            fetch_at_ = std::min(fetch_at_, free_at);
            return;
        }
        const std::size_t length = port.fetch();
        if (length) {
            free_at = cycles_ + cycles_of(length);
            first_ = index + 1;  // the others go first next time
            fetch_at_ = std::min(fetch_at_, free_at);
        } else if (port.fd.closed()) {
            lose(port.fd.fd());
        }
    }

    void lose(int fd) {
        epoll_ctl(events_, EPOLL_CTL_DEL, fd, nullptr);
        std::fprintf(stderr, "descriptor %d: the interface is gone\n", fd);
        stop_ |= std::all_of(ports_.begin(), ports_.end(), [](auto &port) { return port->fd.closed(); });
    }

    void sleep() {
        busy_ += now() - woken_;
        epoll_event event;
        while (epoll_wait(events_, &event, 1, -1) < 0 && errno == EINTR) {
        }
        woken_ = now();
        fetch_at_ = cycles_;
        take_signals();
    }

    void take_signals() {
        signalfd_siginfo info;
        while (read(signals_, &info, sizeof info) == sizeof info) {
            if (info.ssi_signo == SIGUSR1)
                report();
            else if (info.ssi_signo == SIGUSR2)
                reset();
            else
                stop_ = true;
        }
    }

    void report() const {
        const double busy = busy_ + now() - woken_;
        const std::string next = stats_ + ".new";
        std::FILE *out = stats_.empty() ? stderr : std::fopen(next.c_str(), "w");
        if (!out)
            return;
        std::fprintf(out, "{\"pid\": %d, \"cycles\": %" PRIu64 ", \"busy_seconds\": %.6f, \"cycles_per_second\": %.0f, \"ports\": [",
                     static_cast<int>(getpid()), cycles_, busy, static_cast<double>(cycles_) / busy);
        for (std::size_t i = 0; i < ports_.size(); ++i) {
            const FrameFd &fd = ports_[i]->fd;
            const std::string name = i < board::PORTS ? std::to_string(i) : "\"host\"";
            std::fprintf(out, "%s{\"port\": %s, \"rx_frames\": %" PRIu64 ", \"tx_frames\": %" PRIu64 ", \"tx_dropped\": %" PRIu64 "}",
                         i ? ", " : "", name.c_str(), fd.received, fd.sent, fd.dropped);
        }
        std::fprintf(out, "]}\n");
        if (out == stderr)
            return;
        // Whole or not at all: who reads it does not wait for us.
        if (std::fclose(out) == 0)
            std::rename(next.c_str(), stats_.c_str());
    }

    std::string stats_;
    VerilatedContext context_;
    Vboard top_;
    board::Surroundings surroundings_;
#ifdef BOARD_TRACE
    VerilatedFstC trace_;
#endif
    std::vector<std::unique_ptr<Port>> ports_;
    int events_, signals_;
    std::size_t first_ = 0;
    bool stop_ = false, waiting_ = false;
    std::uint64_t cycles_ = 0, fetch_at_ = 0;
    std::uint64_t data_free_at_ = 0, host_free_at_ = 0;
    double busy_ = 0, woken_ = now();
};

int block_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (int number : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2})
        sigaddset(&signals, number);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGHUP, SIG_IGN);
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

}  // namespace

int main(int argc, char **argv) {
    try {
        Board(Options(argc, argv), block_signals()).run();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "board: %s\n", error.what());
        return 2;
    }
    return 0;
}
