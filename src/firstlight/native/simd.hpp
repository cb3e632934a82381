// Vectors of 16 numbers, and bfloat16: shared by all native kernels.
//
// A vector holds 16 float on every CPU: the compiler splits it into as many registers as it needs.
// Data in bfloat16 is converted to float when it is loaded and rounded when it is stored; all arithmetic is float.
//
//     bfloat16   s eeeeeeee mmmmmmm                     16 bits: the upper half of a float
//     float      s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm     32 bits

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#ifdef __AVX__
#include <immintrin.h>
#endif

constexpr int LANES = 16;

struct bfloat16 {
    std::uint16_t bits;
};

// GCC's vector extension.
template <class T, int COUNT>
struct Vector {
    typedef T type __attribute__((vector_size(COUNT * sizeof(T))));
};

using FloatVector = Vector<float, LANES>::type;
using Uint32Vector = Vector<std::uint32_t, LANES>::type;
using Uint16Vector = Vector<std::uint16_t, LANES>::type;
using Bfloat16Vector = Uint16Vector;  // the bits of 16 bfloat16

// ---- Conversion

inline float to_float(bfloat16 number) {
    const std::uint32_t bits = static_cast<std::uint32_t>(number.bits) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline FloatVector to_float(Bfloat16Vector bits) {
    return reinterpret_cast<FloatVector>(__builtin_convertvector(bits, Uint32Vector) << 16);
}

// Convert a float that a bfloat16 represents exactly.
inline bfloat16 to_bfloat16_exact(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return {static_cast<std::uint16_t>(bits >> 16)};
}

// Round to the nearest bfloat16, ties to even.
inline Bfloat16Vector to_bfloat16(FloatVector numbers) {
#ifdef __AVX512BF16__
    return reinterpret_cast<Bfloat16Vector>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(numbers)));
#else
    const Uint32Vector bits = reinterpret_cast<Uint32Vector>(numbers), nearest = bits + 0x7fff + (bits >> 16 & 1);
    return __builtin_convertvector((numbers == numbers ? nearest : bits | 1 << 22) >> 16, Uint16Vector);
#endif
}

// ---- Load

// Load a vector of type V from any address.
template <class V, class T>
inline V load(const T *from) {
    V value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class V>
inline V load(const bfloat16 *from) {
    return to_float(load<Uint16Vector>(&from->bits));
}

inline FloatVector load(const float *from) { return load<FloatVector>(from); }
inline FloatVector load(const bfloat16 *from) { return load<FloatVector>(from); }

// Load 16 numbers, or `count` if these are fewer; the others are zero.
template <class T>
inline FloatVector load(const T *from, long count) {
    if (count >= LANES) return load(from);
    T all[LANES] = {};
    std::copy(from, from + count, all);
    return load(all);
}

// ---- Store

template <class T, class V>
inline void store(T *to, V value) {
    std::memcpy(to, &value, sizeof value);
}

inline void store(bfloat16 *to, FloatVector value) { store(to, to_bfloat16(value)); }

// Store 16 numbers, or the first `count` if these are fewer.
template <class T, class V>
inline void store(T *to, V value, long count) {
    if (count >= LANES) return store(to, value);
    T all[LANES];
    store(all, value);
    std::copy(all, all + count, to);
}

// Store a result that leaves the cache before it is read again. A non-temporal store, used where the CPU has AVX and
// the address is aligned, does not fetch the old contents of the cache line first. Other threads see the result after
// the barrier that ends a parallel loop, whose locked instruction drains such stores.
template <class T, class V>
inline void store_streaming(T *to, V value) {
#ifdef __AVX__
    if (reinterpret_cast<std::uintptr_t>(to) % sizeof(__m256) == 0) {
        __m256 parts[sizeof(V) / sizeof(__m256)];
        std::memcpy(parts, &value, sizeof value);
        for (unsigned part = 0; part < sizeof(V) / sizeof(__m256); ++part)
            _mm256_stream_ps(reinterpret_cast<float *>(to) + 8 * part, parts[part]);
        return;
    }
#endif
    store(to, value);
}

inline void store_streaming(bfloat16 *to, FloatVector value) { store_streaming(to, to_bfloat16(value)); }

// Store a result of an elementwise kernel: by a streaming store on CPUs with AVX-512 only.
template <class T, class V>
inline void store_result(T *to, V value) {
#ifdef __AVX512F__
    store_streaming(to, value);
#else
    store(to, value);
#endif
}

template <class T, class V>
inline void store_result(T *to, V value, long count) {
    count >= LANES ? store_result(to, value) : store(to, value, count);
}

// ---- Arithmetic

// 1 / x for finite x, with a relative error of at most 1e-7: AVX-512's estimate and one step of Newton's method.
inline FloatVector reciprocal(FloatVector x) {
#ifdef __AVX512F__
    const auto estimate = reinterpret_cast<FloatVector>(_mm512_rcp14_ps(reinterpret_cast<__m512>(x)));
    return estimate * (2 - x * estimate);
#else
    return 1 / x;
#endif
}
