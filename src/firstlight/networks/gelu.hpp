// GELU and its slope, for sixteen numbers.
//
// GELU(x) = x P(x), P the normal distribution's share below x and p its density; the slope is P(x) + x p(x). Both need
// one exponential: P(-|x|) = h(t) exp(-x^2 / 2) with t = 1 / (1 + c |x|) and a polynomial h, off by less than 1e-7
// (Abramowitz and Stegun 1964, 7.1.26).

#pragma once

#include "lanes.hpp"

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
    return {x * below, below + x * (0.398942280f * bell)};
}
