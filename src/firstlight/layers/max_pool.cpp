// Max-pooling over windows of 2x2 and its gradient on a CPU, compiled for the CPU that runs it.
//
// Maps are [images height width channels]; a last row or column that fills no window is left out. `which` says of every
// output which pixel of its window it is, 0 to 3 row by row: the first of the largest, or the last that is no number, as
// PyTorch has it. That byte is all that the gradient needs.

#include <cstdint>
#include <cstring>

namespace {

typedef std::uint16_t bfloat16;  // its bits

// A number as one that can be compared, and back; what comes back is one that was there.
inline float wide(float number) { return number; }
inline double wide(double number) { return number; }
inline float wide(bfloat16 number) {
    const std::uint32_t bits = static_cast<std::uint32_t>(number) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
inline void narrow(float value, float &to) { to = value; }
inline void narrow(double value, double &to) { to = value; }
inline void narrow(float value, bfloat16 &to) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    to = static_cast<bfloat16>(bits >> 16);
}

// Keep the candidate if it is larger, or no number.
template <class V>
inline void take_larger(V candidate, std::uint8_t place, V &best, std::uint8_t &which) {
    const bool is_taken = (candidate > best) | (candidate != candidate);
    best = is_taken ? candidate : best;
    which = is_taken ? place : which;
}

struct Shape {
    long images, height, width, channels;
    long rows() const { return height / 2; }
    long columns() const { return width / 2; }
    long row_size() const { return width * channels; }
};

template <class T>
void pool(const T *__restrict maps, T *__restrict output, std::uint8_t *__restrict which, Shape shape, int threads) {
    const long channels = shape.channels;
#pragma omp parallel for collapse(2) num_threads(threads)
    for (long image = 0; image < shape.images; ++image)
        for (long row = 0; row < shape.rows(); ++row) {
            const T *upper = maps + (image * shape.height + 2 * row) * shape.row_size();
            const long first = (image * shape.rows() + row) * shape.columns() * channels;
            for (long column = 0; column < shape.columns(); ++column) {
                const T *window = upper + 2 * column * channels, *below = window + shape.row_size();
                T *to = output + first + column * channels;
                std::uint8_t *place = which + first + column * channels;
#pragma omp simd
                for (long channel = 0; channel < channels; ++channel) {
                    auto best = wide(window[channel]);
                    std::uint8_t taken = 0;
                    take_larger(wide(window[channel + channels]), 1, best, taken);
                    take_larger(wide(below[channel]), 2, best, taken);
                    take_larger(wide(below[channel + channels]), 3, best, taken);
                    narrow(best, to[channel]);
                    place[channel] = taken;
                }
            }
        }
}

template <class T>
void pool_gradient(const T *__restrict gradient, const std::uint8_t *__restrict which, T *__restrict of_maps,
                   Shape shape, int threads) {
    const long channels = shape.channels;
#pragma omp parallel for collapse(2) num_threads(threads)
    for (long image = 0; image < shape.images; ++image)
        for (long y = 0; y < shape.height; ++y) {
            T *to = of_maps + (image * shape.height + y) * shape.row_size();
            const long row = y / 2, covered = row < shape.rows() ? 2 * shape.columns() : 0;
            for (long x = 0; x < covered; ++x) {
                const long first = ((image * shape.rows() + row) * shape.columns() + x / 2) * channels;
                const std::uint8_t here = static_cast<std::uint8_t>(2 * (y % 2) + x % 2);
#pragma omp simd
                for (long channel = 0; channel < channels; ++channel)
                    to[x * channels + channel] = which[first + channel] == here ? gradient[first + channel] : T(0);
            }
            std::memset(to + covered * channels, 0, (shape.width - covered) * channels * sizeof(T));
        }
}

}  // namespace

#define EXPORT(T)                                                                                                   \
    extern "C" void pool_##T(const T *maps, T *output, std::uint8_t *which, long images, long height, long width,   \
                             long channels, int threads) {                                                          \
        pool(maps, output, which, Shape{images, height, width, channels}, threads);                                 \
    }                                                                                                               \
    extern "C" void pool_gradient_##T(const T *gradient, const std::uint8_t *which, T *of_maps, long images,        \
                                      long height, long width, long channels, int threads) {                        \
        pool_gradient(gradient, which, of_maps, Shape{images, height, width, channels}, threads);                   \
    }

EXPORT(float)
EXPORT(double)
EXPORT(bfloat16)
