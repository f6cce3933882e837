#include "frame_fd.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

FrameFd::FrameFd(int fd) : fd_(fd) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        throw std::system_error(errno, std::generic_category(), "descriptor " + std::to_string(fd));
    // A packet socket also sees what the kernel sends on the interface, which never arrived from the wire. On any
    // other descriptor this fails, and need not succeed.
    const int one = 1;
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
}

bool FrameFd::gone() const {
    pollfd state{fd_, POLLIN, 0};
    return poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR | POLLNVAL));
}

std::size_t FrameFd::receive(std::uint8_t *buffer) {
    if (closed_)
        return 0;
    const ssize_t length = read(fd_, buffer, CAPACITY);
    if (length <= 0) {
        // An interface that is down may come up again; one that was deleted does not.
        if (length == 0 || errno != EAGAIN)
            closed_ = gone();
        return 0;
    }
    ++received;
    const std::size_t size = static_cast<std::size_t>(length);
    if (size >= MIN_FRAME)
        return size;
    std::memset(buffer + size, 0, MIN_FRAME - size);
    return MIN_FRAME;
}

void FrameFd::send(std::uint8_t *buffer, std::size_t length) {
    if (length < MIN_FRAME) {
        std::memset(buffer + length, 0, MIN_FRAME - length);
        length = MIN_FRAME;
    }
    if (!closed_ && write(fd_, buffer, length) == static_cast<ssize_t>(length))
        ++sent;
    else
        ++dropped;
}
