// Winograd's convolutions F(4x4, 3x3) and F(3x3, 3x3) and their gradients on a CPU: see winograd.py for
// the caller.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv 1509.09308), equation 13. The
// same F(4x4, 3x3) in PyTorch, slower and easier to read, is in winograd_torch.py.
//
// Maps are float, double or, where the CPU multiplies it, bfloat16. With bfloat16 all transforms and sums are float;
// the maps and the factors of the matrix products are rounded. Maps are [images height width channels]. The steps are
//
//     maps --input transform--> products --matrix products with the filters--> products --output transform--> maps
//
// Tiles. F(4x4, 3x3) cuts the output into tiles of 4x4 pixels. Each needs a tile of 6x6 pixels of the input, which
// starts one pixel before it; neighbouring input tiles overlap by two pixels. F(3x3, 3x3) has tiles of 3x3 and 5x5.
//
//     input, with a border of zeros        output
//     0 0 0 0 0 0 0 0 0 0                  +---------+---------+
//     0 [ tile 0  . . ]                    | tile 0  | tile 1  |    numbered by image, row and column
//     0 [         [ . .  tile 1 ]          |  4x4    |  4x4    |
//     0 [   6x6   [ . .   6x6   ]          +---------+---------+
//
// Products. A transformed tile has 36 elements, or 25 for F(3x3, 3x3). For each element, the numbers of all tiles and
// channels form one matrix, [tiles, channels], stored as panels of 16 channels:
//
//     element 0:   panel 0   tile 0 | c0 .. c15 |       panel 1   tile 0 | c16 .. c31 |     lanes beyond the last
//                            tile 1 | c0 .. c15 |                 tile 1 | c16 .. c31 |     channel are zero
//                            ...                                  ...
//                  16 unused numbers, which avoid cache set conflicts of matrices that are a power of two apart
//     element 1:   panel 0   tile 0 | c0 .. c15 | ...
//
// Filters are transformed into the same layout, a bank: each input channel is one tile. In bfloat16 two neighbouring
// input channels are interleaved in one row, since one instruction multiplies pairs:
//
//     float:      channel 0 | o0  o1  o2 .. o15 |      bfloat16:   channels 0, 1 | o0 o0' o1 o1' .. o15 o15' |
//                 channel 1 | o0' o1' o2'.. o15'|

#include "simd.hpp"

#include <array>
#include <type_traits>

namespace {

constexpr int PANEL = LANES;  // channels

// The type in which numbers are summed, and the number of products that one lane of a register sums at once.
template <class T>
struct Accumulation {
    typedef T Sum;
    static constexpr int DEPTH = 1;
};
template <>
struct Accumulation<bfloat16> {
    typedef float Sum;
    static constexpr int DEPTH = 2;
};
template <class T>
using Sum = typename Accumulation<T>::Sum;

// Load or store the first `lanes` channels of a panel; the others are zero.
template <class V, class T>
inline V load_panel(const T *from, long lanes) {
    if (lanes == PANEL) return load<V>(from);
    T all[PANEL] = {};
    std::copy(from, from + lanes, all);
    return load<V>(all);
}

template <class T, class V>
inline void store_panel(T *to, V value, long lanes) {
    if (lanes == PANEL) return store(to, value);
    T all[PANEL];
    store(all, value);
    std::copy(all, all + lanes, to);
}

// Store a transformed number, which is read only after the whole block is transformed. A block of float is larger than
// a core's cache; a block of bfloat16 fits into it.
template <class T, class V>
inline void store_product(T *to, V value) {
    if (std::is_same<T, bfloat16>::value) store(to, value);
    else store_streaming(to, value);
}

// ---- Transforms. Each inner struct transforms one column or row of a tile: B' d, A' m and G g of the paper, and the
// adjoint of each.

// F(4x4, 3x3), for the points 0, P, -P, Q, -Q and infinity. The paper has P = 1 and Q = 2; the values here halve the
// rounding error.
struct F4 {
    static constexpr int OUT = 4, SIZE = OUT + 2, ELEMENTS = SIZE * SIZE;
    static constexpr float P = 5 / 8.f, P2 = P * P, P3 = P * P2;
    static constexpr float Q = 3 / 2.f, Q2 = Q * Q, Q3 = Q * Q2;

