// The 3x3 convolution of maps in bfloat16 and its gradients with the tiles of Intel's AMX: see amx.py for the caller.
//
// Maps are [images height width channels], filters float [outputs 3 3 inputs]. Sums are float; results are rounded to
// bfloat16.
//
// An AMX tile is 16 rows of 64 bytes. One instruction multiplies two tiles and adds the product to a third:
//
//         left, 16 x 32 bfloat16          right, 32 x 16 bfloat16, rows in interleaved pairs      sums, 16 x 16 float
//     row 0:  k0 k1 k2 .. k31         row 0:  k0n0 k1n0  k0n1 k1n1 .. k0n15 k1n15               row 0:  n0 .. n15
//     row 1:  k0 k1 k2 .. k31    x    row 1:  k2n0 k3n0  k2n1 k3n1 .. k2n15 k3n15        +=     row 1:  n0 .. n15
//     ..                              ..                                                         ..
//
// There are eight tiles. Four hold sums, so that each loaded tile is used twice:
//
//                 | tile 6 | tile 7 |     right
//     left        +--------+--------+
//     | tile 4 |  | tile 0 | tile 1 |     32 x 32 sums: a block
//     | tile 5 |  | tile 2 | tile 3 |
//                 +--------+--------+
//
// The operands may thus come from the second-level cache, but not from beyond it. So maps are processed in groups of 32
// images and blocks of 32 channels (the last ones filled with zeros), and a few rows at a time are copied into a buffer
// in which every tile is 1 KiB of contiguous memory:
//
//     convolution:         row y of a group:  [x][block of channels][image 0 .. 31][channel 0 .. 31]
//                          The images of a group are the rows of the left tiles, for one pixel. Each of the nine
//                          taps is another pixel of the buffer; taps outside the maps are skipped.
//     filter gradient:     input:   [x][block][channel 0 .. 31][image 0 .. 31]          left, transposed
//                          output:  [x][block][half][pair of images][channel of the half][image of the pair]    right
//                          The sum runs over images; it stays in the tiles for all pixels in the buffer.
//     filters (the bank):  [block of outputs][tap][block of inputs][half][pair of inputs][output of the half][input]
//
// The gradient of the maps is a convolution of the output's gradient with transposed filters and reversed taps.

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)

#include "simd.hpp"

#include <cstdlib>
#include <immintrin.h>
#include <new>
#include <utility>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

typedef std::uint8_t ByteVector __attribute__((vector_size(LANES)));

constexpr int SIDE = 16;        // rows and columns of a tile of sums: half of a block
constexpr int BLOCK = 32;       // images of a group, channels of a block
constexpr long ROW = 64;        // bytes in a tile's row
constexpr long TILE = SIDE * ROW / sizeof(bfloat16);  // numbers in a tile
constexpr long PAIR = 2 * TILE;                       // numbers in two tiles: BLOCK rows or columns
constexpr long SUMS = BLOCK * BLOCK;
constexpr long TAPS = 9;
constexpr long CACHE = 5 << 18;  // bytes of the second-level cache for the packed buffers

inline long blocks(long channels) { return (channels + BLOCK - 1) / BLOCK; }

// Memory aligned to a cache line.
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

// Configures eight tiles of full size for this thread, and releases them at the end of its scope.
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

// Tiles 0 to 3 hold the sums: upper left, upper right, lower left, lower right.
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

// Add the product of two left tiles, one above the other, and two right tiles, side by side.
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

// The compiler does not know that tile loads read memory; this barrier makes it complete all writes before them.
inline void compiler_barrier() { asm volatile("" ::: "memory"); }

// A mask of the first `count` lanes of a block.
inline __mmask32 first_lanes(long count) { return count >= BLOCK ? ~0u : (1u << std::max(count, 0L)) - 1; }

// Load `count` numbers of a block as bfloat16; the others are zero.
inline __m512i load_block(const bfloat16 *from, long count) {
    return _mm512_maskz_loadu_epi16(first_lanes(count), from);
}

