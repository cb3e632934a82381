// The 3x3 convolution of maps in bfloat16 and its gradients, by the matrix tiles of Intel's AMX.
//
// A tile is 16 rows of 64 bytes. One instruction multiplies a tile of 16 rows and 32 columns, bfloat16, with one of 32 rows
// and 16 columns, whose rows are woven in pairs, and adds to 16 x 16 floats. There are eight tiles: four hold sums, 32 x 32,
// to which two on the left and two on the right give 32 products for each number that is loaded; so what is loaded may come
// from the second cache, but not from beyond. Maps are therefore worked on by groups of 32 images, which are laid out
// anew, some rows at a time, so that every tile is 1 KiB in one piece:
//
// - to convolve, the images of a group are the rows of a tile, for one pixel and 32 channels. Nine taps are nine pixels;
//   those outside the maps are left out, not multiplied by zero, and maps of any width are cut without waste.
// - for the filters' gradient the images of a group are what is summed over: 32 channels of an input's pixel as rows,
//   transposed, times 32 channels of an output's pixel, images woven in pairs. Sums stay in their tiles for all pixels
//   of a block.
//
// The maps' gradient is the convolution of the output's with the filters transposed and turned round. Sums are float; what is
// rounded is the result. Maps are [images height width channels], filters [outputs 3 3 inputs], float. Channels are cut
// into blocks of 32, the last one filled with zeros.

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <immintrin.h>
#include <memory>
#include <new>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

typedef std::uint16_t bfloat16;

constexpr int SIDE = 16;        // of a tile of sums, and half of a block's
constexpr int BLOCK = 32;       // images of a group, channels of a block
constexpr long ROW = 64;        // bytes in a tile's row
constexpr long TILE = SIDE * ROW / sizeof(bfloat16);  // numbers in a tile
constexpr long PAIR = 2 * TILE;                       // in two: BLOCK rows, or columns
constexpr long SUMS = BLOCK * BLOCK;
constexpr long TAPS = 9;
constexpr long CACHE = 5 << 18;  // bytes of the second cache that a block of the filters' gradient may take

inline long blocks(long channels) { return (channels + BLOCK - 1) / BLOCK; }

// Memory that begins with a line of the cache.
template <class T>
struct Room {
    explicit Room(long count)
        : start(static_cast<T *>(std::aligned_alloc(ROW, (count * sizeof(T) + ROW - 1) / ROW * ROW))) {
        if (!start) throw std::bad_alloc();
    }
    ~Room() { std::free(start); }
    Room(const Room &) = delete;
    Room &operator=(const Room &) = delete;
    T *const start;
};

// While it lives, this thread has eight tiles of full size.
struct Tiles {
    Tiles() {
        struct alignas(64) {
            std::uint8_t palette = 1, start = 0, reserved[14] = {};
            std::uint16_t bytes_per_row[16] = {};
            std::uint8_t rows[16] = {};
        } shape;
        std::fill_n(shape.bytes_per_row, 8, ROW);
        std::fill_n(shape.rows, 8, SIDE);
        _tile_loadconfig(&shape);
    }
    ~Tiles() { _tile_release(); }
    Tiles(const Tiles &) = delete;
    Tiles &operator=(const Tiles &) = delete;
};

// Tiles 0 to 3 are sums: upper left, upper right, lower left, lower right.
inline void clear_sums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

inline void load_sums(const float *from) {
    constexpr long stride = BLOCK * sizeof(float);
    _tile_loadd(0, from, stride);
    _tile_loadd(1, from + SIDE, stride);
    _tile_loadd(2, from + SIDE * BLOCK, stride);
    _tile_loadd(3, from + SIDE * BLOCK + SIDE, stride);
}

inline void store_sums(float *to) {
    constexpr long stride = BLOCK * sizeof(float);
    _tile_stored(0, to, stride);
    _tile_stored(1, to + SIDE, stride);
    _tile_stored(2, to + SIDE * BLOCK, stride);
    _tile_stored(3, to + SIDE * BLOCK + SIDE, stride);
}

