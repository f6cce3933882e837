// How long a frame may be at a port of the model.
#pragma once

#include <cstddef>

// No core takes or sends a longer one, whatever it is set to.
constexpr std::size_t FRAME_BYTES = 16384;
