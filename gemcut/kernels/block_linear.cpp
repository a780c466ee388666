// Products of rows with weights in blocks (see blocks.py), which are read where they lie in the file. Rows are rounded to blocks of
// their own: 32 whole numbers of 8 bits and a scale. Whole numbers are multiplied and added exactly; what they come to, times both
// scales, is added in float32, lane by lane and then across lanes, so a row comes out the same alone and among others.

#include "native.h"
#include "panels.h"

#include <algorithm>
#include <memory>

constexpr int64_t MOST_OUTS = 32;          // outputs that a thread makes at a time
constexpr int64_t KEPT_BYTES = 512 << 10;  // of panels, which stay in the second cache while rows pass
constexpr int OUTS = 2;                    // of which so many meet
constexpr int MOST_ROWS = LANES == 16 ? 4 : 2;  // so many rows: their sums stay in registers
constexpr int FEW_ROWS = 4;  // up to which each panel meets all rows when it is made
constexpr int64_t STRETCH = 6;  // panels
constexpr int64_t AHEAD = 24;              // panels that are fetched before they are read, the next rows' too
constexpr int MOST_NUMBER = 127;
constexpr float LEAST_NORMAL = 1.17549435e-38f;  // of smaller scales there is no reciprocal
constexpr uint32_t INFINITE = 0x7f800000;

// Rows of x in pieces.
struct Pieces {
    int64_t rows, each;
    std::unique_ptr<Piece[]> of;

    Pieces(int64_t rows, int64_t blocks) : rows(rows), each((blocks + LANES - 1) / LANES), of(new Piece[rows * each]) {}
    Piece *at(int64_t r) const { return of.get() + r * each; }
};

// The piece of a row at x, of which `left` blocks are left. Next to nothing becomes 0; with a number that is infinite or none, all of
// its block become NaN.
template <typename X>
static void make(const X *x, int64_t left, int bias, Piece &to) {
    const int count = (int)std::min<int64_t>(LANES, left);
    words sizes[LANES] = {};  // the bits of absolute values, which are in their order
    for (int b = 0; b < count; ++b)
        for (int i = 0; i < VALUES; i += LANES) {
            const words size = (words)load(x + b * VALUES + i) & 0x7fffffff;
            words &most = sizes[lane_of(b)];
            most = size > most ? size : most;
        }
    const words largest = across(sizes, 1, [](auto a, auto b) { return a > b ? a : b; });
    const floats scales = (floats)largest / MOST_NUMBER, inverses = 1.0f / scales;
    const words small = scales < LEAST_NORMAL, endless = largest >= INFINITE;
    to.scales = (floats)((words)scales | endless);  // NaN, with all bits set
    for (int b = 0; b < LANES; ++b) {
        const int lane = lane_of(b);
        int8_t numbers[VALUES] = {};
        if (b < count && !(small | endless)[lane])
            for (int i = 0; i < VALUES; i += LANES) {
                const floats wide = load(x + b * VALUES + i);
                const words whole = (words)(wide * inverses[lane] + 12582912.0f) - 0x4b400000;  // the bits of 12582912.0f
                store(numbers + i, (integers)whole);
            }
        for (int q = 0; q < QUADS; ++q) std::memcpy((char *)&to.quads[q] + 4 * lane, numbers + 4 * q, 4);
    }
    Sums sums = begun(integers{});
    for (int q = 0; q < QUADS; ++q) sums = more(sums, bytes{} + 1, to.quads[q]);
    to.start = -bias * ended(sums, integers{});
}

// Weights: rows of blocks, one after the other.
template <int BITS>
struct Weights {
    const uint8_t *of;
    int64_t blocks, out;

    // The panel of row o that begins with block b. Blocks behind the row's end are those of the next, which 0 times are nothing; only
    // behind the last row there may be none.
    inline void panel(int64_t o, int64_t b, Panel<BITS> &panel) const {
        constexpr int64_t SIZE = LANES * BLOCK_BYTES<BITS>;
        const int64_t here = o * blocks + b, count = blocks - b, left = (out * blocks - here) * BLOCK_BYTES<BITS>;
        const uint8_t *at = of + here * BLOCK_BYTES<BITS>;
        if (left >= SIZE) {
            fill(panel, at);
        } else {
            uint8_t whole[SIZE] = {};
            std::memcpy(whole, at, left);
            fill(panel, whole);
        }
        if (count < LANES)
            for (int64_t i = count; i < LANES; ++i) panel.scales[lane_of((int)i)] = 0.0f;
    }

