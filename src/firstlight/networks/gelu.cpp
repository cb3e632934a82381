// GELU and its slope on a CPU, compiled for the CPU that runs it.
//
// GELU(x) = x P(x), P the normal distribution's share below x and p its density; the slope is P(x) + x p(x). Both need
// one exponential: P(-|x|) = h(t) exp(-x^2 / 2) with t = 1 / (1 + c |x|) and a polynomial h, off by less than 1e-7
// (Abramowitz and Stegun 1964, 7.1.26). The slope is kept where a gradient will be asked for: it is that gradient but for
// one product.

#include <algorithm>
#include <cstdint>
#include <cstring>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

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

// To the nearest, of two as near to the even one.
inline void store(bfloat16 *to, Numbers numbers) {
#ifdef __AVX512BF16__
    const auto rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(numbers));
#else
    const Bits bits = reinterpret_cast<Bits>(numbers), nearest = bits + 0x7fff + (bits >> 16 & 1);
    const auto rounded = __builtin_convertvector((numbers == numbers ? nearest : bits | 1 << 22) >> 16, HalfBits);
#endif
    std::memcpy(to, &rounded, sizeof rounded);
}

// Call work(first, load, store) for every 16 numbers; the last may be fewer, beside zeros.
template <class T, class Work>
inline void over_numbers(long count, int threads, Work work) {
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < count; first += LANES) {
        const long lanes = std::min<long>(LANES, count - first);
        const auto get = [=](const T *from) {
            if (lanes == LANES) return load(from + first);
            T all[LANES] = {};
            std::copy(from + first, from + count, all);
            return load(all);
        };
        const auto put = [=](T *to, Numbers numbers) {
            if (lanes == LANES) return store(to + first, numbers);
            T all[LANES];
            store(all, numbers);
            std::copy(all, all + lanes, to + first);
        };
        work(get, put);
    }
}

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
    const Numbers bell = exp_of_minus(half_square), t = 1 / (1 + 0.23164189f * size);
    const Numbers h = 0.127414796f + t * (-0.142248368f + t * (0.710706871f + t * (-0.726576014f + t * 0.530702715f)));
    const Numbers beyond = t * h * bell, below = x > zero ? 1 - beyond : beyond;
    return {x * below, below + x * (0.398942280f * bell)};
}

template <class T>
void gelu(const T *from, T *to, T *slopes, long count, int threads) {
    over_numbers<T>(count, threads, [=](auto get, auto put) {
        const Points points = gelu_at(get(from));
        put(to, points.values);
        if (slopes) put(slopes, points.slopes);
    });
}

template <class T>
void gelu_gradient(const T *gradient, const T *slopes, T *to, long count, int threads) {
    over_numbers<T>(count, threads, [=](auto get, auto put) { put(to, get(gradient) * get(slopes)); });
}

}  // namespace

#define EXPORT(T)                                                                                            \
    extern "C" void gelu_##T(const T *from, T *to, T *slopes, long count, int threads) {                     \
        gelu(from, to, slopes, count, threads);                                                              \
    }                                                                                                        \
    extern "C" void gelu_gradient_##T(const T *gradient, const T *slopes, T *to, long count, int threads) {  \
        gelu_gradient(gradient, slopes, to, count, threads);                                                 \
    }

EXPORT(float)
EXPORT(bfloat16)
