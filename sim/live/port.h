// A port of the board: moves frames between a descriptor and pins of the model, in step with the clock.
#pragma once

#include <cstddef>

#include "frame_fd.h"

class Port {
public:
    explicit Port(int fd) : fd(fd) {}
    virtual ~Port() = default;

    // A frame is being handed to the model.
    virtual bool receiving() const = 0;
    // Starts to hand the next frame to the model; gives its length, 0 if there is none.
    virtual std::size_t fetch() = 0;
    // Before the clock edge: takes what is sent. Tells whether anything moves.
    virtual bool sample() = 0;
    // After the clock edge: sets what is received.
    virtual void advance() = 0;

    FrameFd fd;
};
