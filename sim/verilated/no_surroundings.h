// What is around a core: nothing but its ports.
#pragma once

#include <string>

class Vboard;

namespace board {

class Surroundings {
public:
    // Takes an option of the command line; tells whether it is one of these.
    static bool option(const std::string &, const std::string &) { return false; }
    // What more there is to be said about options.
    static const char *usage() { return ""; }

    explicit Surroundings(Vboard &) {}
    // Descriptor to wait for, -1 if there is none.
    int fd() const { return -1; }
    // Looks at the descriptor; as often as the ports look at theirs.
    void fetch() {}
    // Before the clock edge; tells whether anything moves.
    bool sample() { return false; }
    // After the clock edge.
    void advance() {}
};

}  // namespace board
