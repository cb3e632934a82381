// The two passes of Muon over its weights on a CPU, compiled for the CPU that runs them.

#include "simd.hpp"

namespace {

// Let the momentum follow the gradient, b <- m b + g, and look ahead, g + m b. Squares of the weights are added up on
// the way, one sum for each thread: their norm is needed next.
template <class T>
void look_ahead(const float *gradient, const float *weights, const float *momentum, float *buffer, T *ahead,
                double *squares, long count, int threads) {
    const long lots = (count + LANES - 1) / LANES;
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        Numbers sums = {};
        for (long lot = lots * thread / threads; lot < lots * (thread + 1) / threads; ++lot) {
            const long first = lot * LANES, lanes = count - first;
            const Numbers given = load(gradient + first, lanes), weight = load(weights + first, lanes);
            const Numbers followed = *momentum * load(buffer + first, lanes) + given;
            store(buffer + first, followed, lanes);
            store(ahead + first, given + *momentum * followed, lanes);
            sums += weight * weight;
        }
        squares[thread] = 0;
        for (int lane = 0; lane < LANES; ++lane) squares[thread] += sums[lane];
    }
}

// w <- factor w - rate u
template <class T>
void turn(const T *update, const float *factor_and_rate, float *weights, long count, int threads) {
    const float factor = factor_and_rate[0], rate = factor_and_rate[1];
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < count; first += LANES) {
        const long lanes = count - first;
        store(weights + first, factor * load(weights + first, lanes) - rate * load(update + first, lanes), lanes);
    }
}

}  // namespace

#define EXPORT(T)                                                                                                     \
    extern "C" void look_ahead_##T(const float *gradient, const float *weights, const float *momentum, float *buffer, \
                                   T *ahead, double *squares, long count, int threads) {                              \
        look_ahead(gradient, weights, momentum, buffer, ahead, squares, count, threads);                              \
    }                                                                                                                 \
    extern "C" void turn_##T(const T *update, const float *factor_and_rate, float *weights, long count, int threads) { \
        turn(update, factor_and_rate, weights, count, threads);                                                       \
    }

EXPORT(float)
EXPORT(bfloat16)
