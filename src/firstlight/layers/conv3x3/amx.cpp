// The 3x3 convolution of maps in bfloat16 and its gradients, by the matrix tiles of Intel's AMX.
//
// A tile is 16 rows of 64 bytes. One instruction multiplies a tile of 16 rows and 32 columns, bfloat16, with one of 32
// rows and 16 columns, whose rows are interleaved in pairs, and adds to 16 x 16 floats. There are eight tiles: four hold
// sums, 32 x 32, to which two on the left and two on the right give 32 products for each number that is loaded; so
// what is loaded may come from the second cache, but not from beyond. Maps are therefore worked on by groups of 32
// images, which are laid out anew, some rows at a time, so that every tile is 1 KiB in one piece:
//
// - to convolve, the images of a group are the rows of a tile, for one pixel and 32 channels. Nine taps are nine
//   pixels; those outside the maps are left out, not multiplied by zero, and maps of any width are cut without waste.
// - for the filters' gradient the images of a group are what is summed over: 32 channels of an input's pixel as rows,
//   transposed, times 32 channels of an output's pixel, images interleaved in pairs. Sums stay in their tiles for all pixels
//   of a block.
//
// The maps' gradient is the convolution of the output's with the filters transposed and turned round. Sums are float;
// what is rounded is the result. Maps are [images height width channels], filters [outputs 3 3 inputs], float.
// Channels are cut into blocks of 32, the last one filled with zeros.

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)

#include "simd.hpp"

#include <cstdlib>
#include <immintrin.h>
#include <new>
#include <utility>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

typedef std::uint8_t Bytes __attribute__((vector_size(LANES)));

constexpr int SIDE = 16;        // of a tile of sums, and half of a block's
constexpr int BLOCK = 32;       // images of a group, channels of a block
constexpr long ROW = 64;        // bytes in a tile's row
constexpr long TILE = SIDE * ROW / sizeof(bfloat16);  // numbers in a tile
constexpr long PAIR = 2 * TILE;                       // in two: BLOCK rows, or columns
constexpr long SUMS = BLOCK * BLOCK;
constexpr long TAPS = 9;
constexpr long CACHE = 5 << 18;  // bytes of the second cache that what is laid out may take

inline long blocks(long channels) { return (channels + BLOCK - 1) / BLOCK; }