inline __m512i load_block(const float *from, long count) {
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_lanes(count)), from);
    const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_lanes(count - SIDE)), from + SIDE);
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// Store the first `count` numbers of a block, by a streaming store if they fill a cache line: see simd.hpp.
inline void store_block(bfloat16 *to, __m512i numbers, long count) {
    if (count >= BLOCK && reinterpret_cast<std::uintptr_t>(to) % ROW == 0)
        return _mm512_stream_si512(reinterpret_cast<__m512i *>(to), numbers);
    if (count >= BLOCK) return _mm512_storeu_si512(to, numbers);
    _mm512_mask_storeu_epi16(to, first_lanes(count), numbers);
}

// Transpose a matrix of 16 x 16 float, or pairs of bfloat16.
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

// Interleave two rows of 32 numbers: `first` receives pairs 0 to 15, `second` pairs 16 to 31.
inline void interleave(__m512i upper, __m512i lower, __m512i &first, __m512i &second) {
    alignas(64) static constexpr bfloat16 order[BLOCK] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                          8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i indices = _mm512_load_si512(order);
    first = _mm512_permutex2var_epi16(upper, indices, lower);
    second = _mm512_permutex2var_epi16(upper, _mm512_add_epi16(indices, _mm512_set1_epi16(SIDE)), lower);
}

// The shape of maps; `first` is the index of the first image that belongs to a thread.
struct Shape {
    long images, height, width, channels;
    long first = 0;

    long row_numbers() const { return width * blocks(channels) * PAIR; }  // in a packed row of a group

    Shape chunk(long thread, long threads) const {
        const long from = images * thread / threads;
        return {images * (thread + 1) / threads - from, height, width, channels, from};
    }
};

// Maps to read. With `indices`, image i is image indices[i] in memory. With `argmax`, the maps are the gradient of maps
// that were max-pooled over 2x2 windows: `numbers` holds the gradient of the pooled maps, `argmax` the position of each
// maximum in its window (for all images in memory), and all other pixels are zero.
struct Source {
    const bfloat16 *numbers;
    const long *indices = nullptr;
    const std::uint8_t *argmax = nullptr;

    // Load one block of channels of a pixel.
    __m512i at(const Shape &shape, long image, long y, long x, long block) const {
        if (image >= shape.images) return _mm512_setzero_si512();
        image += shape.first;
        const long index = indices ? indices[image] : image, channel = block * BLOCK, count = shape.channels - channel;
        const long at = (index * shape.height + y) * shape.width + x;
        if (!argmax) return load_block(numbers + at * shape.channels + channel, count);
        const long height = shape.height / 2, width = shape.width / 2, window = y / 2 * width + x / 2;
        if (y / 2 >= height || x / 2 >= width) return _mm512_setzero_si512();
        const std::uint8_t *pixels = argmax + (index * height * width + window) * shape.channels + channel;
        const auto lanes = first_lanes(count);
        const __m256i pixel = _mm256_set1_epi8(static_cast<char>(y % 2 * 2 + x % 2));
        const __mmask32 is_this = _mm256_mask_cmpeq_epi8_mask(lanes, _mm256_maskz_loadu_epi8(lanes, pixels), pixel);
        const bfloat16 *pooled = numbers + (image * height * width + window) * shape.channels + channel;
        return _mm512_maskz_loadu_epi16(is_this, pooled);
    }
};

// The number of rows and groups that are packed into the buffer at once: all rows of some groups, or some rows of one.
struct PackedSize {
    // border_bytes: size of the two neighbouring rows, above and below, that must be packed, too.
    PackedSize(long height, long row_bytes, long border_bytes) {
        const bool takes_all = height * row_bytes <= CACHE;
        rows = takes_all ? height : std::min(height, std::max(2L, (CACHE - border_bytes) / row_bytes / 2 * 2));
        groups = takes_all ? CACHE / (height * row_bytes) : 1;
    }
    long rows, groups;
};