    // Has the same panel brought near, which is read soon.
    inline void fetch(int64_t o, int64_t b) const {
        const uint8_t *at = of + (o * blocks + b) * BLOCK_BYTES<BITS>;
        for (int64_t i = 0; i < LANES * BLOCK_BYTES<BITS>; i += 64) __builtin_prefetch(at + i, 0, 2);
    }
};

// Outputs from `start` to `end` of COUNT rows, which a panel meets when it is made. A few outputs take turns at each stretch of x.
template <int BITS, int COUNT, typename X>
static void few_rows(const Pieces &x, const Weights<BITS> &w, X *y, int64_t start, int64_t end) {
    constexpr int64_t TURNS = 8;
    const int64_t stretch = COUNT == 1 ? x.each : STRETCH;
    for (; start < end; start += TURNS) {
        floats products[TURNS][1][COUNT] = {};
        const int64_t turns = std::min(TURNS, end - start);
        for (int64_t from = 0; from < x.each; from += stretch)
            for (int64_t o = 0; o < turns; ++o) {
                floats here[1][COUNT];
                std::memcpy(here, products[o], sizeof here);
                for (int64_t i = from; i < std::min(from + stretch, x.each); ++i) {
                    if (COUNT == 1)
                        w.fetch(start + o, (i + AHEAD) * LANES);
                    else if (stretch < x.each)
                        w.fetch(start + o + 1, i * LANES);
                    Panel<BITS> panel;
                    w.panel(start + o, i * LANES, panel);
                    add<BITS, 1, COUNT>(&panel, 0, x.of.get() + i, x.each, here);
                }
                std::memcpy(products[o], here, sizeof here);
            }
        for (int64_t o = 0; o < turns; ++o)
            for (int r = 0; r < COUNT; ++r) put(y + r * w.out + start + o, sum(products[o][0][r]));
    }
}

// What `count` panels of each of OUTS outputs and ROWS rows' pieces add to their products.
template <int BITS, int OUTS, int ROWS>
static inline void meet(const Panel<BITS> *panels, const Piece *x, int64_t each, int64_t count, floats (*products)[MOST_ROWS]) {
    floats here[OUTS][ROWS];
    for (int o = 0; o < OUTS; ++o) std::copy_n(products[o], ROWS, here[o]);
    for (int64_t i = 0; i < count; ++i) add<BITS, OUTS, ROWS>(panels + i, each, x + i, each, here);
    for (int o = 0; o < OUTS; ++o) std::copy_n(here[o], ROWS, products[o]);
}

// Outputs from `start` to `end` of COUNT rows from r on: panels and rows meet in stretches of which the rows' stay in the first cache.
template <int BITS, int COUNT, typename X>
static void pass(const Panel<BITS> *panels, const Pieces &x, int64_t r, X *y, int64_t out, int64_t start, int64_t end) {
    floats products[MOST_OUTS][MOST_ROWS] = {};
    for (int64_t i = 0; i < x.each; i += STRETCH) {
        const int64_t count = std::min(STRETCH, x.each - i);
        int64_t o = 0;
        for (; o + OUTS <= end - start; o += OUTS)
            meet<BITS, OUTS, COUNT>(panels + o * x.each + i, x.at(r) + i, x.each, count, products + o);
        for (; o < end - start; ++o) meet<BITS, 1, COUNT>(panels + o * x.each + i, x.at(r) + i, x.each, count, products + o);
    }
    for (int c = 0; c < COUNT; ++c) {
        X *to = y + (r + c) * out + start;
        int64_t o = 0;
        for (; o + LANES <= end - start; o += LANES) store(to + o, across(&products[o][c], MOST_ROWS, [](auto a, auto b) { return a + b; }));
        for (; o < end - start; ++o) put(to + o, sum(products[o][c]));
    }
}