    struct Input {
        static constexpr int FROM = 6, TO = 6;
        template <class V>
        static void apply(const V *d, V *v) {
            const V a = d[4] - Q2 * d[2], b = P * (d[3] - Q2 * d[1]), c = d[4] - P2 * d[2], e = Q * (d[3] - P2 * d[1]);
            v[0] = P2 * Q2 * d[0] - (P2 + Q2) * d[2] + d[4];
            v[1] = a + b, v[2] = a - b, v[3] = c + e, v[4] = c - e;
            v[5] = P2 * Q2 * d[1] - (P2 + Q2) * d[3] + d[5];
        }
    };

    struct InputAdjoint {
        static constexpr int FROM = 6, TO = 6;
        template <class V>
        static void apply(const V *v, V *d) {
            const V a = v[1] + v[2], b = P * (v[1] - v[2]), c = v[3] + v[4], e = Q * (v[3] - v[4]);
            d[0] = P2 * Q2 * v[0];
            d[1] = P2 * Q2 * v[5] - Q2 * b - P2 * e;
            d[2] = -(P2 + Q2) * v[0] - Q2 * a - P2 * c;
            d[3] = b + e - (P2 + Q2) * v[5];
            d[4] = v[0] + a + c;
            d[5] = v[5];
        }
    };

    struct Output {
        static constexpr int FROM = 6, TO = 4;
        template <class V>
        static void apply(const V *m, V *y) {
            const V a = m[1] + m[2], b = P * (m[1] - m[2]), c = m[3] + m[4], e = Q * (m[3] - m[4]);
            y[0] = m[0] + a + c, y[1] = b + e, y[2] = P2 * a + Q2 * c, y[3] = P2 * b + Q2 * e + m[5];
        }
    };

    struct OutputAdjoint {
        static constexpr int FROM = 4, TO = 6;
        template <class V>
        static void apply(const V *y, V *m) {
            const V a = y[0] + P2 * y[2], b = P * (y[1] + P2 * y[3]), c = y[0] + Q2 * y[2], e = Q * (y[1] + Q2 * y[3]);
            m[0] = y[0], m[1] = a + b, m[2] = a - b, m[3] = c + e, m[4] = c - e, m[5] = y[3];
        }
    };

    struct Filter {
        static constexpr int FROM = 3, TO = 6;
        static constexpr float AT_0 = P2 * Q2, AT_P = 2 * P2 * (P2 - Q2), AT_Q = 2 * Q2 * (Q2 - P2);
        template <class V>
        static void apply(const V *g, V *u) {
            const V a = (g[0] + P2 * g[2]) / AT_P, b = P * g[1] / AT_P;
            const V c = (g[0] + Q2 * g[2]) / AT_Q, e = Q * g[1] / AT_Q;
            u[0] = g[0] / AT_0, u[1] = a + b, u[2] = a - b, u[3] = c + e, u[4] = c - e, u[5] = g[2];
        }
    };

    struct FilterAdjoint {
        static constexpr int FROM = 6, TO = 3;
        template <class V>
        static void apply(const V *u, V *g) {
            const V a = (u[1] + u[2]) / Filter::AT_P, b = (u[1] - u[2]) / Filter::AT_P;
            const V c = (u[3] + u[4]) / Filter::AT_Q, e = (u[3] - u[4]) / Filter::AT_Q;
            g[0] = u[0] / Filter::AT_0 + a + c, g[1] = P * b + Q * e, g[2] = P2 * a + Q2 * c + u[5];
        }
    };
};

// F(3x3, 3x3), for the points 0, P, -P, Q and infinity. It cuts maps of 3x3 and 6x6 pixels into whole tiles.
struct F3 {
    static constexpr int OUT = 3, SIZE = OUT + 2, ELEMENTS = SIZE * SIZE;
    static constexpr float P = 3 / 4.f, P2 = P * P;
    static constexpr float Q = 2, Q2 = Q * Q;

