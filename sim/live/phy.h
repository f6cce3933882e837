// A gigabit PHY as its station sees it: registers of IEEE 802.3 clause 22, a partner that offers 1000 Mb/s, loop-back.
#pragma once

#include <cstdint>
#include <map>
#include <string>

class Phy {
public:
    Phy(unsigned bus, unsigned address, std::uint32_t identifier) : bus(bus), address(address), identifier_(identifier) {}

    const unsigned bus, address;
    // Every such frame that the board sends is lost; 0: none is.
    unsigned loss = 0;

    // A fault by its name; tells whether there is such a one.
    bool option(const std::string &name) {
        if (name == "absent")
            absent_ = true;
        else if (name == "wrong-id")
            identifier_ ^= 0x400;
        else if (name == "no-link")
            partner_ = false;
        else if (name == "no-loopback")
            can_loop_ = false;
        else
            return false;
        return true;
    }

    bool absent() const { return absent_; }
    // It gives back what it is sent, and is deaf to the line (22.2.4.1.2).
    bool loops() const { return (control_ & LOOPBACK) && can_loop_; }
    bool link() const { return partner_ && !(control_ & (LOOPBACK | POWER_DOWN | ISOLATE)); }

    void reset() {
        control_ = NEGOTIATE | FULL_DUPLEX | GIGABIT;
        others_.clear();
        page_ = 0;
    }

    std::uint16_t read(unsigned number) const {
        if (number == PAGE)
            return page_;
        if (page_)
            return other(number);
        switch (number) {
        case 0: return control_;
        case 1: return static_cast<std::uint16_t>(0x7949 | (link() ? 0x24 : 0));  // 22.2.4.2
        case 2: return static_cast<std::uint16_t>(identifier_ >> 16);
        case 3: return static_cast<std::uint16_t>(identifier_);
        case 5: return link() ? 0x4001 : 0;     // 28.2.4.1: it acknowledges, and has neither 10 nor 100 Mb/s
        case 10: return link() ? 0x0800 : 0;    // 40.5.1.1: 1000 Mb/s at full duplex
        case 15: return 0x3000;
        default: return other(number);
        }
    }

    void write(unsigned number, std::uint16_t value) {
        if (number == PAGE)
            page_ = value;
        else if (page_ || (number > 10 && number != 15) || number == 4 || number == 9)
            others_[static_cast<unsigned>(page_) << 5 | number] = value;
        else if (number == 0 && (value & RESET))
            control_ = NEGOTIATE | FULL_DUPLEX | GIGABIT;
        else if (number == 0)
            control_ = value & static_cast<std::uint16_t>(~RESTART);
    }

private:
    static constexpr unsigned PAGE = 22;
    static constexpr std::uint16_t RESET = 1 << 15, LOOPBACK = 1 << 14, NEGOTIATE = 1 << 12, POWER_DOWN = 1 << 11,
                                   ISOLATE = 1 << 10, RESTART = 1 << 9, FULL_DUPLEX = 1 << 8, GIGABIT = 1 << 6;

    std::uint16_t other(unsigned number) const {
        const auto found = others_.find(static_cast<unsigned>(page_) << 5 | number);
        return found == others_.end() ? 0 : found->second;
    }

    std::uint32_t identifier_;
    bool absent_ = false, partner_ = true, can_loop_ = true;
    std::uint16_t control_ = NEGOTIATE | FULL_DUPLEX | GIGABIT, page_ = 0;
    std::map<unsigned, std::uint16_t> others_;
};
