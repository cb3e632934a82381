// GELU and its slope, for sixteen numbers.
//
// GELU(x) = x P(x), P the normal distribution's share below x and p its density; the slope is P(x) + x p(x). Both need
// one exponential: P(-|x|) = h(t) exp(-x^2 / 2) with t = 1 / (1 + c |x|) and a polynomial h, off by less than 1e-7
// (Abramowitz and Stegun 1964, 7.1.26). Of bfloat16 there are 65,536 numbers only: where a CPU is quick to gather, they
// are looked up in a table, of which those near zero stay in the first cache.

#pragma once

#include "simd.hpp"

// exp(-u) for u from 0 to 87: a power of two, and Taylor's polynomial between two of them.
inline Numbers exp_of_minus(Numbers u) {
    constexpr float SHIFT = 3 << 22;  // where a float has no room for fractions
    const Numbers power = u * -1.44269504f, shifted = power + SHIFT, rest = power - (shifted - SHIFT);
    Numbers sum = 1.5403530e-4f * rest + 1.3333558e-3f;
    sum = sum * rest + 9.6181291e-3f;
    sum = sum * rest + 5.5504109e-2f;
    sum = sum * rest + 2.4022651e-1f;
    sum = sum * rest + 6.9314718e-1f;
    sum = sum * rest + 1;
    return reinterpret_cast<Numbers>(reinterpret_cast<Bits>(sum) + (reinterpret_cast<Bits>(shifted) << 23));
}

// What GELU is at some numbers, and its slope there.
struct Points {
    Numbers values, slopes;
};

inline Points gelu_at(Numbers x) {
    const Numbers zero = {}, size = x > zero ? x : -x, half_square = size > zero + 13 ? zero + 84.5f : x * x / 2;
    const Numbers bell = exp_of_minus(half_square), finite = size > zero + 1e30f ? zero + 1e30f : size;
    const Numbers t = reciprocal(1 + 0.23164189f * finite);
    const Numbers h = 0.127414796f + t * (-0.142248368f + t * (0.710706871f + t * (-0.726576014f + t * 0.530702715f)));
    const Numbers beyond = t * h * bell, below = x > zero ? 1 - beyond : beyond;
    return {x * below, below + (x > zero ? finite : -finite) * (0.398942280f * bell)};
}

// The same in bfloat16.
struct HalfPoints {
    HalfBits values, slopes;
};

#ifdef __AMX_BF16__  // Intel's, where it was measured to take less time than the arithmetic
// Of every bfloat16 the slope and, in the lower half, the value.
struct GeluTable {
    GeluTable() {
        for (std::uint32_t first = 0; first < SIZE; first += LANES) {
            Bits bits;
            for (int lane = 0; lane < LANES; ++lane) bits[lane] = first + lane;
            const Points points = gelu_at(reinterpret_cast<Numbers>(bits << 16));
            const auto widened = [](Numbers numbers) { return __builtin_convertvector(rounded(numbers), Bits); };
            const Bits both = widened(points.slopes) << 16 | widened(points.values);
            std::memcpy(entries + first, &both, sizeof both);
        }
    }
    static constexpr std::uint32_t SIZE = 1 << 16;
    std::uint32_t entries[SIZE];
};

inline const GeluTable GELU;

inline HalfPoints half_gelu_at(Numbers x) {
    const auto places = reinterpret_cast<__m512i>(__builtin_convertvector(rounded(x), Bits));
    const auto both = reinterpret_cast<Bits>(_mm512_i32gather_epi32(places, GELU.entries, sizeof(std::uint32_t)));
    return {__builtin_convertvector(both, HalfBits), __builtin_convertvector(both >> 16, HalfBits)};
}
#else
inline HalfPoints half_gelu_at(Numbers x) {
    const Points points = gelu_at(x);
    return {rounded(points.values), rounded(points.slopes)};
}
#endif

// Store what GELU is at sixteen numbers, and its slopes there if they are asked for, as `store_far` does.
inline void store_gelu(float *values, float *slopes, Numbers x, long lanes) {
    const Points points = gelu_at(x);
    store_far(values, points.values, lanes);
    if (slopes) store_far(slopes, points.slopes, lanes);
}

inline void store_gelu(bfloat16 *values, bfloat16 *slopes, Numbers x, long lanes) {
    const HalfPoints points = half_gelu_at(x);
    store_far(values, points.values, lanes);
    if (slopes) store_far(slopes, points.slopes, lanes);
}