    struct Input {
        static constexpr int FROM = 5, TO = 5;
        template <class V>
        static void apply(const V *d, V *v) {
            const V a = d[3] - Q * d[2], b = P * (d[2] - Q * d[1]);
            v[0] = P2 * (Q * d[0] - d[1]) + a;
            v[1] = a + b, v[2] = a - b;
            v[3] = d[3] - P2 * d[1];
            v[4] = P2 * (Q * d[1] - d[2]) - Q * d[3] + d[4];
        }
    };

    struct InputAdjoint {
        static constexpr int FROM = 5, TO = 5;
        template <class V>
        static void apply(const V *v, V *d) {
            const V a = v[0] + v[1] + v[2], b = P * (v[1] - v[2]);
            d[0] = P2 * Q * v[0];
            d[1] = P2 * (Q * v[4] - v[0] - v[3]) - Q * b;
            d[2] = b - Q * a - P2 * v[4];
            d[3] = a + v[3] - Q * v[4];
            d[4] = v[4];
        }
    };

    struct Output {
        static constexpr int FROM = 5, TO = 3;
        template <class V>
        static void apply(const V *m, V *y) {
            const V a = m[1] + m[2], b = P * (m[1] - m[2]);
            y[0] = m[0] + a + m[3], y[1] = b + Q * m[3], y[2] = P2 * a + Q2 * m[3] + m[4];
        }
    };

    struct OutputAdjoint {
        static constexpr int FROM = 3, TO = 5;
        template <class V>
        static void apply(const V *y, V *m) {
            const V a = y[0] + P2 * y[2], b = P * y[1];
            m[0] = y[0], m[1] = a + b, m[2] = a - b, m[3] = y[0] + Q * y[1] + Q2 * y[2], m[4] = y[2];
        }
    };

    struct Filter {
        static constexpr int FROM = 3, TO = 5;
        static constexpr float AT_0 = P2 * Q, AT_P = 2 * P2 * (P - Q), AT_MINUS_P = -2 * P2 * (P + Q);
        static constexpr float AT_Q = Q * (Q2 - P2);
        template <class V>
        static void apply(const V *g, V *u) {
            const V a = g[0] + P2 * g[2], b = P * g[1];
            u[0] = g[0] / AT_0, u[1] = (a + b) / AT_P, u[2] = (a - b) / AT_MINUS_P;
            u[3] = (g[0] + Q * g[1] + Q2 * g[2]) / AT_Q, u[4] = g[2];
        }
    };