// Memory that begins with a line of the cache.
template <class T>
struct Buffer {
    explicit Buffer(long count)
        : start(static_cast<T *>(std::aligned_alloc(ROW, (count * sizeof(T) + ROW - 1) / ROW * ROW))) {
        if (!start) throw std::bad_alloc();
    }
    ~Buffer() { std::free(start); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
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
inline void compiler_barrier() { asm volatile("" ::: "memory"); }

// Of a block's lanes the first ones.
inline __mmask32 first_lanes(long count) { return count >= BLOCK ? ~0u : (1u << std::max(count, 0L)) - 1; }

// A block of numbers in bfloat16; of fewer the rest is zero.
inline __m512i load_block(const bfloat16 *from, long count) {
    return _mm512_maskz_loadu_epi16(first_lanes(count), from);
}

inline __m512i load_block(const float *from, long count) {
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_lanes(count)), from);
    const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_lanes(count - SIDE)), from + SIDE);
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// What is stored has left the cache before it is read again: a whole line of it is not fetched first. Other threads
// see it after the barrier that ends a loop, whose locked instruction drains such stores.
inline void store_block(bfloat16 *to, __m512i numbers, long count) {
    if (count >= BLOCK && reinterpret_cast<std::uintptr_t>(to) % ROW == 0)
        return _mm512_stream_si512(reinterpret_cast<__m512i *>(to), numbers);
    if (count >= BLOCK) return _mm512_storeu_si512(to, numbers);
    _mm512_mask_storeu_epi16(to, first_lanes(count), numbers);
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
inline void interleave(__m512i upper, __m512i lower, __m512i &first, __m512i &second) {
    alignas(64) static constexpr bfloat16 order[BLOCK] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                          8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i places = _mm512_load_si512(order);
    first = _mm512_permutex2var_epi16(upper, places, lower);
    second = _mm512_permutex2var_epi16(upper, _mm512_add_epi16(places, _mm512_set1_epi16(SIDE)), lower);
}

// The size of maps, and which of their images are a thread's.
struct Shape {
    long images, height, width, channels;
    long first = 0;

    long row_numbers() const { return width * blocks(channels) * PAIR; }  // in a row of a group, laid out anew

    Shape share(long thread, long threads) const {
        const long from = images * thread / threads;
        return {images * (thread + 1) / threads - from, height, width, channels, from};
    }
};

// Maps to read. They may be some of those that lie in memory, `places` says which. Or they are the gradient of maps
// that were pooled over windows of 2x2: numbers are the pool's gradient, `which` of the window's pixels each belongs
// to lies in memory for all images, and all other pixels are zero.
struct Source {
    const bfloat16 *numbers;
    const long *places = nullptr;
    const std::uint8_t *which = nullptr;

    // Return a block's channels of a pixel.
    __m512i at(const Shape &shape, long image, long y, long x, long block) const {
        if (image >= shape.images) return _mm512_setzero_si512();
        image += shape.first;
        const long place = places ? places[image] : image, channel = block * BLOCK, count = shape.channels - channel;
        const long at = (place * shape.height + y) * shape.width + x;
        if (!which) return load_block(numbers + at * shape.channels + channel, count);
        const long height = shape.height / 2, width = shape.width / 2, window = y / 2 * width + x / 2;
        if (y / 2 >= height || x / 2 >= width) return _mm512_setzero_si512();
        const std::uint8_t *pixels = which + (place * height * width + window) * shape.channels + channel;
        const auto lanes = first_lanes(count);
        const __m256i pixel = _mm256_set1_epi8(static_cast<char>(y % 2 * 2 + x % 2));
        const __mmask32 is_this = _mm256_mask_cmpeq_epi8_mask(lanes, _mm256_maskz_loadu_epi8(lanes, pixels), pixel);
        const bfloat16 *pooled = numbers + (image * height * width + window) * shape.channels + channel;
        return _mm512_maskz_loadu_epi16(is_this, pooled);
    }
};

// Which rows of which groups are laid out at once: all rows of some groups, or some rows of one.
struct Chunk {
    // Bytes are a row's; those of as many rows more are needed at the ends of what is not all.
    Chunk(long height, long row_bytes, long more_bytes) {
        const bool takes_all = height * row_bytes <= CACHE;
        rows = takes_all ? height : std::min(height, std::max(2L, (CACHE - more_bytes) / row_bytes / 2 * 2));
        groups = takes_all ? CACHE / (height * row_bytes) : 1;
    }
    long rows, groups;
};

// A bank of filters: [blocks of outputs, taps, blocks of inputs, two tiles of 16 outputs], inputs interleaved in pairs.
void bank_forward(const float *filters, bfloat16 *bank, long outputs, long inputs, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long block = 0; block < 2 * blocks(outputs); ++block)
        for (long tap = 0; tap < TAPS; ++tap)
            for (long from = 0; from < blocks(inputs); ++from) {
                __m512i rows[SIDE];
                for (long i = 0; i < SIDE; ++i) {
                    const long output = block * SIDE + i, count = output < outputs ? inputs - from * BLOCK : 0;
                    const float *taps = filters + std::min(output, outputs - 1) * TAPS * inputs;
                    rows[i] = load_block(taps + tap * inputs + from * BLOCK, count);
                }
                transpose(rows);
                bfloat16 *to = bank + ((block / 2 * TAPS + tap) * blocks(inputs) + from) * PAIR + block % 2 * TILE;
                for (long i = 0; i < SIDE; ++i) _mm512_store_si512(to + i * BLOCK, rows[i]);
            }
}

