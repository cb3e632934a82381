// Choosing, shifting, mirroring and scaling images in one pass over their pixels on a CPU, compiled for it.

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace {

constexpr long CHANNELS = 3;

// Fold a place outside 0 .. size - 1 back inside, mirrored at the edge pixel.
inline long reflected(long place, long size) { return size - 1 - std::labs(size - 1 - std::labs(place)); }

}  // namespace

// Pixels are [all height width 3], the output's [n height width 3], 0 to 1; the other numbers are of the n images.
extern "C" void shift_and_flip(const std::uint8_t *pixels, const long *places, const long *down, const long *right,
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
                const std::uint8_t *from = pixels + (places[i] * height + reflected(y + down[i], height)) * row.size();
                float *to = output + (i * height + y) * row.size();
                for (long x = 0; x < width; ++x)
                    for (long channel = 0; channel < CHANNELS; ++channel)
                        row[x * CHANNELS + channel] = from[columns[x] + channel];
                for (std::size_t at = 0; at < row.size(); ++at) to[at] = static_cast<float>(row[at]) / 255;
            }
        }
    }
}
