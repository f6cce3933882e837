// Where a Verilated model keeps the signals of a port.
#pragma once

#include <cstdint>

struct GmiiPins {
    std::uint8_t *rxd, *rx_dv;
    const std::uint8_t *txd, *tx_en, *tx_er;
};

// A payload is `data`, then one byte with the other fields.
struct StreamPins {
    std::uint8_t *rx_payload, *rx_valid;
    const std::uint8_t *rx_ready;
    const std::uint8_t *tx_payload, *tx_valid;
};
