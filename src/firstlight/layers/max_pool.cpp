// Max pooling over 2x2 windows and its gradient on a CPU, float, double or bfloat16: see max_pool.py for the layer.
//
// Maps are [images height width channels]; a last row or column that fills no window is ignored. One byte for each
// output, `argmax`, holds the position of the maximum in its window, and is all that the gradient needs. As in PyTorch,
// it is the first of equal maxima, and the last NaN if there is one.
//
//     maps, 5x5                output, 2x2        argmax: positions in a window
//     +-----+-----+--+
//     |     |     |  |         +---+---+          +---+---+
//     |  A  |  B  |  |         | A | B |          | 0 | 1 |
//     +-----+-----+  |  ---->  +---+---+          +---+---+
//     |     |     |  |         | C | D |          | 2 | 3 |
//     |  C  |  D  |  |         +---+---+          +---+---+
//     +-----+-----+  |
//     |   ignored    |         every pixel holds its channels side by side: c0 c1 c2 ...
//     +--------------+

#include "simd.hpp"

namespace {

// Convert a number to a type with comparisons, and back without rounding.
inline float to_comparable(float number) { return number; }
inline double to_comparable(double number) { return number; }
inline float to_comparable(bfloat16 number) { return to_float(number); }
inline void assign(float &to, float value) { to = value; }
inline void assign(double &to, double value) { to = value; }
inline void assign(bfloat16 &to, float value) { to = to_bfloat16_exact(value); }

// The gradient is only copied: bfloat16 is passed as its bits, since the compiler vectorizes loops over built-in types.
template <class T>
inline T *as_builtin(T *numbers) {
    return numbers;
}
inline const std::uint16_t *as_builtin(const bfloat16 *numbers) { return &numbers->bits; }
inline std::uint16_t *as_builtin(bfloat16 *numbers) { return &numbers->bits; }

// Replace the maximum by a candidate that is larger, or NaN.
template <class V>
inline void update_max(V candidate, std::uint8_t position, V &maximum, std::uint8_t &argmax) {
    const bool is_new = (candidate > maximum) | (candidate != candidate);
    maximum = is_new ? candidate : maximum;
    argmax = is_new ? position : argmax;
}

struct Shape {
    long images, height, width, channels;
    long rows() const { return height / 2; }
    long columns() const { return width / 2; }
    long row_size() const { return width * channels; }
};

template <class T>
void pool(const T *__restrict maps, T *__restrict output, std::uint8_t *__restrict argmax, Shape shape, int threads) {
    const long channels = shape.channels;
#pragma omp parallel for collapse(2) num_threads(threads)
    for (long image = 0; image < shape.images; ++image)
        for (long row = 0; row < shape.rows(); ++row) {
            const T *upper = maps + (image * shape.height + 2 * row) * shape.row_size();
            const long first = (image * shape.rows() + row) * shape.columns() * channels;
            for (long column = 0; column < shape.columns(); ++column) {
                const T *window = upper + 2 * column * channels, *below = window + shape.row_size();
                T *to = output + first + column * channels;
                std::uint8_t *positions = argmax + first + column * channels;
#pragma omp simd
                for (long channel = 0; channel < channels; ++channel) {
                    auto maximum = to_comparable(window[channel]);
                    std::uint8_t position = 0;
                    update_max(to_comparable(window[channel + channels]), 1, maximum, position);
                    update_max(to_comparable(below[channel]), 2, maximum, position);
                    update_max(to_comparable(below[channel + channels]), 3, maximum, position);
                    assign(to[channel], maximum);
                    positions[channel] = position;
                }
            }
        }
}

template <class T>
void pool_gradient(const T *__restrict grad_output, const std::uint8_t *__restrict argmax, T *__restrict grad_maps,
                   Shape shape, int threads) {
    const long channels = shape.channels;
#pragma omp parallel for collapse(2) num_threads(threads)
    for (long image = 0; image < shape.images; ++image)
        for (long y = 0; y < shape.height; ++y) {
            T *to = grad_maps + (image * shape.height + y) * shape.row_size();
            const long row = y / 2, covered = row < shape.rows() ? 2 * shape.columns() : 0;
            for (long x = 0; x < covered; ++x) {
                const long first = ((image * shape.rows() + row) * shape.columns() + x / 2) * channels;
                const std::uint8_t here = static_cast<std::uint8_t>(2 * (y % 2) + x % 2);
#pragma omp simd
                for (long channel = 0; channel < channels; ++channel)
                    to[x * channels + channel] = argmax[first + channel] == here ? grad_output[first + channel] : T{};
            }
            std::memset(to + covered * channels, 0, (shape.width - covered) * channels * sizeof(T));
        }
}

}  // namespace

#define EXPORT(T)                                                                                                   \
    extern "C" void pool_##T(const T *maps, T *output, std::uint8_t *argmax, long images, long height, long width,  \
                             long channels, int threads) {                                                          \
        pool(maps, output, argmax, Shape{images, height, width, channels}, threads);                                \
    }                                                                                                               \
    extern "C" void pool_gradient_##T(const T *grad_output, const std::uint8_t *argmax, T *grad_maps, long images,  \
                                      long height, long width, long channels, int threads) {                        \
        const Shape shape{images, height, width, channels};                                                         \
        pool_gradient(as_builtin(grad_output), argmax, as_builtin(grad_maps), shape, threads);                      \
    }

EXPORT(float)
EXPORT(double)
EXPORT(bfloat16)