    struct FilterAdjoint {
        static constexpr int FROM = 5, TO = 3;
        template <class V>
        static void apply(const V *u, V *g) {
            const V one = u[1] / Filter::AT_P, other = u[2] / Filter::AT_MINUS_P, c = u[3] / Filter::AT_Q;
            g[0] = u[0] / Filter::AT_0 + one + other + c;
            g[1] = P * (one - other) + Q * c;
            g[2] = P2 * (one + other) + Q2 * c + u[4];
        }
    };
};

// Apply a transform to the columns, then to the rows of a tile. get(y, x) returns an element of the tile, and
// put(y, x, value) receives one of the result.
template <class V, class Transform, class Get, class Put>
inline void transform_tile(Get get, Put put) {
    V by_column[Transform::TO][Transform::FROM], from[Transform::FROM], to[Transform::TO];
    for (int x = 0; x < Transform::FROM; ++x) {
        for (int y = 0; y < Transform::FROM; ++y) from[y] = get(y, x);
        Transform::apply(from, to);
        for (int y = 0; y < Transform::TO; ++y) by_column[y][x] = to[y];
    }
    for (int y = 0; y < Transform::TO; ++y) {
        Transform::apply(by_column[y], to);
        for (int x = 0; x < Transform::TO; ++x) put(y, x, to[x]);
    }
}

// ---- Layouts, for one set F of transforms (F3 or F4).

// The layout of products: see the top of this file.
template <class F>
struct Products {
    long tiles, channels;
    long panels() const { return (channels + PANEL - 1) / PANEL; }
    long element() const { return (panels() * tiles + 1) * PANEL; }  // from one matrix to the next, in numbers
    long size() const { return F::ELEMENTS * element(); }
    long at(long element_number, long panel) const { return element_number * element() + panel * tiles * PANEL; }
    long lanes(long panel) const { return std::min<long>(PANEL, channels - panel * PANEL); }
};

// The layout of maps, and their division into tiles.
template <class F>
struct Maps {
    long images, height, width, channels;
    long rows() const { return (height + F::OUT - 1) / F::OUT; }
    long columns() const { return (width + F::OUT - 1) / F::OUT; }
    Products<F> products() const { return {images * rows() * columns(), channels}; }
    long pixel(long image, long y, long x) const { return ((image * height + y) * width + x) * channels; }
    bool holds(long y, long x) const { return y >= 0 && y < height && x >= 0 && x < width; }
};

// Call work(outer, inner) for all pairs of indices in parallel.
template <class Work>
inline void in_parallel(long num_outer, long num_inner, int threads, Work work) {
#pragma omp parallel for collapse(2) num_threads(threads)
    for (long outer = 0; outer < num_outer; ++outer)
        for (long inner = 0; inner < num_inner; ++inner) work(outer, inner);
}

// Call work(tile, top, left) for every tile of one image, where top and left are the coordinates of its first pixel.
template <int SIZE, class F, class Work>
inline void for_each_tile(const Maps<F> &shape, long image, Work work) {
    constexpr int BORDER = SIZE > F::OUT ? 1 : 0;
    const long rows = shape.rows(), columns = shape.columns();
    for (long row = 0; row < rows; ++row)
        for (long column = 0; column < columns; ++column)
            work((image * rows + row) * columns + column, F::OUT * row - BORDER, F::OUT * column - BORDER);
}

// Transform every tile of maps into products, with zeros beyond the border. The panels are the outer loop, so that each
// matrix is written from start to end.
template <class Transform, class T, class F>
void maps_to_products(const T *maps, T *products, Maps<F> shape, int threads) {
    using V = typename Vector<Sum<T>, PANEL>::type;
    const Products<F> layout = shape.products();
    const long panels = layout.panels(), element = layout.element();
    in_parallel(panels, shape.images, threads, [&](long panel, long image) {
        const T *from = maps + panel * PANEL;
        T *to = products + layout.at(0, panel);
        const long lanes = layout.lanes(panel);
        for_each_tile<Transform::FROM>(shape, image, [&](long tile, long top, long left) {
            transform_tile<V, Transform>(
                [&](int y, int x) {
                    if (!shape.holds(top + y, left + x)) return V{};
                    return load_panel<V>(from + shape.pixel(image, top + y, left + x), lanes);
                },
                [&](int y, int x, V value) { store_product(to + tile * PANEL + (F::SIZE * y + x) * element, value); });
        });
    });
}

// Transform products into tiles of maps. Tiles that overlap are added; pixels beyond the border are dropped.
template <class Transform, class T, class F>
void products_to_maps(const Sum<T> *products, T *maps, Maps<F> shape, int threads) {
    using V = typename Vector<Sum<T>, PANEL>::type;
    constexpr bool OVERLAP = Transform::TO > F::OUT;
    const Products<F> layout = shape.products();
    const long panels = layout.panels(), element = layout.element();
    in_parallel(panels, shape.images, threads, [&](long panel, long image) {
        const Sum<T> *from = products + layout.at(0, panel);
        T *to = maps + panel * PANEL;
        const long lanes = layout.lanes(panel);
        if (OVERLAP)
            for (long y = 0; y < shape.height; ++y)
                for (long x = 0; x < shape.width; ++x) store_panel(to + shape.pixel(image, y, x), V{}, lanes);
        for_each_tile<Transform::TO>(shape, image, [&](long tile, long top, long left) {
            transform_tile<V, Transform>(
                [&](int y, int x) { return load<V>(from + tile * PANEL + (F::SIZE * y + x) * element); },
                [&](int y, int x, V value) {
                    if (!shape.holds(top + y, left + x)) return;
                    T *pixel = to + shape.pixel(image, top + y, left + x);
                    if (OVERLAP) store_panel(pixel, load_panel<V>(pixel, lanes) + value, lanes);
                    else if (lanes == PANEL) store_streaming(pixel, value);
                    else store_panel(pixel, value, lanes);
                });
        });
    });
}

// ---- Rows: the operands of a multiplication. In bfloat16 two rows of 16 numbers are interleaved into a row of pairs.

#ifdef __AVX512F__
constexpr int REGISTER_BYTES = 64, NUM_REGISTERS = 32;
#else
constexpr int REGISTER_BYTES = 32, NUM_REGISTERS = 16;
#endif

template <class T>
struct Register {
    static constexpr int LANES = REGISTER_BYTES / sizeof(Sum<T>), PER_PANEL = PANEL / LANES;
    typedef typename Vector<Sum<T>, LANES>::type type;
    // Two panels share each loaded factor if there are registers for the sums of 16 or more of their rows.
    static constexpr int PANELS = NUM_REGISTERS / PER_PANEL >= 32 ? 2 : 1;
    // The number of rows of one panel whose sums fit into the registers.
    static constexpr int ROWS = std::max(1, std::min(16, (NUM_REGISTERS - PER_PANEL - 1) / PER_PANEL));
};

// A row of 16 numbers in registers.
template <class T>
struct Row {
    using R = Register<T>;
    typename R::type parts[R::PER_PANEL];
    Row() = default;
    explicit Row(const T *row, long = 0) {
        for (int part = 0; part < R::PER_PANEL; ++part) parts[part] = load<typename R::type>(row + part * R::LANES);
    }
};

template <class T>
inline T load_factor(const T *number) {
    return *number;
}

template <class V, class T>
inline void multiply_add(V &sum, T factor, const V &row) {
    sum += factor * row;
}

template <class T, class V>
inline void store_interleaved(T *to, const V (&rows)[1]) {
    store(to, rows[0]);
}

// Interleave rows in pairs in a buffer if their type is bfloat16, and return them.
template <class T>
inline const T *interleaved(const T *rows, long, T *) {
    return rows;
}

#ifdef __AVX512BF16__
// Pairs of bfloat16: the first of each pair in the lower half of 32 bits.
inline Uint32Vector interleave(Bfloat16Vector first, Bfloat16Vector second) {
    return __builtin_convertvector(first, Uint32Vector) | __builtin_convertvector(second, Uint32Vector) << 16;
}

// Interleave the first two of `count` rows; a missing second row is zero.
inline Uint32Vector interleave(const bfloat16 *rows, long count) {
    return interleave(load<Bfloat16Vector>(&rows->bits),
                      count > 1 ? load<Bfloat16Vector>(&rows[PANEL].bits) : Bfloat16Vector{});
}

// Two rows of bfloat16, from interleaved memory or from two separate rows.
template <>
struct Row<bfloat16> {
    Uint32Vector parts[1];
    Row() = default;
    explicit Row(const bfloat16 *interleaved) : parts{load<Uint32Vector>(&interleaved->bits)} {}
    Row(const bfloat16 *rows, long count) : parts{interleave(rows, count)} {}
};

// A pair of neighbouring numbers.
inline std::uint32_t load_factor(const bfloat16 *numbers) { return load<std::uint32_t>(&numbers->bits); }

template <class V>
inline void multiply_add(V &sum, std::uint32_t factor, const Uint32Vector &row) {
    const Uint32Vector factors = Uint32Vector{} + factor;
    sum = reinterpret_cast<V>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(factors),
                                               reinterpret_cast<__m512bh>(row)));
}

