// The tile instructions of Intel's AMX by plain loops, for CPUs without them: included before amx.cpp, they take the
// place of the compiler's. Slow, and obvious: a tile is 16 rows of 64 bytes.

#pragma once

#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <unistd.h>

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define __AMX_BF16__ 1
#define _tile_loadconfig emulated::configure
#define _tile_release emulated::release
#define _tile_zero emulated::zero
#define _tile_loadd emulated::load
#define _tile_stored emulated::store
#define _tile_dpbf16ps emulated::multiply
#define syscall emulated::grant

namespace emulated {

thread_local unsigned char tiles[8][16][64];
thread_local bool is_configured = false;

inline long grant(long, long, long) { return 0; }

inline void release() { is_configured = false; }

// Palette 1; rows of 64 bytes and 16 rows, for all eight.
inline void configure(const void *shape) {
    const auto *bytes = static_cast<const unsigned char *>(shape);
    is_configured = bytes[0] == 1;
    for (int tile = 0; tile < 8; ++tile)
        is_configured = is_configured && bytes[16 + 2 * tile] == 64 && bytes[17 + 2 * tile] == 0 && bytes[48 + tile] == 16;
}

inline void check() {
    if (!is_configured) __builtin_trap();
}

inline void zero(int tile) {
    check();
    std::memset(tiles[tile], 0, sizeof tiles[tile]);
}

inline void load(int tile, const void *from, long stride) {
    check();
    for (int row = 0; row < 16; ++row) std::memcpy(tiles[tile][row], static_cast<const char *>(from) + row * stride, 64);
}

inline void store(int tile, void *to, long stride) {
    check();
    for (int row = 0; row < 16; ++row) std::memcpy(static_cast<char *>(to) + row * stride, tiles[tile][row], 64);
}

inline float number(int tile, int row, int column) {
    std::uint16_t half;
    std::memcpy(&half, tiles[tile][row] + 2 * column, sizeof half);
    const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// sums[m][n] += left[m][2k] right[k][2n] + left[m][2k + 1] right[k][2n + 1]
inline void multiply(int sums, int left, int right) {
    check();
    for (int m = 0; m < 16; ++m)
        for (int n = 0; n < 16; ++n) {
            float sum;
            std::memcpy(&sum, tiles[sums][m] + 4 * n, sizeof sum);
            for (int k = 0; k < 16; ++k)
                for (int i = 0; i < 2; ++i) sum += number(left, m, 2 * k + i) * number(right, k, 2 * n + i);
            std::memcpy(tiles[sums][m] + 4 * n, &sum, sizeof sum);
        }
}

}  // namespace emulated
