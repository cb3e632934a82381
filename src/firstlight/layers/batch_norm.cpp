// Batch norm in training and its gradient on a CPU, float or bfloat16: see batch_norm.py for the layer.
//
// Maps are [images pixels channels], channels innermost, so that a vector of 16 channels is loaded at once:
//
//     image 0:  pixel 0  | c0 .. c15 | c16 .. c31 | ... |     <- one vector of 16 channels each; a group is 4 vectors
//               pixel 1  | c0 .. c15 | c16 .. c31 | ... |
//                        |  v v v    |                        sums run down the pixels, in registers
//     sums:     [threads][2][channels], double                two sums for each channel and thread
//
// Sums over the pixels of one image are float, sums over images double. Forward, y = x * scale + shift for each
// channel; backward, grad_x = a * grad_y + b * x + c for each channel (Ioffe and Szegedy 2015, arXiv 1502.03167,
// section 3). batch_norm.py computes scale, shift, a, b and c. If GELU follows, grad_y is multiplied by its slopes
// first.

#include "gelu.hpp"

namespace {

constexpr int GROUP = 4;  // vectors of 16 channels whose sums stay in registers

struct Shape {
    long images, pixels, channels;
    long size() const { return pixels * channels; }
};

// Call work.run<VECTORS>(first channel, number of channels) for all groups of channels.
template <class Work>
inline void for_each_group(long channels, Work work) {
    long first = 0;
    for (; first + GROUP * LANES <= channels; first += GROUP * LANES) work.template run<GROUP>(first, GROUP * LANES);
    for (; first < channels; first += LANES) work.template run<1>(first, std::min<long>(LANES, channels - first));
}

// Add the two sums of `terms` over the pixels of one image to `sums`, [2 channels].
template <class T, class Terms>
struct PixelSums {
    const Terms &terms;
    Shape shape;
    double *sums;

    template <int VECTORS>
    void run(long first, long channels) const {
        FloatVector sum[VECTORS] = {}, sum_of_products[VECTORS] = {};
        for (long pixel = 0; pixel < shape.pixels; ++pixel)
            for (int v = 0; v < VECTORS; ++v) {
                const long channel = first + v * LANES;
                terms.add(pixel * shape.channels + channel, channel, channels - v * LANES, sum[v], sum_of_products[v]);
            }
        for (int v = 0; v < VECTORS; ++v)
            for (long lane = 0; lane < std::min<long>(LANES, channels - v * LANES); ++lane) {
                sums[first + v * LANES + lane] += sum[v][lane];
                sums[shape.channels + first + v * LANES + lane] += sum_of_products[v][lane];
            }
    }
};

// Terms: x - pivot, and its square.
template <class T>
struct Moments {
    const T *map;
    const float *pivots;

    void add(long offset, long channel, long lanes, FloatVector &sum, FloatVector &sum_of_products) const {
        const FloatVector difference = load(map + offset, lanes) - load(pivots + channel, lanes);
        sum += difference;
        sum_of_products += difference * difference;
    }
};

// Load the gradient of the normalized maps: multiplied by the slopes if GELU follows.
template <class T>
inline FloatVector load_gradient(const T *grad_output, const T *slopes, long offset, long lanes) {
    const FloatVector gradient = load(grad_output + offset, lanes);
    return slopes ? gradient * load(slopes + offset, lanes) : gradient;
}

// Terms: the gradient, and its product with x - mean.
template <class T>
struct Correlation {
    const T *grad_output, *map, *slopes;
    const float *means;

    void add(long offset, long channel, long lanes, FloatVector &sum, FloatVector &sum_of_products) const {
        const FloatVector gradient = load_gradient(grad_output, slopes, offset, lanes);
        sum += gradient;
        sum_of_products += gradient * (load(map + offset, lanes) - load(means + channel, lanes));
    }
};

// Fill sums, [threads 2 channels], with the sums of terms_of(image) over all images.
template <class T, class TermsOf>
void sum_over_images(Shape shape, double *sums, int threads, TermsOf terms_of) {
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        double *thread_sums = sums + 2 * thread * shape.channels;
        std::fill_n(thread_sums, 2 * shape.channels, 0.0);
        for (long image = shape.images * thread / threads; image < shape.images * (thread + 1) / threads; ++image) {
            const auto terms = terms_of(image);
            for_each_group(shape.channels, PixelSums<T, decltype(terms)>{terms, shape, thread_sums});
        }
    }
}

