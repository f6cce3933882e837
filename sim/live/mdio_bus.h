// An MDIO bus with its PHYs: management frames of IEEE 802.3 clause 22, looked at in each cycle.
#pragma once

#include <cstdint>
#include <vector>

#include "phy.h"

class MdioBus {
public:
    // Where the model keeps the bus' signals, and the number of the bus.
    struct Pins {
        unsigned bus;
        const std::uint8_t *mdc, *o, *oe, *reset;
        std::uint8_t *i;
    };

    template <typename Phys> MdioBus(Pins pins, Phys &phys) : pins_(pins) {
        for (Phy &phy : phys)
            if (phy.bus == pins.bus && !phy.absent())
                phys_.push_back(&phy);
    }

    // Before the clock edge: what the station does.
    void sample() {
        if (*pins_.reset)
            for (Phy *phy : phys_)
                phy->reset();
        const bool mdc = *pins_.mdc;
        if (mdc && !mdc_)
            rise(*pins_.oe ? *pins_.o : level_);
        mdc_ = mdc;
    }

    // After the clock edge: MDIO as the station sees it; nobody drives what the pull-up makes high.
    void advance() { *pins_.i = *pins_.oe ? *pins_.o : level_; }

private:
    // 22.2.4.5: preamble, start and operation, addresses, turnaround, data; positions of bits after the preamble.
    static constexpr unsigned PREAMBLE = 32, HEADER = 14, TURNAROUND = 16, FRAME = 32;

    void rise(unsigned bit) {
        level_ = 1;
        if (!in_frame_) {
            // A frame begins with a zero after at least 32 ones.
            in_frame_ = !bit && ones_ >= PREAMBLE;
            ones_ = bit ? ones_ + 1 : 0;
            count_ = 1;
            word_ = 0;
            phy_ = nullptr;
            return;
        }
        word_ = word_ << 1 | bit;
        ++count_;
        if (count_ == HEADER)
            begin();
        // What the PHY drives until the next edge: a zero as the second bit of the turnaround, then the data.
        if (phy_ && reads_ && count_ >= TURNAROUND - 1 && count_ < FRAME)
            level_ = count_ == TURNAROUND - 1 ? 0 : data_ >> (FRAME - 1 - count_) & 1;
        if (count_ == FRAME) {
            if (phy_ && !reads_)
                phy_->write(number_, static_cast<std::uint16_t>(word_));
            in_frame_ = false;
            ones_ = 0;
        }
    }

    void begin() {
        const unsigned operation = word_ >> 10 & 3, address = word_ >> 5 & 31;
        number_ = word_ & 31;
        if (operation != 1 && operation != 2)
            return;
        reads_ = operation == 2;
        for (Phy *phy : phys_)
            if (phy->address == address)
                phy_ = phy;
        if (phy_ && reads_)
            data_ = phy_->read(number_);
    }

    Pins pins_;
    std::vector<Phy *> phys_;
    Phy *phy_ = nullptr;
    bool mdc_ = false, in_frame_ = false, reads_ = false;
    std::uint8_t level_ = 1;
    unsigned ones_ = 0, count_ = 0, number_ = 0, data_ = 0;
    std::uint32_t word_ = 0;
};