// Add the products of two tiles on the left, one above the other, and two on the right, side by side.
inline void add_products(const bfloat16 *left, const bfloat16 *right) {
    _tile_loadd(4, left, ROW);
    _tile_loadd(6, right, ROW);
    _tile_loadd(7, right + TILE, ROW);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, left + TILE, ROW);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

// Tiles read memory behind the compiler's back: what was written must be there.
inline void settle() { asm volatile("" ::: "memory"); }

inline __m512i load(const bfloat16 *from, long count) {
    if (count >= BLOCK) return _mm512_loadu_si512(from);
    return _mm512_maskz_loadu_epi16((1u << std::max(count, 0L)) - 1, from);
}

inline __m512i load(const float *from, long count) {
    const auto mask = [](long lanes) { return static_cast<__mmask16>((1u << std::clamp(lanes, 0L, 16L)) - 1); };
    const __m512 low = _mm512_maskz_loadu_ps(mask(count), from);
    const __m512 high = _mm512_maskz_loadu_ps(mask(count - SIDE), from + SIDE);
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

inline void store(bfloat16 *to, __m512i numbers, long count) {
    if (count >= BLOCK) return _mm512_storeu_si512(to, numbers);
    _mm512_mask_storeu_epi16(to, (1u << count) - 1, numbers);
}

// Transpose 16 x 16 pairs of bfloat16, or floats.
inline void transpose(__m512i (&rows)[SIDE]) {
    __m512i half[SIDE];
    for (int i = 0; i < SIDE; i += 2) {
        half[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        half[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < SIDE; i += 4)
        for (int j = 0; j < 2; ++j) {
            rows[i + 2 * j] = _mm512_unpacklo_epi64(half[i + j], half[i + j + 2]);
            rows[i + 2 * j + 1] = _mm512_unpackhi_epi64(half[i + j], half[i + j + 2]);
        }
    for (int i = 0; i < SIDE; i += 8)
        for (int j = 0; j < 4; ++j) {
            half[i + j] = _mm512_shuffle_i32x4(rows[i + j], rows[i + j + 4], 0x88);
            half[i + j + 4] = _mm512_shuffle_i32x4(rows[i + j], rows[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; ++j) {
        rows[j] = _mm512_shuffle_i32x4(half[j], half[j + 8], 0x88);
        rows[j + 8] = _mm512_shuffle_i32x4(half[j], half[j + 8], 0xdd);
    }
}

// Weave two rows of 32 numbers: in the first half pairs 0 to 15, in the second 16 to 31.
inline void weave(__m512i upper, __m512i lower, __m512i &first, __m512i &second) {
    alignas(64) static constexpr bfloat16 order[BLOCK] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                          8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i places = _mm512_load_si512(order);
    first = _mm512_permutex2var_epi16(upper, places, lower);
    second = _mm512_permutex2var_epi16(upper, _mm512_add_epi16(places, _mm512_set1_epi16(SIDE)), lower);
}

// Maps, or a part of their images.
template <class T>
struct Maps {
    T *numbers;
    long images, height, width, channels;

    T *at(long image, long y, long x) const { return numbers + ((image * height + y) * width + x) * channels; }
    long row_numbers() const { return width * blocks(channels) * PAIR; }  // in a row of a group, laid out anew

    // The share of a thread.
    Maps share(long thread, long threads) const {
        const long first = images * thread / threads, end = images * (thread + 1) / threads;
        return {at(first, 0, 0), end - first, height, width, channels};
    }
};

// A bank of filters: [blocks of outputs, taps, blocks of inputs, two tiles of 16 outputs], inputs woven in pairs.
void bank_forward(const float *filters, bfloat16 *bank, long outputs, long inputs, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long block = 0; block < 2 * blocks(outputs); ++block)
        for (long tap = 0; tap < TAPS; ++tap)
            for (long from = 0; from < blocks(inputs); ++from) {
                __m512i rows[SIDE];
                for (long i = 0; i < SIDE; ++i) {
                    const long output = block * SIDE + i, count = output < outputs ? inputs - from * BLOCK : 0;
                    rows[i] = load(filters + (std::min(output, outputs - 1) * TAPS + tap) * inputs + from * BLOCK, count);
                }
                transpose(rows);
                bfloat16 *to = bank + ((block / 2 * TAPS + tap) * blocks(inputs) + from) * PAIR + block % 2 * TILE;
                for (long i = 0; i < SIDE; ++i) _mm512_store_si512(to + i * BLOCK, rows[i]);
            }
}

// Likewise for the way back: what comes in is the outputs' gradient, and the taps are turned round.
void bank_backward(const float *filters, bfloat16 *bank, long outputs, long inputs, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long block = 0; block < blocks(inputs); ++block)
        for (long tap = 0; tap < TAPS; ++tap)
            for (long from = 0; from < blocks(outputs); ++from) {
                bfloat16 *to = bank + ((block * TAPS + tap) * blocks(outputs) + from) * PAIR;
                for (long i = 0; i < SIDE; ++i) {
                    const auto row = [=](long output) {
                        const float *taps = filters + std::min(output, outputs - 1) * TAPS * inputs;
                        const long count = output < outputs ? inputs - block * BLOCK : 0;
                        return load(taps + (TAPS - 1 - tap) * inputs + block * BLOCK, count);
                    };
                    __m512i first, second;
                    weave(row(from * BLOCK + 2 * i), row(from * BLOCK + 2 * i + 1), first, second);
                    _mm512_store_si512(to + i * BLOCK, first);
                    _mm512_store_si512(to + TILE + i * BLOCK, second);
                }
            }
}

// Lay out a row of a group of images: [x, block of channels, image, channel]. Images that are missing are zero.
void lay_images(const Maps<const bfloat16> &maps, long image, long y, bfloat16 *to) {
    const long num_blocks = blocks(maps.channels);
    for (long i = 0; i < BLOCK; ++i) {
        const bool is_there = image + i < maps.images;
        const bfloat16 *row = maps.at(is_there ? image + i : image, y, 0);
        for (long x = 0; x < maps.width; ++x)
            for (long block = 0; block < num_blocks; ++block) {
                const long count = is_there ? maps.channels - block * BLOCK : 0;
                _mm512_store_si512(to + ((x * num_blocks + block) * BLOCK + i) * BLOCK,
                                   load(row + x * maps.channels + block * BLOCK, count));
            }
    }
}

// Round the sums of 32 images and 32 channels, at one pixel.
void store_rounded(const float *sums, const Maps<bfloat16> &maps, long image, long y, long x, long block) {
    const long images = std::min<long>(BLOCK, maps.images - image), channel = block * BLOCK;
    bfloat16 *to = maps.at(image, y, x) + channel;
    for (long i = 0; i < images; ++i, sums += BLOCK, to += maps.height * maps.width * maps.channels)
        store(to, load(sums, BLOCK), maps.channels - channel);
}

// Convolve the images of one thread.
void convolve_share(const Maps<const bfloat16> &maps, const bfloat16 *bank, const Maps<bfloat16> &output) {
    const Tiles tiles;
    const long from = blocks(maps.channels), to = blocks(output.channels), width = maps.width, height = maps.height;
    const Room<bfloat16> rows(3 * maps.row_numbers());  // the one that is worked on, and its neighbours
    const auto row = [&](long y) { return rows.start + y % 3 * maps.row_numbers(); };
    alignas(64) float sums[SUMS];
    for (long image = 0; image < maps.images; image += BLOCK) {
        lay_images(maps, image, 0, row(0));
        for (long y = 0; y < height; ++y) {
            if (y + 1 < height) lay_images(maps, image, y + 1, row(y + 1));
            settle();
            for (long block = 0; block < to; ++block)
                for (long x = 0; x < width; ++x) {
                    clear_sums();
                    for (long v = std::max(y - 1, 0L); v <= std::min(y + 1, height - 1); ++v)
                        for (long u = std::max(x - 1, 0L); u <= std::min(x + 1, width - 1); ++u) {
                            const long tap = 3 * (v - y + 1) + u - x + 1;
                            const bfloat16 *left = row(v) + u * from * PAIR;
                            const bfloat16 *right = bank + (block * TAPS + tap) * from * PAIR;
                            for (long i = 0; i < from; ++i) add_products(left + i * PAIR, right + i * PAIR);
                        }
                    store_sums(sums);
                    store_rounded(sums, output, image, y, x, block);
                }
        }
    }
}

// Lay out a row of a group of images with the images side by side: woven in pairs, [x, block of channels, half of the
// block, pair of images, channel, image of the pair], or transposed, [x, block of channels, channel, image].
template <bool IS_TRANSPOSED>
void lay_across(const Maps<const bfloat16> &maps, long image, long y, bfloat16 *to) {
    const long num_blocks = blocks(maps.channels);
    for (long x = 0; x < maps.width; ++x)
        for (long block = 0; block < num_blocks; ++block, to += PAIR) {
            __m512i halves[2][SIDE];
            const auto numbers = [&](long i) {
                const bool is_there = image + i < maps.images;
                const bfloat16 *from = maps.at(is_there ? image + i : image, y, x) + block * BLOCK;
                return load(from, is_there ? maps.channels - block * BLOCK : 0);
            };
            for (long i = 0; i < SIDE; ++i)
                weave(numbers(2 * i), numbers(2 * i + 1), halves[0][i], halves[1][i]);
            for (long half = 0; half < 2; ++half) {
                if (IS_TRANSPOSED) transpose(halves[half]);
                for (long i = 0; i < SIDE; ++i) _mm512_store_si512(to + half * TILE + i * BLOCK, halves[half][i]);
            }
        }
}

// How much of a thread's images is laid out at once for the filters' gradient: all rows of some groups, or some of one.
struct Portion {
    Portion(const Maps<const bfloat16> &maps, const Maps<const bfloat16> &gradient) {
        const long row = maps.row_numbers(), both = row + gradient.row_numbers(), room = CACHE / sizeof(bfloat16);
        groups = std::max(1L, room / (both * maps.height));
        rows = std::clamp((room - 2 * row) / both, 1L, maps.height);
        if (both * maps.height <= room) rows = maps.height;
    }
    long groups, rows;
};

// Add to the sums, [taps, blocks of inputs, blocks of outputs, 32 inputs, 32 outputs], what one thread's images give.
void filter_sums_share(const Maps<const bfloat16> &maps, const Maps<const bfloat16> &gradient, float *sums) {
    const Tiles tiles;
    const long from = blocks(maps.channels), to = blocks(gradient.channels), width = maps.width, height = maps.height;
    const Portion portion(maps, gradient);
    const long held = std::min(portion.rows + 2, height);
    const Room<bfloat16> inputs(portion.groups * held * maps.row_numbers());
    const Room<bfloat16> outputs(portion.groups * portion.rows * gradient.row_numbers());
    for (long image = 0; image < maps.images; image += portion.groups * BLOCK)
        for (long top = 0; top < height; top += portion.rows) {
            const long bottom = std::min(top + portion.rows, height);
            const long first = std::max(top - 1, 0L), end = std::min(bottom + 1, height);  // of the inputs' rows
            const long groups = std::min(portion.groups, (maps.images - image + BLOCK - 1) / BLOCK);
            const auto input = [&](long group, long y) {
                return inputs.start + (group * held + y - first) * maps.row_numbers();
            };
            const auto output = [&](long group, long y) {
                return outputs.start + (group * portion.rows + y - top) * gradient.row_numbers();
            };
            for (long group = 0; group < groups; ++group) {
                for (long y = first; y < end; ++y) lay_across<true>(maps, image + group * BLOCK, y, input(group, y));
                for (long y = top; y < bottom; ++y)
                    lay_across<false>(gradient, image + group * BLOCK, y, output(group, y));
            }
            settle();
            for (long i = 0; i < from; ++i)
                for (long o = 0; o < to; ++o)
                    for (long tap = 0; tap < TAPS; ++tap) {
                        const long down = tap / 3 - 1, right = tap % 3 - 1;
                        float *block = sums + ((tap * from + i) * to + o) * SUMS;
                        load_sums(block);
                        for (long group = 0; group < groups; ++group)
                            for (long y = std::max(top, -down); y < std::min(bottom, height - down); ++y)
                                for (long x = std::max(0L, -right); x < std::min(width, width - right); ++x)
                                    add_products(input(group, y + down) + ((x + right) * from + i) * PAIR,
                                                 output(group, y) + (x * to + o) * PAIR);
                        store_sums(block);
                    }
        }
}

// Add up what all threads have, and put it as filters lie: [outputs 3 3 inputs].
void collect_filters(const float *sums, float *filters, long outputs, long inputs, int shares, int threads) {
    const long from = blocks(inputs), to = blocks(outputs);
#pragma omp parallel for num_threads(threads)
    for (long o = 0; o < 2 * to; ++o)
        for (long tap = 0; tap < TAPS; ++tap)
            for (long i = 0; i < 2 * from; ++i) {
                const long within = i % 2 * SIDE * BLOCK + o % 2 * SIDE;
                const float *block = sums + ((tap * from + i / 2) * to + o / 2) * SUMS + within;
                __m512i rows[SIDE];
                for (long k = 0; k < SIDE; ++k) {
                    __m512 row = _mm512_setzero_ps();
                    for (long share = 0; share < shares; ++share)
                        row += _mm512_loadu_ps(block + share * TAPS * from * to * SUMS + k * BLOCK);
                    rows[k] = reinterpret_cast<__m512i>(row);
                }
                transpose(rows);
                const auto lanes = static_cast<__mmask16>((1u << std::clamp(inputs - i * SIDE, 0L, 16L)) - 1);
                for (long k = 0; k < SIDE && o * SIDE + k < outputs; ++k)
                    _mm512_mask_storeu_ps(filters + ((o * SIDE + k) * TAPS + tap) * inputs + i * SIDE, lanes,
                                          reinterpret_cast<__m512>(rows[k]));
            }
}

void convolve(const Maps<const bfloat16> &maps, const bfloat16 *bank, const Maps<bfloat16> &output, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread)
        convolve_share(maps.share(thread, threads), bank, output.share(thread, threads));
}

}  // namespace

// Ask the kernel for the tiles; 0 if it grants them to this process.
extern "C" int request_tiles() {
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
    return static_cast<int>(syscall(SYS_arch_prctl, REQUEST, TILE_DATA));
}

extern "C" void convolve_bfloat16(const bfloat16 *maps, const float *filters, bfloat16 *output, long n, long height,
                                  long width, long inputs, long outputs, int threads) {
    const Room<bfloat16> bank(TAPS * blocks(inputs) * blocks(outputs) * PAIR);
    bank_forward(filters, bank.start, outputs, inputs, threads);
    convolve({maps, n, height, width, inputs}, bank.start, {output, n, height, width, outputs}, threads);
}

extern "C" void map_gradient_bfloat16(const bfloat16 *gradient, const float *filters, bfloat16 *of_maps, long n,
                                      long height, long width, long inputs, long outputs, int threads) {
    const Room<bfloat16> bank(TAPS * blocks(inputs) * blocks(outputs) * PAIR);
    bank_backward(filters, bank.start, outputs, inputs, threads);
    convolve({gradient, n, height, width, outputs}, bank.start, {of_maps, n, height, width, inputs}, threads);
}

extern "C" void filter_gradient_bfloat16(const bfloat16 *maps, const bfloat16 *gradient, float *of_filters, long n,
                                         long height, long width, long inputs, long outputs, int threads) {
    const Maps<const bfloat16> all_maps{maps, n, height, width, inputs}, all_gradient{gradient, n, height, width, outputs};
    const long count = TAPS * blocks(inputs) * blocks(outputs) * SUMS;
    const Room<float> sums(threads * count);
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        float *mine = sums.start + thread * count;
        std::fill_n(mine, count, 0.0f);
        filter_sums_share(all_maps.share(thread, threads), all_gradient.share(thread, threads), mine);
    }
    collect_filters(sums.start, of_filters, outputs, inputs, threads, threads);
}

#endif