// The same for the backward pass: the input is the gradient of the outputs, and the taps are reversed.
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
                        return load_block(taps + (TAPS - 1 - tap) * inputs + block * BLOCK, count);
                    };
                    __m512i first, second;
                    interleave(row(from * BLOCK + 2 * i), row(from * BLOCK + 2 * i + 1), first, second);
                    _mm512_store_si512(to + i * BLOCK, first);
                    _mm512_store_si512(to + TILE + i * BLOCK, second);
                }
            }
}

// Lay out a row of a group of images: [x, block of channels, image, channel]. Images that are missing are zero.
void lay_images(const Source &maps, const Shape &shape, long image, long y, bfloat16 *to) {
    const long num_blocks = blocks(shape.channels);
    for (long i = 0; i < BLOCK; ++i)
        for (long x = 0; x < shape.width; ++x)
            for (long block = 0; block < num_blocks; ++block)
                _mm512_store_si512(to + ((x * num_blocks + block) * BLOCK + i) * BLOCK,
                                   maps.at(shape, image + i, y, x, block));
}

// What two halves of a block have.
template <class T>
struct Halves {
    T of[2];
};

// Sums of what some images and pixels have above a pivot, and of the squares, for a block of channels.
struct Seen {
    Halves<Numbers> plain = {}, squares = {};
};

// Sums of a group of images and a block of channels, for one pixel or the four of a window, and what is known of them.
template <int PIXELS>
struct Batch {
    alignas(64) float sums[PIXELS][SUMS];
    long image = 0, y = 0, x = 0, block = 0;
    long done = BLOCK;  // so many images have been put
    Seen seen;

    void begin(long at_image, long at_y, long at_x, long of_block) {
        image = at_image, y = at_y, x = at_x, block = of_block;
        done = 0;
        seen = {};
    }
};

// Where the results of a convolution go, and what is done to them before: what is null is left out.
struct Target {
    bfloat16 *numbers;
    std::uint8_t *which = nullptr;   // of a window's pixels is the largest, where they are pooled
    bool rectifies = false;          // what is below zero becomes zero
    const float *pivots = nullptr;   // of the channels: near what will come
    double *moments = nullptr;       // sums of what is put less its pivot, and of the squares: [2 channels], a thread's

