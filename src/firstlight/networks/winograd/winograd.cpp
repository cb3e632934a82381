// Winograd's convolution F(4x4, 3x3) and its gradients on a CPU, compiled for the CPU that runs it.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv 1509.09308), equation 13 and
// section 4.3. The same in PyTorch, slower and easier to read, is in plain.py; native.py compiles and calls this.
//
// Maps are [images height width channels]. Products, which is what the transforms give and take, are
// [36 elements, panels, tiles, 16 lanes]: element 6 y + x of every 6x6 tile is one matrix, whose columns, the channels,
// are cut into panels of 16. Lanes beyond the last channel are zero. One matrix is a line of the cache longer than
// its numbers, or all elements of a tile would want the same places in the cache. Tiles are numbered by image, row and
// column. A bank of filters is held as products, too: each input channel is an image of 3x3 pixels and its one tile.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#ifdef __AVX__
#include <immintrin.h>
#endif

namespace {

constexpr int ELEMENTS = 36, PANEL = 16, OUT = 4;

// Where products are.
struct Products {
    long tiles, channels;
    long panels() const { return (channels + PANEL - 1) / PANEL; }
    long element() const { return (panels() * tiles + 1) * PANEL; }  // from one matrix to the next
    long size() const { return ELEMENTS * element(); }
    long at(long element_number, long panel) const { return element_number * element() + panel * tiles * PANEL; }
    long lanes(long panel) const { return std::min<long>(PANEL, channels - panel * PANEL); }
};

// Where maps are, and how they are cut into tiles.
struct Maps {
    long images, height, width, channels;
    long rows() const { return (height + OUT - 1) / OUT; }
    long columns() const { return (width + OUT - 1) / OUT; }
    Products products() const { return {images * rows() * columns(), channels}; }
    long pixel(long image, long y, long x) const { return ((image * height + y) * width + x) * channels; }
    bool holds(long y, long x) const { return y >= 0 && y < height && x >= 0 && x < width; }
};

// Vectors of the compiler's; more lanes than a register has become several registers.
template <class T, int LANES>
struct Vector {
    typedef T type __attribute__((vector_size(LANES * sizeof(T))));
};

template <class V, class T>
inline V load(const T *from) {
    V value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class V, class T>
inline void store(T *to, V value) {
    std::memcpy(to, &value, sizeof value);
}

// Store what will not be read before it has left the cache: where the CPU can, without fetching first what was there.
// Other threads see it after the barrier that ends a loop, whose locked instruction drains such stores.
template <class V, class T>
inline void store_far(T *to, V value) {
#ifdef __AVX__
    if (reinterpret_cast<std::uintptr_t>(to) % sizeof(__m256) == 0) {
        __m256 parts[sizeof(V) / sizeof(__m256)];
        std::memcpy(parts, &value, sizeof value);
        for (unsigned part = 0; part < sizeof(V) / sizeof(__m256); ++part)
            _mm256_stream_ps(reinterpret_cast<float *>(to) + 8 * part, parts[part]);
        return;
    }
#endif
    store(to, value);
}

// The same for the first lanes only; the others are zero.
template <class V, class T>
inline V load(const T *from, long lanes) {
    if (lanes == PANEL) return load<V>(from);
    V value = {};
    for (long lane = 0; lane < lanes; ++lane) value[lane] = from[lane];
    return value;
}

template <class V, class T>
inline void store(T *to, V value, long lanes) {
    if (lanes == PANEL) return store(to, value);
    for (long lane = 0; lane < lanes; ++lane) to[lane] = value[lane];
}

// ---- Transforms. Each struct is one column or row of a tile: B' d, A' m, G g of the paper, and the adjoint of each.

struct Input {
    static constexpr int FROM = 6, TO = 6;
    template <class V>
    static void apply(const V *d, V *v) {
        const V a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
        v[0] = 4 * d[0] - 5 * d[2] + d[4];
        v[1] = a + b, v[2] = a - b, v[3] = c + e, v[4] = c - e;
        v[5] = 4 * d[1] - 5 * d[3] + d[5];
    }
};

struct InputAdjoint {
    static constexpr int FROM = 6, TO = 6;
    template <class V>
    static void apply(const V *v, V *d) {
        const V a = v[1] + v[2], b = v[1] - v[2], c = v[3] + v[4], e = 2 * (v[3] - v[4]);
        d[0] = 4 * v[0];
        d[1] = 4 * (v[5] - b) - e;
        d[2] = -5 * v[0] - 4 * a - c;
        d[3] = b + e - 5 * v[5];
        d[4] = v[0] + a + c;
        d[5] = v[5];
    }
};

struct Output {
    static constexpr int FROM = 6, TO = 4;
    template <class V>
    static void apply(const V *m, V *y) {
        const V a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
        y[0] = m[0] + a + c, y[1] = b + 2 * e, y[2] = a + 4 * c, y[3] = b + 8 * e + m[5];
    }
};

struct OutputAdjoint {
    static constexpr int FROM = 4, TO = 6;
    template <class V>
    static void apply(const V *y, V *m) {
        const V a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4 * y[2], e = 2 * y[1] + 8 * y[3];
        m[0] = y[0], m[1] = a + b, m[2] = a - b, m[3] = c + e, m[4] = c - e, m[5] = y[3];
    }
};

struct Filter {
    static constexpr int FROM = 3, TO = 6;
    template <class V>
    static void apply(const V *g, V *u) {
        const V a = (g[0] + g[2]) / 6, b = g[1] / 6, c = g[0] / 24 + g[2] / 6, e = g[1] / 12;
        u[0] = g[0] / 4, u[1] = -a - b, u[2] = b - a, u[3] = c + e, u[4] = c - e, u[5] = g[2];
    }
};

struct FilterAdjoint {
    static constexpr int FROM = 6, TO = 3;
    template <class V>
    static void apply(const V *u, V *g) {
        const V a = (u[1] + u[2]) / 6, b = u[3] + u[4];
        g[0] = u[0] / 4 - a + b / 24;
        g[1] = (u[2] - u[1]) / 6 + (u[3] - u[4]) / 12;
        g[2] = b / 6 - a + u[5];
    }
};

// Apply a transform to the columns, then to the rows of a tile; get(y, x) gives, put(y, x, value) takes an element.
template <class V, class Transform, class Get, class Put>
inline void transform_tile(Get get, Put put) {
    V half[Transform::TO][Transform::FROM], from[Transform::FROM], to[Transform::TO];
    for (int x = 0; x < Transform::FROM; ++x) {
        for (int y = 0; y < Transform::FROM; ++y) from[y] = get(y, x);
        Transform::apply(from, to);
        for (int y = 0; y < Transform::TO; ++y) half[y][x] = to[y];
    }
    for (int y = 0; y < Transform::TO; ++y) {
        Transform::apply(half[y], to);
        for (int x = 0; x < Transform::TO; ++x) put(y, x, to[x]);
    }
}

// Call work(one, other) for all pairs of numbers below two bounds, in parallel; the second number runs faster.
template <class Work>
inline void in_parallel(long ones, long others, int threads, Work work) {
#pragma omp parallel for collapse(2) num_threads(threads)
    for (long one = 0; one < ones; ++one)
        for (long other = 0; other < others; ++other) work(one, other);
}

// Call work(tile, top, left) for every tile of one image; top, left: its first pixel. Tiles of the input start one
// pixel before those of the output, and overlap.
template <int SIZE, class Work>
inline void over_tiles(const Maps &where, long image, Work work) {
    constexpr int BORDER = SIZE > OUT ? 1 : 0;
    const long rows = where.rows(), columns = where.columns();
    for (long row = 0; row < rows; ++row)
        for (long column = 0; column < columns; ++column)
            work((image * rows + row) * columns + column, OUT * row - BORDER, OUT * column - BORDER);
}

// From maps to products: every tile is cut out, with zeros beyond the border, and transformed. Panel comes after panel,
// so that each of the 36 matrices is written from its start to its end.
template <class Transform, class T>
void maps_to_products(const T *maps, T *products, Maps where, int threads) {
    using V = typename Vector<T, PANEL>::type;
    const Products layout = where.products();
    const long panels = layout.panels(), element = layout.element();
    in_parallel(panels, where.images, threads, [&](long panel, long image) {
        const T *from = maps + panel * PANEL;
        T *to = products + layout.at(0, panel);
        const long lanes = layout.lanes(panel);
        over_tiles<Transform::FROM>(where, image, [&](long tile, long top, long left) {
            transform_tile<V, Transform>(
                [&](int y, int x) {
                    if (!where.holds(top + y, left + x)) return V{};
                    return load<V>(from + where.pixel(image, top + y, left + x), lanes);
                },
                [&](int y, int x, V value) { store_far(to + tile * PANEL + (6 * y + x) * element, value); });
        });
    });
}

// From products to maps: every tile is transformed and set, or added where tiles overlap, where the maps have pixels.
template <class Transform, class T>
void products_to_maps(const T *products, T *maps, Maps where, int threads) {
    using V = typename Vector<T, PANEL>::type;
    constexpr bool OVERLAP = Transform::TO > OUT;
    const Products layout = where.products();
    const long panels = layout.panels(), element = layout.element();
    in_parallel(panels, where.images, threads, [&](long panel, long image) {
        const T *from = products + layout.at(0, panel);
        T *to = maps + panel * PANEL;
        const long lanes = layout.lanes(panel);
        if (OVERLAP)
            for (long y = 0; y < where.height; ++y)
                for (long x = 0; x < where.width; ++x) store(to + where.pixel(image, y, x), V{}, lanes);
        over_tiles<Transform::TO>(where, image, [&](long tile, long top, long left) {
            transform_tile<V, Transform>(
                [&](int y, int x) { return load<V>(from + tile * PANEL + (6 * y + x) * element); },
                [&](int y, int x, V value) {
                    if (!where.holds(top + y, left + x)) return;
                    T *pixel = to + where.pixel(image, top + y, left + x);
                    if (OVERLAP) store(pixel, load<V>(pixel, lanes) + value, lanes);
                    else if (lanes == PANEL) store_far(pixel, value);
                    else store(pixel, value, lanes);
                });
        });
    });
}

// ---- Matrix products, one for each of the 36 elements. Panels are narrow enough for their sums to stay in registers.

#ifdef __AVX512F__
constexpr int REGISTER_BYTES = 64, NUM_REGISTERS = 32;
#else
constexpr int REGISTER_BYTES = 32, NUM_REGISTERS = 16;
#endif

template <class T>
struct Register {
    static constexpr int LANES = REGISTER_BYTES / sizeof(T), PER_PANEL = PANEL / LANES;
    static constexpr int ROWS = std::max(1, std::min(12, (NUM_REGISTERS - PER_PANEL - 1) / PER_PANEL));  // of sums
    typedef typename Vector<T, LANES>::type type;
};

// The sums of ROWS rows of one panel: sums += weight(row) * a row of 16.
template <class T, int ROWS>
struct Sums {
    using R = Register<T>;
    typename R::type sums[ROWS][R::PER_PANEL] = {};

    template <class Weight>
    void add(Weight weight, const T *row) {
        typename R::type values[R::PER_PANEL];
        for (int part = 0; part < R::PER_PANEL; ++part) values[part] = load<typename R::type>(row + part * R::LANES);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i) {
            const T factor = weight(i);
#pragma GCC unroll 4
            for (int part = 0; part < R::PER_PANEL; ++part) sums[i][part] += factor * values[part];
        }
    }

    void set(T *rows) const { each([&](long at, typename R::type sum) { store(rows + at, sum); }); }
    void add_to(T *rows) const {
        each([&](long at, typename R::type sum) { store(rows + at, load<typename R::type>(rows + at) + sum); });
    }

    template <class Put>
    void each(Put put) const {
        for (int i = 0; i < ROWS; ++i)
            for (int part = 0; part < R::PER_PANEL; ++part) put(i * PANEL + part * R::LANES, sums[i][part]);
    }
};

// Call work(number of rows, first row) for all rows, as many at once as fit the registers.
template <class T, class Work>
inline void over_rows(long rows, Work work) {
    constexpr int MOST = Register<T>::ROWS;
    long row = 0;
    for (; row + MOST <= rows; row += MOST) work(std::integral_constant<int, MOST>(), row);
    for (; row + 4 <= rows; row += 4) work(std::integral_constant<int, 4>(), row);
    for (; row < rows; ++row) work(std::integral_constant<int, 1>(), row);
}

// product[tile][to] = sum over from: images[tile][from] filters[from][to].
template <class T>
void multiply(const T *images, const T *filters, T *product, Products from, Products to, int threads) {
    const Products bank{from.channels, to.channels};
    const long tiles = from.tiles, panels = to.panels();
    in_parallel(ELEMENTS, panels, threads, [&](long element, long panel) {
        const T *right = filters + bank.at(element, panel);
        T *result = product + to.at(element, panel);
        over_rows<T>(tiles, [&](auto rows, long tile) {
            Sums<T, decltype(rows)::value> sums;
            for (long part = 0; part < from.panels(); ++part) {
                const T *weights = images + from.at(element, part) + tile * PANEL;
                const T *row = right + part * PANEL * PANEL;
                for (long lane = 0; lane < from.lanes(part); ++lane)
                    sums.add([&](int i) { return weights[i * PANEL + lane]; }, row + lane * PANEL);
            }
            sums.set(result + tile * PANEL);
        });
    });
}

// total[from][to] += sum over tiles: images[tile][from] gradient[tile][to].
template <class T>
void add_outer(const T *images, const T *gradient, T *total, Products from, Products to, int threads) {
    const Products bank{from.channels, to.channels};
    const long tiles = from.tiles, panels = to.panels();
    in_parallel(ELEMENTS, panels, threads, [&](long element, long panel) {
        const T *right = gradient + to.at(element, panel);
        for (long part = 0; part < from.panels(); ++part) {
            const T *left = images + from.at(element, part);
            T *result = total + bank.at(element, panel) + part * PANEL * PANEL;
            over_rows<T>(from.lanes(part), [&](auto rows, long lane) {
                Sums<T, decltype(rows)::value> sums;
                for (long tile = 0; tile < tiles; ++tile)
                    sums.add([&](int i) { return left[tile * PANEL + lane + i]; }, right + tile * PANEL);
                sums.add_to(result + lane * PANEL);
            });
        }
    });
}

// ---- The convolution and its gradients, in blocks of images whose products take little room.

// Call work(input, output, first image) for every block: where its maps are, counted from that image.
template <class Work>
inline void over_blocks(const Maps &all, long channels_out, long block, Work work) {
    for (long first = 0; first < all.images; first += block) {
        const long count = std::min(block, all.images - first);
        work(Maps{count, all.height, all.width, all.channels}, Maps{count, all.height, all.width, channels_out}, first);
    }
}

template <class T>
void convolve(const T *images, const T *filters, T *output, T *work, Maps all, long channels_out, long block,
              int threads) {
    over_blocks(all, channels_out, block, [&](Maps in, Maps out, long first) {
        T *transformed = work, *product = transformed + in.products().size();
        maps_to_products<Input>(images + in.pixel(first, 0, 0), transformed, in, threads);
        multiply(transformed, filters, product, in.products(), out.products(), threads);
        products_to_maps<Output>(product, output + out.pixel(first, 0, 0), out, threads);
    });
}

template <class T>
void gradients(const T *images, const T *filters, const T *gradient, T *image_gradient, T *filter_gradient, T *work,
               Maps all, long channels_out, long block, int threads) {
    over_blocks(all, channels_out, block, [&](Maps in, Maps out, long first) {
        T *transformed = work, *product = transformed + in.products().size();
        maps_to_products<OutputAdjoint>(gradient + out.pixel(first, 0, 0), product, out, threads);
        if (filter_gradient) {
            maps_to_products<Input>(images + in.pixel(first, 0, 0), transformed, in, threads);
            add_outer(transformed, product, filter_gradient, in.products(), out.products(), threads);
        }
        if (image_gradient) {
            multiply(product, filters, transformed, out.products(), in.products(), threads);
            products_to_maps<InputAdjoint>(transformed, image_gradient + in.pixel(first, 0, 0), in, threads);
        }
    });
}

}  // namespace

#define EXPORT(T)                                                                                                   \
    extern "C" void transform_filters_##T(const T *filters, T *products, long from, long to, int threads) {         \
        maps_to_products<Filter>(filters, products, Maps{from, 3, 3, to}, threads);                                 \
    }                                                                                                               \
    extern "C" void filters_adjoint_##T(const T *products, T *filters, long from, long to, int threads) {           \
        products_to_maps<FilterAdjoint>(products, filters, Maps{from, 3, 3, to}, threads);                          \
    }                                                                                                               \
    extern "C" void convolve_##T(const T *images, const T *filters, T *output, T *work, long n, long height,        \
                                 long width, long from, long to, long block, int threads) {                         \
        convolve(images, filters, output, work, Maps{n, height, width, from}, to, block, threads);                  \
    }                                                                                                               \
    extern "C" void gradients_##T(const T *images, const T *filters, const T *gradient, T *image_gradient,          \
                                  T *filter_gradient, T *work, long n, long height, long width, long from, long to, \
                                  long block, int threads) {                                                        \
        gradients(images, filters, gradient, image_gradient, filter_gradient, work, Maps{n, height, width, from},   \
                  to, block, threads);                                                                              \
    }

EXPORT(float)
EXPORT(double)