// Pack filters into a bank for the convolution: see the top of this file.
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

// Pack filters into a bank for the gradient of the maps: inputs and outputs are exchanged, and the taps are reversed.
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

// Pack row y of a group of images for the convolution: [x][block of channels][image][channel]. Missing images are zero.
void pack_images(const Source &maps, const Shape &shape, long image, long y, bfloat16 *to) {
    const long num_blocks = blocks(shape.channels);
    for (long i = 0; i < BLOCK; ++i)
        for (long x = 0; x < shape.width; ++x)
            for (long block = 0; block < num_blocks; ++block)
                _mm512_store_si512(to + ((x * num_blocks + block) * BLOCK + i) * BLOCK,
                                   maps.at(shape, image + i, y, x, block));
}

// A pair of vectors, for the two halves of a block of 32 channels.
template <class T>
struct BlockVector {
    T half[2];
};

// The sums of x - pivot and of its square over images and pixels, for a block of channels.
struct MomentSums {
    BlockVector<FloatVector> differences = {}, squares = {};
};

// The results for a group of images and a block of channels, at one pixel or at the four pixels of a window.
template <int PIXELS>
struct Batch {
    alignas(64) float sums[PIXELS][SUMS];
    long image = 0, y = 0, x = 0, block = 0;
    long num_stored = BLOCK;  // images that have been stored
    MomentSums moment_sums;

    void begin(long at_image, long at_y, long at_x, long of_block) {
        image = at_image, y = at_y, x = at_x, block = of_block;
        num_stored = 0;
        moment_sums = {};
    }
};

// The destination of the results of a convolution, and its epilogue: max pooling if PIXELS is 4, ReLU, moments.
struct Output {
    bfloat16 *numbers;
    std::uint8_t *argmax = nullptr;  // positions of the maxima in their windows, or null
    bool applies_relu = false;
    const float *pivots = nullptr;  // [channels], numbers near the means
    double *moments = nullptr;      // the sums of x - pivot and of its square for one thread, [2 channels], or null

