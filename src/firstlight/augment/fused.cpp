// Select, shift, mirror and scale images in one pass over their pixels on a CPU: see fused.py.
//
// The pixels are uint8 [all height width 3]; the output is float [n height width 3] in [0, 1]. Output image i comes
// from pixels[indices[i]]. A pixel outside the image is its mirror image at the edge pixel:
//
//     column of the source     -2 -1 | 0  1  2  3 | 4  5          shift right by 2, width 4:
//     is read from              2  1 | 0  1  2  3 | 2  1          output = columns 2 3 2 1
//
//     a row in memory          r g b | r g b | r g b | ...        three channels side by side

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace {

constexpr long CHANNELS = 3;

// Map an index outside 0 .. size - 1 back inside, mirrored at the edge pixel.
inline long reflected(long index, long size) { return size - 1 - std::labs(size - 1 - std::labs(index)); }

}  // namespace

extern "C" void shift_and_flip(const std::uint8_t *pixels, const long *indices, const long *down, const long *right,
                               const bool *mirrored, float *output, long n, long height, long width, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<long> columns(width);
        std::vector<std::uint8_t> row(width * CHANNELS);
#pragma omp for
        for (long i = 0; i < n; ++i) {
            for (long x = 0; x < width; ++x)
                columns[x] = CHANNELS * reflected((mirrored[i] ? width - 1 - x : x) + right[i], width);
            for (long y = 0; y < height; ++y) {
                const std::uint8_t *from = pixels + (indices[i] * height + reflected(y + down[i], height)) * row.size();
                float *to = output + (i * height + y) * row.size();
                for (long x = 0; x < width; ++x)
                    for (long channel = 0; channel < CHANNELS; ++channel)
                        row[x * CHANNELS + channel] = from[columns[x] + channel];
                for (std::size_t k = 0; k < row.size(); ++k) to[k] = static_cast<float>(row[k]) / 255;
            }
        }
    }
}
