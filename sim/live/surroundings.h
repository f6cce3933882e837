// What is around a board's top level: PHYs on their MDIO buses, a serial line, and a source of entropy.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "mdio_bus.h"
#include "serial_line.h"

namespace board {

// Where the model has what is around it; pointers are null where there is none.
struct SurroundingPins {
    std::vector<MdioBus::Pins> mdio;
    std::uint8_t *uart_rxd = nullptr;
    const std::uint8_t *uart_txd = nullptr;
    std::uint8_t *entropy = nullptr;
};

// From the generated header.
inline SurroundingPins surrounding_pins(Vboard &top);

class Surroundings {
public:
    static bool option(const std::string &name, const std::string &value) {
        unsigned port = 0, number = 0;
        int fd = -1, end = 0;
        if (name == "--uart" && std::sscanf(value.c_str(), "fd:%d", &fd) == 1) {
            options().uart = fd;
        } else if (name == "--loss" && std::sscanf(value.c_str(), "%u=%u", &port, &number) == 2 && port < PHYS && number) {
            phys()[port].loss = number;
        } else if (name == "--phy" && std::sscanf(value.c_str(), "%u=%n", &port, &end) == 1 && end && port < PHYS) {
            return phys()[port].option(value.substr(static_cast<std::size_t>(end)));
        } else if (name == "--entropy" && (value == "noise" || value == "stuck")) {
            options().stuck = value == "stuck";
        } else {
            return false;
        }
        return true;
    }
    static const char *usage() {
        return ", --uart fd:K, --loss N=EVERY, --phy N=absent, wrong-id, no-link or no-loopback, --entropy noise or stuck";
    }

    explicit Surroundings(Vboard &top) : pins_(surrounding_pins(top)) {
        for (const MdioBus::Pins &pins : pins_.mdio)
            buses_.emplace_back(pins, phys());
        if (!pins_.uart_rxd)
            return;
        if (options().uart < 0)
            throw std::invalid_argument("no --uart fd:K");
        line_ = std::make_unique<SerialLine>(options().uart, pins_.uart_rxd, pins_.uart_txd);
    }

    int fd() const { return line_ ? line_->fd() : -1; }

    void fetch() {
        if (line_)
            line_->fetch();
    }

    bool sample() {
        for (MdioBus &bus : buses_)
            bus.sample();
        return line_ && line_->sample();
    }

    void advance() {
        for (MdioBus &bus : buses_)
            bus.advance();
        if (line_)
            line_->advance();
        if (pins_.entropy && !options().stuck)
            *pins_.entropy = static_cast<std::uint8_t>(random_() >> 17 & 1);
    }

private:
    struct Options {
        int uart = -1;
        bool stuck = false;
    };
    static Options &options() {
        static Options options;
        return options;
    }

    SurroundingPins pins_;
    std::vector<MdioBus> buses_;
    std::unique_ptr<SerialLine> line_;
    std::minstd_rand random_{std::random_device{}()};
};

}  // namespace board