template <class V>
inline void store_interleaved(bfloat16 *to, const V (&rows)[2]) {
    store(&to->bits, interleave(to_bfloat16(rows[0]), to_bfloat16(rows[1])));
}

inline const bfloat16 *interleaved(const bfloat16 *rows, long count, bfloat16 *buffer) {
    for (long row = 0; row < count; row += 2)
        store(&buffer[row * PANEL].bits, interleave(rows + row * PANEL, count - row));
    return buffer;
}
#endif

// Transform filters into a bank. Neighbouring output channels are adjacent in memory; from_step and tap_step are the
// strides between two input channels and two taps, in numbers.
template <class F, class T>
void filters_to_bank(const Sum<T> *filters, T *bank, long from, long to, long from_step, long tap_step, int threads) {
    using V = typename Vector<Sum<T>, PANEL>::type;
    constexpr int DEPTH = Accumulation<T>::DEPTH;
    const Products<F> layout{from, to};
    in_parallel(layout.panels(), from / DEPTH, threads, [&](long panel, long group) {
        const long lanes = layout.lanes(panel);
        V transformed[F::ELEMENTS][DEPTH];
        for (int depth = 0; depth < DEPTH; ++depth) {
            const Sum<T> *taps = filters + (group * DEPTH + depth) * from_step + panel * PANEL;
            transform_tile<V, typename F::Filter>(
                [&](int y, int x) { return load_panel<V>(taps + (3 * y + x) * tap_step, lanes); },
                [&](int y, int x, V value) { transformed[F::SIZE * y + x][depth] = value; });
        }
        T *row = bank + layout.at(0, panel) + group * DEPTH * PANEL;
        for (int element = 0; element < F::ELEMENTS; ++element)
            store_interleaved(row + element * layout.element(), transformed[element]);
    });
}

