// Frame check sequence of IEEE 802.3, 3.2.9.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace fcs {

// CRC-32, not yet complemented, low bit first.
inline std::uint32_t crc(const std::uint8_t *bytes, std::size_t length) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> entries{};
        for (std::uint32_t i = 0; i < entries.size(); ++i) {
            std::uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit)
                value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0u);
            entries[i] = value;
        }
        return entries;
    }();
    std::uint32_t value = ~0u;
    for (std::size_t i = 0; i < length; ++i)
        value = value >> 8 ^ table[(value ^ bytes[i]) & 0xFF];
    return value;
}

// What is sent behind a frame, low byte first.
inline std::uint32_t of(const std::uint8_t *frame, std::size_t length) { return ~crc(frame, length); }

// Whether a frame, FCS included, came through whole.
inline bool is_right(const std::uint8_t *frame, std::size_t length) {
    // What the register holds after any frame with a right FCS.
    constexpr std::uint32_t RESIDUE = 0xDEBB20E3u;
    return crc(frame, length) == RESIDUE;
}

}  // namespace fcs