    // Put the next images of a batch, at most so many; of the pixels of a window only the largest is put.
    template <int PIXELS>
    void put(Batch<PIXELS> &batch, const Shape &shape, long at_most) const {
        if (batch.done == BLOCK) return;
        constexpr long STEP = PIXELS == 1 ? 1 : 2;
        const long width = shape.width / STEP, size = shape.height / STEP * width * shape.channels;
        const long channel = batch.block * BLOCK, count = shape.channels - channel;
        const long end = std::min<long>(batch.done + at_most, BLOCK);
        const long images = std::min(end, shape.images - batch.image);
        const long place = (batch.y / STEP * width + batch.x / STEP) * shape.channels + channel;
        const Halves<Numbers> pivot = at_channel(pivots, channel, count);
        Seen seen = batch.seen;
        for (long i = batch.done; i < images; ++i) {
            const long to = (shape.first + batch.image + i) * size + place;
            Halves<HalfBits> results;
            for (long half = 0; half < 2; ++half) {
                const long at = half * SIDE;
                Bits pixel = {};
                Numbers found = largest(batch.sums, i * BLOCK + at, pixel);
                if (which) {
                    const auto bytes = reinterpret_cast<__m128i>(__builtin_convertvector(pixel, Bytes));
                    _mm_mask_storeu_epi8(which + to + at, static_cast<__mmask16>(first_lanes(count - at)), bytes);
                }
                if (rectifies) found = found < 0 ? Numbers{} : found;
                if (moments) {
                    const Numbers off = found - pivot.of[half];
                    seen.plain.of[half] += off;
                    seen.squares.of[half] += off * off;
                }
                results.of[half] = rounded(found);
            }
            const auto low = reinterpret_cast<__m256i>(results.of[0]), high = reinterpret_cast<__m256i>(results.of[1]);
            store_block(numbers + to, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1), count);
        }
        batch.seen = seen;
        batch.done = end;
        if (moments && end == BLOCK) add_moments(batch, shape);
    }

    // Add to the moments what was seen of a batch.
    template <int PIXELS>
    void add_moments(const Batch<PIXELS> &batch, const Shape &shape) const {
        double *of_block = moments + batch.block * BLOCK;
        for (long lane = 0; lane < std::min<long>(shape.channels - batch.block * BLOCK, BLOCK); ++lane) {
            of_block[lane] += batch.seen.plain.of[lane / SIDE][lane % SIDE];
            of_block[shape.channels + lane] += batch.seen.squares.of[lane / SIDE][lane % SIDE];
        }
    }

    // The numbers of a block's channels, if there are any.
    static Halves<Numbers> at_channel(const float *numbers, long channel, long count) {
        if (!numbers) return {};
        const auto half = [=](long at) { return load(numbers + channel + at, std::max(count - at, 0L)); };
        return {half(0), half(SIDE)};
    }

    // The largest of the pixels' sums, and its place; of equal ones the first, or the last that is no number.
    template <int PIXELS>
    static Numbers largest(const float (&sums)[PIXELS][SUMS], long at, Bits &place) {
        Numbers best = load(sums[0] + at);
        for (int pixel = 1; pixel < PIXELS; ++pixel) {
            const Numbers other = load(sums[pixel] + at);
            const auto is_taken = (other > best) | (other != other);
            best = is_taken ? other : best;
            place = is_taken ? place * 0 + pixel : place;
        }
        return best;
    }
};

// Convolve the images of one thread. While a batch is multiplied, the one before it is put, by other units of the CPU.
template <int PIXELS>
void convolve_share(const Source &maps, const Shape &shape, const bfloat16 *bank, const Target &output,
                    const Shape &of_output) {
    const Tiles tiles;
    const long from = blocks(shape.channels), to = blocks(of_output.channels);
    const long width = shape.width, height = shape.height;
    const long row_bytes = shape.row_numbers() * sizeof(bfloat16);
    const Chunk chunk(height, row_bytes, 2 * row_bytes);
    const long held = std::min(chunk.rows + 2, height);
    const Buffer<bfloat16> rows(chunk.groups * held * shape.row_numbers());
    constexpr int STEP = PIXELS == 1 ? 1 : 2;
    constexpr long PUT_PER_TAP = 4 / PIXELS;  // of nine, at most, for each pixel
    Batch<PIXELS> batches[2];
    Batch<PIXELS> *now = batches, *before = batches + 1;
    for (long image = 0; image < shape.images; image += chunk.groups * BLOCK)
        for (long top = 0; top < height; top += chunk.rows) {
            const long bottom = std::min(top + chunk.rows, height);
            const long first = std::max(top - 1, 0L), end = std::min(bottom + 1, height);  // of rows needed
            const long groups = std::min(chunk.groups, (shape.images - image + BLOCK - 1) / BLOCK);
            const auto row = [&](long group, long y) {
                return rows.start + (group * held + y - first) * shape.row_numbers();
            };
            const auto convolve_at = [&](long group, long y, long x, long block) {
                clear_sums();
                for (long v = std::max(y - 1, 0L); v <= std::min(y + 1, height - 1); ++v)
                    for (long u = std::max(x - 1, 0L); u <= std::min(x + 1, width - 1); ++u) {
                        const long tap = 3 * (v - y + 1) + u - x + 1;
                        const bfloat16 *left = row(group, v) + u * from * PAIR;
                        const bfloat16 *right = bank + (block * TAPS + tap) * from * PAIR;
                        for (long i = 0; i < from; ++i) add_products(left + i * PAIR, right + i * PAIR);
                        output.put(*before, of_output, PUT_PER_TAP);
                    }
            };
            for (long group = 0; group < groups; ++group)
                for (long y = first; y < end; ++y) lay_images(maps, shape, image + group * BLOCK, y, row(group, y));
            compiler_barrier();
            for (long block = 0; block < to; ++block)
                for (long group = 0; group < groups; ++group)
                    for (long y = top; y + STEP <= bottom; y += STEP)
                        for (long x = 0; x + STEP <= width; x += STEP) {
                            for (int pixel = 0; pixel < PIXELS; ++pixel) {
                                convolve_at(group, y + pixel / STEP, x + pixel % STEP, block);
                                store_sums(now->sums[pixel]);
                            }
                            output.put(*before, of_output, BLOCK);
                            now->begin(image + group * BLOCK, y, x, block);
                            std::swap(now, before);
                        }
        }
    output.put(*before, of_output, BLOCK);
}