    // Apply the epilogue to the next images of a batch, at most `at_most` of them, and store them.
    template <int PIXELS>
    void store_images(Batch<PIXELS> &batch, const Shape &shape, long at_most) const {
        if (batch.num_stored == BLOCK) return;
        constexpr long STEP = PIXELS == 1 ? 1 : 2;
        const long width = shape.width / STEP, size = shape.height / STEP * width * shape.channels;
        const long channel = batch.block * BLOCK, count = shape.channels - channel;
        const long end = std::min<long>(batch.num_stored + at_most, BLOCK);
        const long images = std::min(end, shape.images - batch.image);
        const long pixel_offset = (batch.y / STEP * width + batch.x / STEP) * shape.channels + channel;
        const BlockVector<FloatVector> pivot = at_channel(pivots, channel, count);
        MomentSums moment_sums = batch.moment_sums;
        for (long i = batch.num_stored; i < images; ++i) {
            const long to = (shape.first + batch.image + i) * size + pixel_offset;
            BlockVector<Bfloat16Vector> results;
            for (long h = 0; h < 2; ++h) {
                const long at = h * SIDE;
                Uint32Vector pixel = {};
                FloatVector value = largest(batch.sums, i * BLOCK + at, pixel);
                if (argmax) {
                    const auto bytes = reinterpret_cast<__m128i>(__builtin_convertvector(pixel, ByteVector));
                    _mm_mask_storeu_epi8(argmax + to + at, static_cast<__mmask16>(first_lanes(count - at)), bytes);
                }
                if (applies_relu) value = value < 0 ? FloatVector{} : value;
                if (moments) {
                    const FloatVector difference = value - pivot.half[h];
                    moment_sums.differences.half[h] += difference;
                    moment_sums.squares.half[h] += difference * difference;
                }
                results.half[h] = to_bfloat16(value);
            }
            const auto low = reinterpret_cast<__m256i>(results.half[0]);
            const auto high = reinterpret_cast<__m256i>(results.half[1]);
            store_block(numbers + to, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1), count);
        }
        batch.moment_sums = moment_sums;
        batch.num_stored = end;
        if (moments && end == BLOCK) add_moments(batch, shape);
    }

    // Add the sums of a batch to the moments.
    template <int PIXELS>
    void add_moments(const Batch<PIXELS> &batch, const Shape &shape) const {
        double *of_block = moments + batch.block * BLOCK;
        for (long lane = 0; lane < std::min<long>(shape.channels - batch.block * BLOCK, BLOCK); ++lane) {
            of_block[lane] += batch.moment_sums.differences.half[lane / SIDE][lane % SIDE];
            of_block[shape.channels + lane] += batch.moment_sums.squares.half[lane / SIDE][lane % SIDE];
        }
    }

    // Load the numbers of a block of channels; zeros if `numbers` is null.
    static BlockVector<FloatVector> at_channel(const float *numbers, long channel, long count) {
        if (!numbers) return {};
        const auto half = [=](long at) { return load(numbers + channel + at, std::max(count - at, 0L)); };
        return {half(0), half(SIDE)};
    }

    // The maximum over the pixels of a window and its position: the first of equal maxima, or the last NaN.
    template <int PIXELS>
    static FloatVector largest(const float (&sums)[PIXELS][SUMS], long at, Uint32Vector &position) {
        FloatVector best = load(sums[0] + at);
        for (int pixel = 1; pixel < PIXELS; ++pixel) {
            const FloatVector other = load(sums[pixel] + at);
            const auto is_taken = (other > best) | (other != other);
            best = is_taken ? other : best;
            position = is_taken ? position * 0 + pixel : position;
        }
        return best;
    }
};

// Convolve the images of one thread. While the tiles multiply a batch, the vector units store the previous batch.
template <int PIXELS>
void convolve_chunk(const Source &maps, const Shape &shape, const bfloat16 *bank, const Output &output,
                    const Shape &output_shape) {
    const Tiles tiles;
    const long from = blocks(shape.channels), to = blocks(output_shape.channels);
    const long width = shape.width, height = shape.height;
    const long row_bytes = shape.row_numbers() * sizeof(bfloat16);
    const PackedSize packed(height, row_bytes, 2 * row_bytes);
    const long buffer_rows = std::min(packed.rows + 2, height);
    const Buffer<bfloat16> rows(packed.groups * buffer_rows * shape.row_numbers());
    constexpr int STEP = PIXELS == 1 ? 1 : 2;
    constexpr long STORED_PER_TAP = 4 / PIXELS;  // images of the last batch that are stored for each of up to nine taps
    Batch<PIXELS> batches[2];
    Batch<PIXELS> *now = batches, *before = batches + 1;
    for (long image = 0; image < shape.images; image += packed.groups * BLOCK)
        for (long top = 0; top < height; top += packed.rows) {
            const long bottom = std::min(top + packed.rows, height);
            const long first = std::max(top - 1, 0L), end = std::min(bottom + 1, height);  // rows with neighbours
            const long groups = std::min(packed.groups, (shape.images - image + BLOCK - 1) / BLOCK);
            const auto row = [&](long group, long y) {
                return rows.start + (group * buffer_rows + y - first) * shape.row_numbers();
            };
            const auto convolve_at = [&](long group, long y, long x, long block) {
                clear_sums();
                for (long v = std::max(y - 1, 0L); v <= std::min(y + 1, height - 1); ++v)
                    for (long u = std::max(x - 1, 0L); u <= std::min(x + 1, width - 1); ++u) {
                        const long tap = 3 * (v - y + 1) + u - x + 1;
                        const bfloat16 *left = row(group, v) + u * from * PAIR;
                        const bfloat16 *right = bank + (block * TAPS + tap) * from * PAIR;
                        for (long i = 0; i < from; ++i) add_products(left + i * PAIR, right + i * PAIR);
                        output.store_images(*before, output_shape, STORED_PER_TAP);
                    }
            };
            for (long group = 0; group < groups; ++group)
                for (long y = first; y < end; ++y) pack_images(maps, shape, image + group * BLOCK, y, row(group, y));
            compiler_barrier();
            for (long block = 0; block < to; ++block)
                for (long group = 0; group < groups; ++group)
                    for (long y = top; y + STEP <= bottom; y += STEP)
                        for (long x = 0; x + STEP <= width; x += STEP) {
                            for (int pixel = 0; pixel < PIXELS; ++pixel) {
                                convolve_at(group, y + pixel / STEP, x + pixel % STEP, block);
                                store_sums(now->sums[pixel]);
                            }
                            output.store_images(*before, output_shape, BLOCK);
                            now->begin(image + group * BLOCK, y, x, block);
                            std::swap(now, before);
                        }
        }
    output.store_images(*before, output_shape, BLOCK);
}