// ---- Matrix products, one for each element of a tile. Panels are so narrow that their sums stay in registers.

// The sums of ROWS rows of PANELS panels: sums[i][panel] += weight(i) * get_row(panel). A row holds 16 numbers, or for
// bfloat16 16 pairs.
template <class T, int ROWS, int PANELS>
struct Sums {
    using R = Register<T>;
    typename R::type sums[ROWS][PANELS][R::PER_PANEL] = {};

    template <class Weight, class GetRow>
    void add(Weight weight, GetRow get_row) {
        std::array<Row<T>, PANELS> rows;
        for (int panel = 0; panel < PANELS; ++panel) rows[panel] = get_row(panel);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i) {
            const auto factor = weight(i);
#pragma GCC unroll 4
            for (int panel = 0; panel < PANELS; ++panel)
#pragma GCC unroll 4
                for (int part = 0; part < R::PER_PANEL; ++part)
                    multiply_add(sums[i][panel][part], factor, rows[panel].parts[part]);
        }
    }

    // Write or add the sums to ROWS rows of 16; panel_size is the stride between panels, in numbers.
    void set(Sum<T> *rows, long panel_size) const {
        each(panel_size, [&](long at, typename R::type sum) { store(rows + at, sum); });
    }
    void add_to(Sum<T> *rows, long panel_size) const {
        each(panel_size, [&](long at, typename R::type sum) {
            store(rows + at, load<typename R::type>(rows + at) + sum);
        });
    }

    template <class Put>
    void each(long panel_size, Put put) const {
        for (int panel = 0; panel < PANELS; ++panel)
            for (int i = 0; i < ROWS; ++i)
                for (int part = 0; part < R::PER_PANEL; ++part)
                    put(panel * panel_size + i * PANEL + part * R::LANES, sums[i][panel][part]);
    }
};

template <int NUMBER>
using Constant = std::integral_constant<int, NUMBER>;

// Call work(number of rows, first row) for all rows, in groups of MOST rows, then of 4, then of one.
template <int MOST, class Work>
inline void for_each_row_group(long rows, Work work) {
    long row = 0;
    for (; row + MOST <= rows; row += MOST) work(Constant<MOST>(), row);
    for (; row + 4 <= rows; row += 4) work(Constant<4>(), row);
    for (; row < rows; ++row) work(Constant<1>(), row);
}

