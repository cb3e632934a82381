// Sixteen numbers at once: float or, by way of float, bfloat16.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

constexpr int LANES = 16;

struct bfloat16 {
    std::uint16_t bits;
};

// Vectors of the compiler's; more lanes than a register has become several registers.
typedef float Numbers __attribute__((vector_size(4 * LANES)));
typedef std::uint32_t Bits __attribute__((vector_size(4 * LANES)));
typedef std::uint16_t HalfBits __attribute__((vector_size(2 * LANES)));

inline Numbers load(const float *from) {
    Numbers numbers;
    std::memcpy(&numbers, from, sizeof numbers);
    return numbers;
}

inline Numbers load(const bfloat16 *from) {
    HalfBits bits;
    std::memcpy(&bits, from, sizeof bits);
    return reinterpret_cast<Numbers>(__builtin_convertvector(bits, Bits) << 16);
}

inline void store(float *to, Numbers numbers) { std::memcpy(to, &numbers, sizeof numbers); }

inline void store(bfloat16 *to, HalfBits bits) { std::memcpy(to, &bits, sizeof bits); }

// Sixteen bfloat16: the nearest, of two as near the even one.
inline HalfBits rounded(Numbers numbers) {
#ifdef __AVX512BF16__
    return reinterpret_cast<HalfBits>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(numbers)));
#else
    const Bits bits = reinterpret_cast<Bits>(numbers), nearest = bits + 0x7fff + (bits >> 16 & 1);
    return __builtin_convertvector((numbers == numbers ? nearest : bits | 1 << 22) >> 16, HalfBits);
#endif
}

inline void store(bfloat16 *to, Numbers numbers) { store(to, rounded(numbers)); }

// Store what will not be read before it has left the cache: where the CPU can, without fetching first what was there.
// Other threads see it after the barrier that ends a loop, whose locked instruction drains such stores.
template <class T, class Lanes>
inline void store_far(T *to, Lanes numbers) {
#ifdef __AVX512F__
    constexpr int PART = sizeof(__m256i);
    if (reinterpret_cast<std::uintptr_t>(to) % PART == 0) {
        alignas(PART) T all[LANES];
        store(all, numbers);
        for (unsigned part = 0; part < sizeof all / PART; ++part)
            _mm256_stream_si256(reinterpret_cast<__m256i *>(to) + part, reinterpret_cast<const __m256i *>(all)[part]);
        return;
    }
#endif
    store(to, numbers);
}

// The first of sixteen only, the others zero.
template <class T>
inline Numbers load(const T *from, long lanes) {
    if (lanes >= LANES) return load(from);
    T all[LANES] = {};
    std::copy(from, from + lanes, all);
    return load(all);
}

template <class T, class Lanes>
inline void store(T *to, Lanes numbers, long lanes) {
    if (lanes >= LANES) return store(to, numbers);
    T all[LANES];
    store(all, numbers);
    std::copy(all, all + lanes, to);
}

template <class T, class Lanes>
inline void store_far(T *to, Lanes numbers, long lanes) {
    lanes >= LANES ? store_far(to, numbers) : store(to, numbers, lanes);
}

// 1 / x for an x that is not infinite, off by 1e-7 of it at most: where there is a quick guess, one step of Newton's
// from it.
inline Numbers reciprocal(Numbers x) {
#ifdef __AVX512F__
    const auto guess = reinterpret_cast<Numbers>(_mm512_rcp14_ps(reinterpret_cast<__m512>(x)));
    return guess * (2 - x * guess);
#else
    return 1 / x;
#endif
}