// Pack row y of a group of images for the filter gradient, images innermost: interleaved in pairs, [x][block of
// channels][half][pair of images][channel of the half][image of the pair], or transposed, [x][block][channel][image].
template <bool IS_TRANSPOSED>
void pack_images_innermost(const Source &maps, const Shape &shape, long image, long y, bfloat16 *to) {
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

// Compute the filter gradient of one thread's images: [taps][blocks of inputs][blocks of outputs][32 inputs][32
// outputs].
void filter_sums_chunk(const Source &maps, const Shape &shape, const Source &gradient, const Shape &gradient_shape,
                       float *sums) {
    const Tiles tiles;
    const long from = blocks(shape.channels), to = blocks(gradient_shape.channels);
    const long width = shape.width, height = shape.height;
    const long row_bytes = shape.row_numbers() * sizeof(bfloat16);
    const PackedSize packed(height, row_bytes + gradient_shape.row_numbers() * sizeof(bfloat16), 2 * row_bytes);
    const long buffer_rows = std::min(packed.rows + 2, height);
    const Buffer<bfloat16> inputs(packed.groups * buffer_rows * shape.row_numbers());
    const Buffer<bfloat16> outputs(packed.groups * packed.rows * gradient_shape.row_numbers());
    for (long image = 0; image < shape.images; image += packed.groups * BLOCK)
        for (long top = 0; top < height; top += packed.rows) {
            const long bottom = std::min(top + packed.rows, height);
            const long first = std::max(top - 1, 0L), end = std::min(bottom + 1, height);  // rows of the input
            const long groups = std::min(packed.groups, (shape.images - image + BLOCK - 1) / BLOCK);
            const auto input = [&](long group, long y) {
                return inputs.start + (group * buffer_rows + y - first) * shape.row_numbers();
            };
            const auto output = [&](long group, long y) {
                return outputs.start + (group * packed.rows + y - top) * gradient_shape.row_numbers();
            };
            for (long group = 0; group < groups; ++group) {
                const long at = image + group * BLOCK;
                for (long y = first; y < end; ++y) pack_images_innermost<true>(maps, shape, at, y, input(group, y));
                for (long y = top; y < bottom; ++y)
                    pack_images_innermost<false>(gradient, gradient_shape, at, y, output(group, y));
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

// Add the filter gradients of all threads and reorder them to [outputs 3 3 inputs].
void collect_filters(const float *sums, float *filters, long outputs, long inputs, int num_parts, int threads) {
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
                    for (long part = 0; part < num_parts; ++part)
                        row += _mm512_loadu_ps(block + part * TAPS * from * to * SUMS + k * BLOCK);
                    rows[k] = reinterpret_cast<__m512i>(row);
                }
                transpose(rows);
                const auto lanes = static_cast<__mmask16>(first_lanes(inputs - i * SIDE));
                for (long k = 0; k < SIDE && o * SIDE + k < outputs; ++k)
                    _mm512_mask_storeu_ps(filters + ((o * SIDE + k) * TAPS + tap) * inputs + i * SIDE, lanes,
                                          reinterpret_cast<__m512>(rows[k]));
            }
}

void convolve(const Source &maps, const Shape &shape, const bfloat16 *bank, const Output &output,
              const Shape &output_shape, bool pools, int threads) {
    const auto convolve_one_chunk = pools ? convolve_chunk<4> : convolve_chunk<1>;
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        Output own = output;
        if (own.moments) {
            own.moments += 2 * thread * output_shape.channels;
            std::fill_n(own.moments, 2 * output_shape.channels, 0.0);
        }
        convolve_one_chunk(maps, shape.chunk(thread, threads), bank, own, output_shape.chunk(thread, threads));
    }
}

}  // namespace

