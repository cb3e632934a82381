// GELU and its gradient on a CPU, compiled for the CPU that runs it.
//
// The slope is kept where a gradient will be asked for: it is that gradient but for one product.

#include "gelu.hpp"

namespace {

template <class T>
void gelu(const T *from, T *to, T *slopes, long count, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < count; first += LANES) {
        const long lanes = count - first;  // the last may be fewer
        store_gelu(to + first, slopes ? slopes + first : nullptr, load(from + first, lanes), lanes);
    }
}

template <class T>
void gelu_gradient(const T *gradient, const T *slopes, T *to, long count, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < count; first += LANES) {
        const long lanes = count - first;
        store_far(to + first, load(gradient + first, lanes) * load(slopes + first, lanes), lanes);
    }
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
