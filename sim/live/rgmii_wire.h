// What is at the other end of an RGMII's double data rate boundary at 1000 Mb/s: a byte a cycle each way, a PHY that may
// give back what it is sent, and a neighbour's MAC.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gmii_wire.h"
#include "phy.h"

class RgmiiWire {
public:
    // Where the model keeps the port's signals: of each pair, what belongs to the rising edge is the lower half.
    struct Pins {
        std::uint8_t *rxd, *rx_ctl;
        const std::uint8_t *txd, *tx_ctl;
        const Phy *phy;
    };

    static constexpr double CORE_CYCLES = GmiiWire::CORE_CYCLES;

    explicit RgmiiWire(Pins pins) : pins_(pins), gmii_({&rxd_, &rx_dv_, &txd_, &tx_en_, &tx_er_}) {}
    RgmiiWire(const RgmiiWire &) = delete;

    bool receiving() const { return gmii_.receiving(); }
    bool sending() const { return gmii_.sending(); }
    std::uint8_t *buffer() { return gmii_.buffer(); }

    // Without a link the frame is lost.
    void start(std::size_t length) {
        if (pins_.phy->link())
            gmii_.start(length);
    }

    template <typename Take> bool sample(Take &&take) {
        txd_ = *pins_.txd;
        const bool was_sending = tx_en_ || lost_;
        const bool sends = *pins_.tx_ctl & 1;
        // RGMII codes an error as TX_EN xor TX_ER at the falling edge.
        tx_er_ = (*pins_.tx_ctl ^ *pins_.tx_ctl >> 1) & 1;
        if (sends && !was_sending)
            lost_ = pins_.phy->loss && ++frames_ % pins_.phy->loss == 0;
        else if (!sends)
            lost_ = false;
        tx_en_ = sends && !lost_;
        if (!pins_.phy->loops()) {
            const bool linked = pins_.phy->link();
            return gmii_.sample([&](std::uint8_t *frame, std::size_t length, bool good) {
                if (linked)
                    take(frame, length, good);
            });
        }
        return sends;
    }

    void advance() {
        gmii_.advance();
        if (pins_.phy->loops())
            drive(txd_, tx_en_, tx_er_);
        else
            drive(rxd_, rx_dv_, false);
    }

private:
    // RGMII 2.0, 3.4.1: in-band status between frames: link, 1000 Mb/s, full duplex.
    static constexpr std::uint8_t STATUS = 0xDD;

    void drive(std::uint8_t data, bool valid, bool error) {
        *pins_.rxd = valid ? data : pins_.phy->link() || pins_.phy->loops() ? STATUS : 0;
        *pins_.rx_ctl = static_cast<std::uint8_t>(valid | (valid != error) << 1);
    }

    Pins pins_;
    std::uint8_t rxd_ = 0, rx_dv_ = 0, txd_ = 0, tx_en_ = 0, tx_er_ = 0;
    bool lost_ = false;
    unsigned frames_ = 0;
    GmiiWire gmii_;
};
