// Batch norm in training and its gradient on a CPU, compiled for the CPU that runs it.
//
// Maps are [images pixels channels]. Sums over images and pixels are float within an image and double beyond, one of
// each for every thread. What is normalized is a number times a factor plus a summand of its channel; the gradient of
// the maps is the output's times a factor, plus the map times another, plus a summand: (Ioffe and Szegedy 2015, arXiv
// 1502.03167).

#include "gelu.hpp"

namespace {

constexpr int GROUP = 4;  // of 16 channels, whose sums stay in registers

struct Shape {
    long images, pixels, channels;
    long size() const { return pixels * channels; }
};

// Call work(first channel, number of channels) for groups of channels; the template's number of lots of 16 is theirs.
template <class Work>
inline void over_groups(long channels, Work work) {
    long first = 0;
    for (; first + GROUP * LANES <= channels; first += GROUP * LANES) work.template run<GROUP>(first, GROUP * LANES);
    for (; first < channels; first += LANES) work.template run<1>(first, std::min<long>(LANES, channels - first));
}

// Sums of numbers and of products, channel by channel, over the pixels of one image.
template <class T, class Terms>
struct PixelSums {
    const Terms &terms;
    Shape shape;
    double *sums;

    template <int LOTS>
    void run(long first, long channels) const {
        Numbers plain[LOTS] = {}, products[LOTS] = {};
        for (long pixel = 0; pixel < shape.pixels; ++pixel)
            for (int lot = 0; lot < LOTS; ++lot) {
                const long channel = first + lot * LANES;
                terms.add(pixel * shape.channels + channel, channel, channels - lot * LANES, plain[lot], products[lot]);
            }
        for (int lot = 0; lot < LOTS; ++lot)
            for (long lane = 0; lane < std::min<long>(LANES, channels - lot * LANES); ++lane) {
                sums[first + lot * LANES + lane] += plain[lot][lane];
                sums[shape.channels + first + lot * LANES + lane] += products[lot][lane];
            }
    }
};

// Of a map less a pivot, and of its squares.
template <class T>
struct Moments {
    const T *map;
    const float *pivots;

    void add(long place, long channel, long lanes, Numbers &plain, Numbers &products) const {
        const Numbers off = load(map + place, lanes) - load(pivots + channel, lanes);
        plain += off;
        products += off * off;
    }
};

// The gradient of what was normalized: where GELU came after it, through the stored slopes.
template <class T>
inline Numbers before_gelu(const T *gradient, const T *slopes, long place, long lanes) {
    const Numbers of_output = load(gradient + place, lanes);
    return slopes ? of_output * load(slopes + place, lanes) : of_output;
}

// Of a gradient, and of its product with a map less its mean.
template <class T>
struct Correlation {
    const T *gradient, *map, *slopes;
    const float *means;

    void add(long place, long channel, long lanes, Numbers &plain, Numbers &products) const {
        const Numbers of_output = before_gelu(gradient, slopes, place, lanes);
        plain += of_output;
        products += of_output * (load(map + place, lanes) - load(means + channel, lanes));
    }
};

// Fill sums, [threads 2 channels], from what terms(image) has to add up.
template <class T, class TermsOf>
void sum_up(Shape shape, double *sums, int threads, TermsOf terms_of) {
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        double *mine = sums + 2 * thread * shape.channels;
        std::fill_n(mine, 2 * shape.channels, 0.0);
        for (long image = shape.images * thread / threads; image < shape.images * (thread + 1) / threads; ++image) {
            const auto terms = terms_of(image);
            over_groups(shape.channels, PixelSums<T, decltype(terms)>{terms, shape, mine});
        }
    }
}

// Call work(image, place in it, channel, number of lanes) for every 16 numbers.
template <class Work>
inline void over_maps(Shape shape, int threads, Work work) {
#pragma omp parallel for num_threads(threads)
    for (long image = 0; image < shape.images; ++image)
        for (long pixel = 0; pixel < shape.pixels; ++pixel)
            for (long channel = 0; channel < shape.channels; channel += LANES)
                work(image, pixel * shape.channels + channel, channel, shape.channels - channel);
}

template <class T>
void moments(const T *maps, const float *pivots, double *sums, Shape shape, int threads) {
    sum_up<T>(shape, sums, threads, [=](long image) { return Moments<T>{maps + image * shape.size(), pivots}; });
}

// Normalize, and apply GELU after it where its slopes are asked for.
template <class T>
void normalize(const T *maps, const float *factors, const float *summands, T *output, T *slopes, Shape shape,
               int threads) {
    over_maps(shape, threads, [=](long image, long place, long channel, long lanes) {
        const long at = image * shape.size() + place;
        const Numbers factor = load(factors + channel, lanes), summand = load(summands + channel, lanes);
        const Numbers normal = load(maps + at, lanes) * factor + summand;
        slopes ? store_gelu(output + at, slopes + at, normal, lanes) : store_far(output + at, normal, lanes);
    });
}

// What an image has of maps, if these are there.
template <class T>
inline const T *of_image(const T *maps, long image, Shape shape) {
    return maps ? maps + image * shape.size() : nullptr;
}

// Gradients are of images at some places among those of the maps, and of the slopes.
template <class T>
void correlate(const T *gradient, const T *maps, const T *slopes, const long *places, const float *means, double *sums,
               Shape shape, int threads) {
    sum_up<T>(shape, sums, threads, [=](long image) {
        return Correlation<T>{of_image(gradient, image, shape), of_image(maps, places[image], shape),
                              of_image(slopes, places[image], shape), means};
    });
}

template <class T>
void gradient(const T *of_output, const T *maps, const T *slopes, const long *places, const float *coefficients,
              T *of_maps, Shape shape, int threads) {
    over_maps(shape, threads, [=](long image, long place, long channel, long lanes) {
        const float *at = coefficients + channel;
        const Numbers map = load(of_image(maps, places[image], shape) + place, lanes);
        const T *given = of_image(of_output, image, shape), *slope = of_image(slopes, places[image], shape);
        const Numbers of_normal = before_gelu(given, slope, place, lanes);
        const Numbers found = of_normal * load(at, lanes) + map * load(at + shape.channels, lanes);
        store_far(of_maps + image * shape.size() + place, found + load(at + 2 * shape.channels, lanes), lanes);
    });
}

}  // namespace

#define EXPORT(T)                                                                                                     \
    extern "C" void moments_##T(const T *maps, const float *pivots, double *sums, long images, long pixels,           \
                                long channels, int threads) {                                                         \
        moments(maps, pivots, sums, {images, pixels, channels}, threads);                                             \
    }                                                                                                                 \
    extern "C" void normalize_##T(const T *maps, const float *factors, const float *summands, T *output, T *slopes,   \
                                  long images, long pixels, long channels, int threads) {                             \
        normalize(maps, factors, summands, output, slopes, {images, pixels, channels}, threads);                      \
    }                                                                                                                 \
    extern "C" void correlate_##T(const T *gradient, const T *maps, const T *slopes, const long *places,              \
                                  const float *means, double *sums, long images, long pixels, long channels,          \
                                  int threads) {                                                                      \
        correlate(gradient, maps, slopes, places, means, sums, {images, pixels, channels}, threads);                  \
    }                                                                                                                 \
    extern "C" void gradient_##T(const T *of_output, const T *maps, const T *slopes, const long *places,              \
                                 const float *coefficients, T *of_maps, long images, long pixels, long channels,      \
                                 int threads) {                                                                       \
        gradient(of_output, maps, slopes, places, coefficients, of_maps, {images, pixels, channels}, threads);        \
    }

EXPORT(float)
EXPORT(bfloat16)