// Lay out a row of a group of images with the images side by side: interleaved in pairs, [x, block of channels, half of the
// block, pair of images, channel, image of the pair], or transposed, [x, block of channels, channel, image].
template <bool IS_TRANSPOSED>
void lay_across(const Source &maps, const Shape &shape, long image, long y, bfloat16 *to) {
    for (long x = 0; x < shape.width; ++x)
        for (long block = 0; block < blocks(shape.channels); ++block, to += PAIR) {
            __m512i halves[2][SIDE];
            for (long i = 0; i < SIDE; ++i)
                interleave(maps.at(shape, image + 2 * i, y, x, block), maps.at(shape, image + 2 * i + 1, y, x, block),
                      halves[0][i], halves[1][i]);
            for (long half = 0; half < 2; ++half) {
                if (IS_TRANSPOSED) transpose(halves[half]);
                for (long i = 0; i < SIDE; ++i) _mm512_store_si512(to + half * TILE + i * BLOCK, halves[half][i]);
            }
        }
}

// Sum up what one thread's images give: [taps, blocks of inputs, blocks of outputs, 32 inputs, 32 outputs].
void filter_sums_share(const Source &maps, const Shape &shape, const Source &gradient, const Shape &of_gradient,
                       float *sums) {
    const Tiles tiles;
    const long from = blocks(shape.channels), to = blocks(of_gradient.channels);
    const long width = shape.width, height = shape.height;
    const long row_bytes = shape.row_numbers() * sizeof(bfloat16);
    const Chunk chunk(height, row_bytes + of_gradient.row_numbers() * sizeof(bfloat16), 2 * row_bytes);
    const long held = std::min(chunk.rows + 2, height);
    const Buffer<bfloat16> inputs(chunk.groups * held * shape.row_numbers());
    const Buffer<bfloat16> outputs(chunk.groups * chunk.rows * of_gradient.row_numbers());
    for (long image = 0; image < shape.images; image += chunk.groups * BLOCK)
        for (long top = 0; top < height; top += chunk.rows) {
            const long bottom = std::min(top + chunk.rows, height);
            const long first = std::max(top - 1, 0L), end = std::min(bottom + 1, height);  // of the inputs' rows
            const long groups = std::min(chunk.groups, (shape.images - image + BLOCK - 1) / BLOCK);
            const auto input = [&](long group, long y) {
                return inputs.start + (group * held + y - first) * shape.row_numbers();
            };
            const auto output = [&](long group, long y) {
                return outputs.start + (group * chunk.rows + y - top) * of_gradient.row_numbers();
            };
            for (long group = 0; group < groups; ++group) {
                const long at = image + group * BLOCK;
                for (long y = first; y < end; ++y) lay_across<true>(maps, shape, at, y, input(group, y));
                for (long y = top; y < bottom; ++y) lay_across<false>(gradient, of_gradient, at, y, output(group, y));
            }
            compiler_barrier();
            for (long i = 0; i < from; ++i)
                for (long o = 0; o < to; ++o)
                    for (long tap = 0; tap < TAPS; ++tap) {
                        const long down = tap / 3 - 1, right = tap % 3 - 1;
                        float *block = sums + ((tap * from + i) * to + o) * SUMS;
                        image == 0 && top == 0 ? clear_sums() : load_sums(block);
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
                const auto lanes = static_cast<__mmask16>(first_lanes(inputs - i * SIDE));
                for (long k = 0; k < SIDE && o * SIDE + k < outputs; ++k)
                    _mm512_mask_storeu_ps(filters + ((o * SIDE + k) * TAPS + tap) * inputs + i * SIDE, lanes,
                                          reinterpret_cast<__m512>(rows[k]));
            }
}

void convolve(const Source &maps, const Shape &shape, const bfloat16 *bank, const Target &output,
              const Shape &of_output, bool pools, int threads) {
    const auto convolve_some = pools ? convolve_share<4> : convolve_share<1>;
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        Target mine = output;
        if (mine.moments) {
            mine.moments += 2 * thread * of_output.channels;
            std::fill_n(mine.moments, 2 * of_output.channels, 0.0);
        }
        convolve_some(maps, shape.share(thread, threads), bank, mine, of_output.share(thread, threads));
    }
}

}  // namespace

