// GELU and its derivative (the slope), for 16 numbers at once.
//
// GELU(x) = x P(x), where P is the cumulative distribution function of the standard normal distribution and p its
// density; the slope is P(x) + x p(x). Both need one exponential: P(-|x|) = h(t) exp(-x^2 / 2) with t = 1 / (1 + c |x|)
// and a polynomial h, with an error below 1e-7 (Abramowitz and Stegun 1964, equation 7.1.26).
//
// There are only 65,536 bfloat16 numbers: where the CPU gathers fast, value and slope are looked up in a table,
//
//     entries[bits of x]   | slope, bfloat16 | value, bfloat16 |     32 bits
//
// The entries for x near zero, which are used most, stay in the first-level cache.

#pragma once

#include "simd.hpp"

// exp(-u) for u from 0 to 87: a power of two times a Taylor polynomial.
inline FloatVector exp_of_minus(FloatVector u) {
    constexpr float SHIFT = 3 << 22;  // adding it rounds a float to an integer
    const FloatVector power = u * -1.44269504f, shifted = power + SHIFT, rest = power - (shifted - SHIFT);
    FloatVector sum = 1.5403530e-4f * rest + 1.3333558e-3f;
    sum = sum * rest + 9.6181291e-3f;
    sum = sum * rest + 5.5504109e-2f;
    sum = sum * rest + 2.4022651e-1f;
    sum = sum * rest + 6.9314718e-1f;
    sum = sum * rest + 1;
    return reinterpret_cast<FloatVector>(reinterpret_cast<Uint32Vector>(sum) +
                                         (reinterpret_cast<Uint32Vector>(shifted) << 23));
}

struct GeluAndSlope {
    FloatVector values, slopes;
};

inline GeluAndSlope gelu_and_slope(FloatVector x) {
    const FloatVector zero = {}, size = x > zero ? x : -x, half_square = size > zero + 13 ? zero + 84.5f : x * x / 2;
    const FloatVector bell = exp_of_minus(half_square), finite = size > zero + 1e30f ? zero + 1e30f : size;
    const FloatVector t = reciprocal(1 + 0.23164189f * finite);
    const FloatVector h =
        0.127414796f + t * (-0.142248368f + t * (0.710706871f + t * (-0.726576014f + t * 0.530702715f)));
    const FloatVector tail = t * h * bell, cdf = x > zero ? 1 - tail : tail;
    return {x * cdf, cdf + (x > zero ? finite : -finite) * (0.398942280f * bell)};
}

// The same, rounded to bfloat16.
struct Bfloat16GeluAndSlope {
    Bfloat16Vector values, slopes;
};

#ifdef __AMX_BF16__  // on Intel's CPUs with AMX the table was measured to be faster than the arithmetic
struct GeluTable {
    GeluTable() {
        for (std::uint32_t first = 0; first < SIZE; first += LANES) {
            Uint32Vector bits;
            for (int lane = 0; lane < LANES; ++lane) bits[lane] = first + lane;
            const GeluAndSlope result = gelu_and_slope(reinterpret_cast<FloatVector>(bits << 16));
            const auto widened = [](FloatVector numbers) {
                return __builtin_convertvector(to_bfloat16(numbers), Uint32Vector);
            };
            const Uint32Vector both = widened(result.slopes) << 16 | widened(result.values);
            std::memcpy(entries + first, &both, sizeof both);
        }
    }
    static constexpr std::uint32_t SIZE = 1 << 16;
    std::uint32_t entries[SIZE];
};

inline const GeluTable GELU_TABLE;

inline Bfloat16GeluAndSlope bfloat16_gelu_and_slope(FloatVector x) {
    const auto indices = reinterpret_cast<__m512i>(__builtin_convertvector(to_bfloat16(x), Uint32Vector));
    const auto both =
        reinterpret_cast<Uint32Vector>(_mm512_i32gather_epi32(indices, GELU_TABLE.entries, sizeof(std::uint32_t)));
    return {__builtin_convertvector(both, Bfloat16Vector), __builtin_convertvector(both >> 16, Bfloat16Vector)};
}
#else
inline Bfloat16GeluAndSlope bfloat16_gelu_and_slope(FloatVector x) {
    const GeluAndSlope result = gelu_and_slope(x);
    return {to_bfloat16(result.values), to_bfloat16(result.slopes)};
}
#endif

// Store GELU of 16 numbers, and its slopes unless `slopes` is null.
inline void store_gelu(float *values, float *slopes, FloatVector x, long lanes) {
    const GeluAndSlope result = gelu_and_slope(x);
    store_result(values, result.values, lanes);
    if (slopes) store_result(slopes, result.slopes, lanes);
}

inline void store_gelu(bfloat16 *values, bfloat16 *slopes, FloatVector x, long lanes) {
    const Bfloat16GeluAndSlope result = bfloat16_gelu_and_slope(x);
    store_result(values, result.values, lanes);
    if (slopes) store_result(slopes, result.slopes, lanes);
}
