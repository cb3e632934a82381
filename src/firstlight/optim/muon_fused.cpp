// The two fused passes of Muon over its weights on a CPU: see muon_fused.py, which decides when they are used.
//
// All arrays are flat and in the memory order of the weights. Each thread takes a contiguous chunk of whole vectors of
// 16 numbers, the same chunk of each array:
//
//     weights    |--- thread 0 ---|--- thread 1 ---|--- thread 2 --|     float
//     gradient   |----------------|----------------|---------------|     float
//     buffer     |----------------|----------------|---------------|     float: momentum
//     update     |----------------|----------------|---------------|     float or bfloat16
//     squares    [    sum 0       ,     sum 1      ,     sum 2     ]     double, one for each thread

#include "simd.hpp"

namespace {

// Update the momentum buffer, b <- m b + g, and compute Nesterov's update, g + m b. The same pass sums the squares of
// the weights, one sum for each thread: the next step needs their norm.
template <class T>
void nesterov(const float *gradient, const float *weights, const float *momentum, float *buffer, T *update,
              double *squares, long count, int threads) {
    const long vectors = (count + LANES - 1) / LANES;
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        FloatVector sums = {};
        for (long vector = vectors * thread / threads; vector < vectors * (thread + 1) / threads; ++vector) {
            const long first = vector * LANES, lanes = count - first;
            const FloatVector g = load(gradient + first, lanes), weight = load(weights + first, lanes);
            const FloatVector b = *momentum * load(buffer + first, lanes) + g;
            store(buffer + first, b, lanes);
            store(update + first, g + *momentum * b, lanes);
            sums += weight * weight;
        }
        squares[thread] = 0;
        for (int lane = 0; lane < LANES; ++lane) squares[thread] += sums[lane];
    }
}

// Rescale and update the weights: w <- scale w - rate u.
template <class T>
void scale_and_subtract(const T *update, const float *scale_and_rate, float *weights, long count, int threads) {
    const float scale = scale_and_rate[0], rate = scale_and_rate[1];
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < count; first += LANES) {
        const long lanes = count - first;
        store(weights + first, scale * load(weights + first, lanes) - rate * load(update + first, lanes), lanes);
    }
}

}  // namespace

#define EXPORT(T)                                                                                                   \
    extern "C" void nesterov_##T(const float *gradient, const float *weights, const float *momentum, float *buffer, \
                                 T *update, double *squares, long count, int threads) {                             \
        nesterov(gradient, weights, momentum, buffer, update, squares, count, threads);                             \
    }                                                                                                               \
    extern "C" void scale_and_subtract_##T(const T *update, const float *scale_and_rate, float *weights,            \
                                           long count, int threads) {                                               \
        scale_and_subtract(update, scale_and_rate, weights, count, threads);                                        \
    }

EXPORT(float)
EXPORT(bfloat16)