// Ask the kernel for the tiles; 0 if it grants them to this process.
extern "C" int request_tiles() {
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
    return static_cast<int>(syscall(SYS_arch_prctl, REQUEST, TILE_DATA));
}

// Where it pools, over windows of 2x2, the output is smaller. For `which` and what follows it see Target; moments are
// [threads 2 outputs].
extern "C" void convolve_bfloat16(const bfloat16 *maps, const float *filters, bfloat16 *output, std::uint8_t *which,
                                  const float *pivots, double *moments, long pools, long rectifies, long n,
                                  long height, long width, long inputs, long outputs, int threads) {
    const Buffer<bfloat16> bank(TAPS * blocks(inputs) * blocks(outputs) * PAIR);
    bank_forward(filters, bank.start, outputs, inputs, threads);
    const Shape shape{n, height, width, inputs}, of_output{n, height, width, outputs};
    const Target target{output, which, rectifies != 0, pivots, moments};
    convolve({maps}, shape, bank.start, target, of_output, pools != 0, threads);
}

// Gradients are of images at some places among those of the maps, and of `which`.
extern "C" void map_gradient_bfloat16(const bfloat16 *gradient, const long *places, const std::uint8_t *which,
                                      const float *filters, bfloat16 *of_maps, long n, long height, long width,
                                      long inputs, long outputs, int threads) {
    const Buffer<bfloat16> bank(TAPS * blocks(inputs) * blocks(outputs) * PAIR);
    bank_backward(filters, bank.start, outputs, inputs, threads);
    const Shape shape{n, height, width, outputs}, of_output{n, height, width, inputs};
    convolve({gradient, which ? places : nullptr, which}, shape, bank.start, {of_maps}, of_output, false, threads);
}

extern "C" void filter_gradient_bfloat16(const bfloat16 *maps, const bfloat16 *gradient, const long *places,
                                         const std::uint8_t *which, float *of_filters, long n, long height, long width,
                                         long inputs, long outputs, int threads) {
    const Source all_maps{maps, places}, all_gradients{gradient, which ? places : nullptr, which};
    const Shape shape{n, height, width, inputs}, of_gradient{n, height, width, outputs};
    const long count = TAPS * blocks(inputs) * blocks(outputs) * SUMS;
    const Buffer<float> sums(threads * count);
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        float *mine = sums.start + thread * count;
        const Shape share = shape.share(thread, threads), of_share = of_gradient.share(thread, threads);
        if (share.images == 0) std::fill_n(mine, count, 0.0f);
        filter_sums_share(all_maps, share, all_gradients, of_share, mine);
    }
    collect_filters(sums.start, of_filters, outputs, inputs, threads, threads);
}

#endif