// product[tile][to] = sum over from: images[tile][from] filters[from][to].
template <class T, class F>
void multiply(const T *images, const T *filters, Sum<T> *product, Products<F> from, Products<F> to, int threads) {
    constexpr int DEPTH = Accumulation<T>::DEPTH, MOST = Register<T>::PANELS;
    const Products<F> bank{from.channels, to.channels};
    const auto work = [&](auto panels, long element, long panel) {
        constexpr int NUM_PANELS = decltype(panels)::value;
        const T *right = filters + bank.at(element, panel);
        Sum<T> *result = product + to.at(element, panel);
        for_each_row_group<Register<T>::ROWS / NUM_PANELS>(from.tiles, [&](auto rows, long tile) {
            Sums<T, decltype(rows)::value, NUM_PANELS> sums;
            for (long part = 0; part < from.panels(); ++part) {
                const T *weights = images + from.at(element, part) + tile * PANEL;
                const T *row = right + part * PANEL * PANEL;
                for (long lane = 0; lane < from.lanes(part); lane += DEPTH)
                    sums.add([&](int i) { return load_factor(weights + i * PANEL + lane); },
                             [&](int each) { return Row<T>(row + (each * bank.tiles + lane) * PANEL); });
            }
            sums.set(result + tile * PANEL, to.tiles * PANEL);
        });
    };
    in_parallel(F::ELEMENTS, (to.panels() + MOST - 1) / MOST, threads, [&](long element, long group) {
        const long first = group * MOST, last = std::min(first + MOST, to.panels());
        if (last - first == MOST) return work(Constant<MOST>(), element, first);
        for (long panel = first; panel < last; ++panel) work(Constant<1>(), element, panel);
    });
}

// total[to][from] += sum over tiles: gradient[tile][to] images[tile][from].
template <class T, class F>
void add_outer(const T *gradient, const T *images, Sum<T> *total, Products<F> to, Products<F> from, int threads) {
    constexpr int DEPTH = Accumulation<T>::DEPTH;
    constexpr long MOST = 128;  // tiles at once
    const Products<F> bank{to.channels, from.channels};
    in_parallel(F::ELEMENTS, to.panels(), threads, [&](long element, long part) {
        T buffer[MOST * PANEL];
        for (long first = 0; first < to.tiles; first += MOST) {
            const long tiles = std::min(MOST, to.tiles - first);
            const T *left = interleaved(gradient + to.at(element, part) + first * PANEL, tiles, buffer);
            for (long panel = 0; panel < from.panels(); ++panel) {
                const T *right = images + from.at(element, panel) + first * PANEL;
                Sum<T> *result = total + bank.at(element, panel) + part * PANEL * PANEL;
                for_each_row_group<Register<T>::ROWS>(to.lanes(part), [&](auto rows, long lane) {
                    Sums<T, decltype(rows)::value, 1> sums;
                    for (long tile = 0; tile < tiles; tile += DEPTH)
                        sums.add([&](int i) { return load_factor(left + tile * PANEL + (lane + i) * DEPTH); },
                                 [&](int) { return Row<T>(right + tile * PANEL, tiles - tile); });
                    sums.add_to(result + lane * PANEL, 0);
                });
            }
        }
    });
}

// ---- The convolution and its gradients, one block of images at a time, whose products need little memory.

// Call work(shape of the input, shape of the output, first image) for every block of images.
template <class F, class Work>
inline void for_each_block(const Maps<F> &all, long channels_out, long block, Work work) {
    for (long first = 0; first < all.images; first += block) {
        const long count = std::min(block, all.images - first);
        const Maps<F> in{count, all.height, all.width, all.channels}, out{count, all.height, all.width, channels_out};
        work(in, out, first);
    }
}

