// GELU and its gradient on a CPU, compiled for the CPU that runs it.
//
// The slope is kept where a gradient will be asked for: it is that gradient but for one product.

#include "gelu.hpp"

namespace {

// Call work(load, store) for every 16 numbers; the last may be fewer, beside zeros.
template <class T, class Work>
inline void over_numbers(long count, int threads, Work work) {
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < count; first += LANES) {
        const auto get = [=](const T *from) { return load(from + first, count - first); };
        const auto put = [=](T *to, Numbers numbers) { store_far(to + first, numbers, count - first); };
        work(get, put);
    }
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
