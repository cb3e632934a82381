// GELU and its gradient on a CPU, float or bfloat16: see gelu.py for the layer, gelu.hpp for the formula.
//
// All arrays are flat and equally long; the order of the axes does not matter. The slopes are stored in the forward
// pass if a gradient will be computed: the gradient is then one product.
//
//     input    | 0 .. 15 | 16 .. 31 | ...       one vector of 16 numbers per step; the last one may hold fewer
//     output   | 0 .. 15 | 16 .. 31 | ...
//     slopes   | 0 .. 15 | 16 .. 31 | ...

#include "gelu.hpp"

namespace {

template <class T>
void gelu(const T *input, T *output, T *slopes, long count, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < count; first += LANES) {
        const long lanes = count - first;
        store_gelu(output + first, slopes ? slopes + first : nullptr, load(input + first, lanes), lanes);
    }
}

template <class T>
void gelu_gradient(const T *grad_output, const T *slopes, T *grad_input, long count, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < count; first += LANES) {
        const long lanes = count - first;
        store_result(grad_input + first, load(grad_output + first, lanes) * load(slopes + first, lanes), lanes);
    }
}

}  // namespace

#define EXPORT(T)                                                                                               \
    extern "C" void gelu_##T(const T *input, T *output, T *slopes, long count, int threads) {                   \
        gelu(input, output, slopes, count, threads);                                                            \
    }                                                                                                           \
    extern "C" void gelu_gradient_##T(const T *grad_output, const T *slopes, T *grad_input, long count,         \
                                      int threads) {                                                            \
        gelu_gradient(grad_output, slopes, grad_input, count, threads);                                         \
    }

EXPORT(float)
EXPORT(bfloat16)