template <class T, class F>
void convolve(const T *images, const T *filters, T *output, Sum<T> *workspace, Maps<F> all, long channels_out,
              long block, int threads) {
    for_each_block(all, channels_out, block, [&](Maps<F> in, Maps<F> out, long first) {
        T *transformed = reinterpret_cast<T *>(workspace);
        Sum<T> *product = workspace + in.products().size();
        maps_to_products<typename F::Input>(images + in.pixel(first, 0, 0), transformed, in, threads);
        multiply(transformed, filters, product, in.products(), out.products(), threads);
        products_to_maps<typename F::Output>(product, output + out.pixel(first, 0, 0), out, threads);
    });
}

template <class T, class F>
void gradients(const T *images, const T *filters, const T *gradient, T *image_gradient, Sum<T> *filter_gradient,
               Sum<T> *workspace, Maps<F> all, long channels_out, long block, int threads) {
    for_each_block(all, channels_out, block, [&](Maps<F> in, Maps<F> out, long first) {
        T *transformed = reinterpret_cast<T *>(workspace);
        T *product = reinterpret_cast<T *>(workspace + in.products().size());
        maps_to_products<typename F::OutputAdjoint>(gradient + out.pixel(first, 0, 0), product, out, threads);
        if (filter_gradient) {
            maps_to_products<typename F::Input>(images + in.pixel(first, 0, 0), transformed, in, threads);
            add_outer(product, transformed, filter_gradient, out.products(), in.products(), threads);
        }
        if (image_gradient) {
            multiply(product, filters, workspace, out.products(), in.products(), threads);
            products_to_maps<typename F::InputAdjoint>(workspace, image_gradient + in.pixel(first, 0, 0), in, threads);
        }
    });
}

// Call work(F3()) or work(F4()): the transforms for output tiles of 3x3 or 4x4 pixels.
template <class Work>
inline void with_tile(long tile, Work work) {
    if (tile == F3::OUT) work(F3());
    else work(F4());
}

}  // namespace

#define EXPORT(T)                                                                                                     \
    extern "C" void transform_filters_##T(const Sum<T> *filters, T *bank, long from, long to, long from_step,         \
                                          long tap_step, long tile, int threads) {                                    \
        with_tile(tile, [&](auto f) {                                                                                 \
            filters_to_bank<decltype(f)>(filters, bank, from, to, from_step, tap_step, threads);                      \
        });                                                                                                           \
    }                                                                                                                 \
    extern "C" void filters_adjoint_##T(const Sum<T> *products, Sum<T> *filters, long to, long from, long tile,       \
                                        int threads) {                                                                \
        with_tile(tile, [&](auto f) {                                                                                 \
            using F = decltype(f);                                                                                    \
            products_to_maps<typename F::FilterAdjoint>(products, filters, Maps<F>{to, 3, 3, from}, threads);         \
        });                                                                                                           \
    }                                                                                                                 \
    extern "C" void convolve_##T(const T *images, const T *filters, T *output, Sum<T> *workspace, long n,             \
                                 long height, long width, long from, long to, long block, long tile, int threads) {   \
        with_tile(tile, [&](auto f) {                                                                                 \
            const Maps<decltype(f)> all{n, height, width, from};                                                      \
            convolve(images, filters, output, workspace, all, to, block, threads);                                    \
        });                                                                                                           \
    }                                                                                                                 \
    extern "C" void gradients_##T(const T *images, const T *filters, const T *gradient, T *image_gradient,            \
                                  Sum<T> *filter_gradient, Sum<T> *workspace, long n, long height, long width,        \
                                  long from, long to, long block, long tile, int threads) {                           \
        with_tile(tile, [&](auto f) {                                                                                 \
            const Maps<decltype(f)> all{n, height, width, from};                                                      \
            gradients(images, filters, gradient, image_gradient, filter_gradient, workspace, all, to, block,          \
                      threads);                                                                                       \
        });                                                                                                           \
    }

EXPORT(float)
EXPORT(double)
#ifdef __AVX512BF16__
EXPORT(bfloat16)
#endif
