// A file descriptor that carries one Ethernet frame a read or write: TAP, packet socket or datagram-like Unix socket.
#pragma once

#include <cstddef>
#include <cstdint>

class FrameFd {
public:
    // Longest frame that is looked at; what is beyond it is longer than any core takes.
    static constexpr std::size_t CAPACITY = 10240;
    // Shortest frame on the wire, without FCS: a MAC pads up to it (IEEE 802.3, 4.2.3.3).
    static constexpr std::size_t MIN_FRAME = 60;

    // Takes over the descriptor and makes it non-blocking.
    explicit FrameFd(int fd);

    // Reads a frame into `buffer` of at least CAPACITY bytes, padded with zeros to MIN_FRAME; 0 if there is none now.
    std::size_t receive(std::uint8_t *buffer);
    // Writes a frame, padded in place to MIN_FRAME; one that the other side can't take now is lost, as on a wire.
    void send(std::uint8_t *buffer, std::size_t length);

    int fd() const { return fd_; }
    // The interface or the socket's other end is gone for good.
    bool closed() const { return closed_; }

    std::uint64_t received = 0;
    std::uint64_t sent = 0;
    std::uint64_t dropped = 0;

private:
    bool gone() const;

    int fd_;
    bool closed_ = false;
};