// Call work(image, offset in the image, channel, number of lanes) for every vector of 16 channels.
template <class Work>
inline void for_each_vector(Shape shape, int threads, Work work) {
#pragma omp parallel for num_threads(threads)
    for (long image = 0; image < shape.images; ++image)
        for (long pixel = 0; pixel < shape.pixels; ++pixel)
            for (long channel = 0; channel < shape.channels; channel += LANES)
                work(image, pixel * shape.channels + channel, channel, shape.channels - channel);
}

template <class T>
void moments(const T *maps, const float *pivots, double *sums, Shape shape, int threads) {
    sum_over_images<T>(shape, sums, threads,
                       [=](long image) { return Moments<T>{maps + image * shape.size(), pivots}; });
}

// Compute maps * scale + shift, and GELU of it unless `slopes` is null.
template <class T>
void normalize(const T *maps, const float *scales, const float *shifts, T *output, T *slopes, Shape shape,
               int threads) {
    for_each_vector(shape, threads, [=](long image, long offset, long channel, long lanes) {
        const long at = image * shape.size() + offset;
        const FloatVector scale = load(scales + channel, lanes), shift = load(shifts + channel, lanes);
        const FloatVector normalized = load(maps + at, lanes) * scale + shift;
        slopes ? store_gelu(output + at, slopes + at, normalized, lanes) : store_result(output + at, normalized, lanes);
    });
}

template <class T>
inline const T *image_or_null(const T *maps, long image, Shape shape) {
    return maps ? maps + image * shape.size() : nullptr;
}

// grad_output holds shape.images images; the i-th belongs to image indices[i] of maps and slopes.
template <class T>
void correlate(const T *grad_output, const T *maps, const T *slopes, const long *indices, const float *means,
               double *sums, Shape shape, int threads) {
    sum_over_images<T>(shape, sums, threads, [=](long image) {
        return Correlation<T>{image_or_null(grad_output, image, shape), image_or_null(maps, indices[image], shape),
                              image_or_null(slopes, indices[image], shape), means};
    });
}

// coefficients: a, b and c of the formula at the top, [3 channels].
template <class T>
void gradient(const T *grad_output, const T *maps, const T *slopes, const long *indices, const float *coefficients,
              T *grad_maps, Shape shape, int threads) {
    for_each_vector(shape, threads, [=](long image, long offset, long channel, long lanes) {
        const float *abc = coefficients + channel;
        const FloatVector map = load(image_or_null(maps, indices[image], shape) + offset, lanes);
        const T *image_gradient = image_or_null(grad_output, image, shape);
        const T *image_slopes = image_or_null(slopes, indices[image], shape);
        const FloatVector grad_y = load_gradient(image_gradient, image_slopes, offset, lanes);
        const FloatVector sum = grad_y * load(abc, lanes) + map * load(abc + shape.channels, lanes);
        store_result(grad_maps + image * shape.size() + offset, sum + load(abc + 2 * shape.channels, lanes), lanes);
    });
}

}  // namespace

#define EXPORT(T)                                                                                                     \
    extern "C" void moments_##T(const T *maps, const float *pivots, double *sums, long images, long pixels,           \
                                long channels, int threads) {                                                         \
        moments(maps, pivots, sums, {images, pixels, channels}, threads);                                             \
    }                                                                                                                 \
    extern "C" void normalize_##T(const T *maps, const float *scales, const float *shifts, T *output, T *slopes,      \
                                  long images, long pixels, long channels, int threads) {                             \
        normalize(maps, scales, shifts, output, slopes, {images, pixels, channels}, threads);                         \
    }                                                                                                                 \
    extern "C" void correlate_##T(const T *grad_output, const T *maps, const T *slopes, const long *indices,          \
                                  const float *means, double *sums, long images, long pixels, long channels,          \
                                  int threads) {                                                                      \
        correlate(grad_output, maps, slopes, indices, means, sums, {images, pixels, channels}, threads);              \
    }                                                                                                                 \
    extern "C" void gradient_##T(const T *grad_output, const T *maps, const T *slopes, const long *indices,           \
                                 const float *coefficients, T *grad_maps, long images, long pixels, long channels,    \
                                 int threads) {                                                                       \
        gradient(grad_output, maps, slopes, indices, coefficients, grad_maps, {images, pixels, channels}, threads);   \
    }

EXPORT(float)
EXPORT(bfloat16)