// Outputs from `start` to `end` of all rows, which pass by panels that are made once.
template <int BITS, typename X>
static void many_rows(const Pieces &x, const Weights<BITS> &w, X *y, int64_t start, int64_t end, Panel<BITS> *panels) {
    for (int64_t o = start; o < end; ++o)
        for (int64_t i = 0; i < x.each; ++i) w.panel(o, i * LANES, panels[(o - start) * x.each + i]);
    int64_t r = 0;
    for (; r + MOST_ROWS <= x.rows; r += MOST_ROWS) pass<BITS, MOST_ROWS>(panels, x, r, y, w.out, start, end);
    for (; r < x.rows; ++r) pass<BITS, 1>(panels, x, r, y, w.out, start, end);
}

template <int BITS, typename X>
static void product(const X *x, const Weights<BITS> &w, X *y, int64_t rows, int threads) {
    const Pieces pieces(rows, w.blocks);
    const int64_t fit = KEPT_BYTES / (std::max<int64_t>(1, pieces.each) * sizeof(Panel<BITS>)) / OUTS * OUTS;
    const int64_t together = std::clamp<int64_t>(fit, OUTS, MOST_OUTS);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < rows * pieces.each; ++i) {
            const int64_t r = i / pieces.each, b = i % pieces.each * LANES;
            make(x + (r * w.blocks + b) * VALUES, w.blocks - b, BIAS<BITS>, pieces.of[i]);
        }
        const std::unique_ptr<Panel<BITS>[]> panels(new Panel<BITS>[rows <= FEW_ROWS ? 0 : together * pieces.each]);
#pragma omp for schedule(guided)
        for (int64_t start = 0; start < w.out; start += together) {
            const int64_t end = std::min(start + together, w.out);
            switch (rows) {
                case 0: break;
                case 1: few_rows<BITS, 1>(pieces, w, y, start, end); break;
                case 2: few_rows<BITS, 2>(pieces, w, y, start, end); break;
                case 3: few_rows<BITS, 3>(pieces, w, y, start, end); break;
                case 4: few_rows<BITS, 4>(pieces, w, y, start, end); break;
                default: many_rows<BITS>(pieces, w, y, start, end, panels.get());
            }
        }
    }
}

template <typename X>
static void product(const X *x, const uint8_t *w, X *y, int64_t rows, int64_t blocks, int64_t out, int bits, int threads) {
    if (bits == 4)
        product<4>(x, {w, blocks, out}, y, rows, threads);
    else
        product<8>(x, {w, blocks, out}, y, rows, threads);
}

// y = the values of so many blocks, rounded to bfloat16.
template <int BITS>
static void widen(const uint8_t *w, uint16_t *y, int64_t blocks, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; ++b) {
        const uint8_t *at = w + b * BLOCK_BYTES<BITS>;
        _Float16 scale;
        std::memcpy(&scale, at, sizeof scale);
        int8_t numbers[VALUES];
        if constexpr (BITS == 8)
            std::memcpy(numbers, at + SCALE_BYTES, sizeof numbers);
        else
            for (int i = 0; i < VALUES / 2; ++i) {
                const uint8_t two = at[SCALE_BYTES + i];
                numbers[i] = (int8_t)((two & 15) - 8), numbers[i + VALUES / 2] = (int8_t)((two >> 4) - 8);
            }
        for (int i = 0; i < VALUES; i += LANES) store(y + b * VALUES + i, load(numbers + i) * (float)scale);
    }
}

extern "C" void widen_blocks(const uint8_t *w, uint16_t *y, int64_t blocks, int bits, int threads) {
    bits == 4 ? widen<4>(w, y, blocks, threads) : widen<8>(w, y, blocks, threads);
}

// x: (rows, 32 * blocks), y: (rows, out), bfloat16, or float32 where wide. w: (out, blocks) of int4 or int8.
extern "C" void block_product(const void *x, const uint8_t *w, void *y, int64_t rows, int64_t blocks, int64_t out, int bits,
                              int wide, int threads) {
    if (wide)
        product((const float *)x, w, (float *)y, rows, blocks, out, bits, threads);
    else
        product((const uint16_t *)x, w, (uint16_t *)y, rows, blocks, out, bits, threads);
}