// Ask Linux for permission to use the tiles in this process; 0 if it is granted.
extern "C" int request_tiles() {
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
    return static_cast<int>(syscall(SYS_arch_prctl, REQUEST, TILE_DATA));
}

// With `pools`, the output is max-pooled over 2x2 windows: [images height/2 width/2 outputs]. For the other arguments
// of the epilogue see Output; moments are [threads 2 outputs].
extern "C" void convolve_bfloat16(const bfloat16 *maps, const float *filters, bfloat16 *output, std::uint8_t *argmax,
                                  const float *pivots, double *moments, long pools, long applies_relu, long n,
                                  long height, long width, long inputs, long outputs, int threads) {
    const Buffer<bfloat16> bank(TAPS * blocks(inputs) * blocks(outputs) * PAIR);
    bank_forward(filters, bank.start, outputs, inputs, threads);
    const Shape shape{n, height, width, inputs}, output_shape{n, height, width, outputs};
    const Output target{output, argmax, applies_relu != 0, pivots, moments};
    convolve({maps}, shape, bank.start, target, output_shape, pools != 0, threads);
}

// The gradient holds n images; the i-th belongs to image indices[i] of the maps and of `argmax`.
extern "C" void map_gradient_bfloat16(const bfloat16 *gradient, const long *indices, const std::uint8_t *argmax,
                                      const float *filters, bfloat16 *grad_maps, long n, long height, long width,
                                      long inputs, long outputs, int threads) {
    const Buffer<bfloat16> bank(TAPS * blocks(inputs) * blocks(outputs) * PAIR);
    bank_backward(filters, bank.start, outputs, inputs, threads);
    const Shape shape{n, height, width, outputs}, output_shape{n, height, width, inputs};
    const Source pooled_gradient{gradient, argmax ? indices : nullptr, argmax};
    convolve(pooled_gradient, shape, bank.start, {grad_maps}, output_shape, false, threads);
}

extern "C" void filter_gradient_bfloat16(const bfloat16 *maps, const bfloat16 *gradient, const long *indices,
                                         const std::uint8_t *argmax, float *grad_filters, long n, long height,
                                         long width, long inputs, long outputs, int threads) {
    const Source all_maps{maps, indices}, all_gradients{gradient, argmax ? indices : nullptr, argmax};
    const Shape shape{n, height, width, inputs}, gradient_shape{n, height, width, outputs};
    const long count = TAPS * blocks(inputs) * blocks(outputs) * SUMS;
    const Buffer<float> sums(threads * count);
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
        float *own = sums.start + thread * count;
        const Shape chunk = shape.chunk(thread, threads), gradient_chunk = gradient_shape.chunk(thread, threads);
        if (chunk.images == 0) std::fill_n(own, count, 0.0f);
        filter_sums_chunk(all_maps, chunk, all_gradients, gradient_chunk, own);
    }
    collect_filters(sums.start, grad_filters, outputs, inputs, threads, threads);
}

#endif
