// Products of rows with weights in blocks (see blocks.py), which are read where they lie in the file. Rows are rounded to blocks of
// their own: 32 whole numbers of 8 bits and a scale. Whole numbers are multiplied and added exactly; what they come to, times both
// scales, is added in float32, block after block, so a row comes out the same alone and among others.

#include "panels.h"

#include <algorithm>
#include <memory>

constexpr int MOST_ROWS = 32;        // that a panel meets when it is made
constexpr int64_t PANELS = 4;        // of outputs that a thread makes at a time
constexpr int64_t NEAR = 16384;      // bytes of x that stay in the first cache while panels pass
constexpr int MOST_NUMBER = 127;
constexpr float LEAST_NORMAL = 1.17549435e-38f;  // of smaller scales there is no reciprocal
constexpr uint32_t INFINITE = 0x7f800000;

// Numbers of a row. bias: what products with weights that have BIAS added are too large by.
struct Piece {
    int8_t numbers[VALUES];
    float scale;
    int32_t bias;
};

// Rows of x, MOST_ROWS of them together, block by block.
struct Pieces {
    int64_t rows, blocks;
    std::unique_ptr<Piece[]> of;

    Pieces(int64_t rows, int64_t blocks) : rows(rows), blocks(blocks), of(new Piece[rows * blocks]) {}
    int64_t together(int64_t first) const { return std::min<int64_t>(MOST_ROWS, rows - first); }
    Piece *at(int64_t first, int64_t b) const { return of.get() + first * blocks + b * together(first); }
};

// 32 numbers to a piece. Next to nothing becomes 0; with one that is infinite or no number, everything becomes NaN.
template <typename X>
static void quantise(const X *x, int bias, Piece *to) {
    floats wide[VALUES / LANES];
    words sizes = {};  // the bits of absolute values, which are in their order
    for (int i = 0; i < VALUES / LANES; ++i) {
        wide[i] = load(x + i * LANES);
        const words size = (words)wide[i] & 0x7fffffff;
        sizes = size > sizes ? size : sizes;
    }
    uint32_t largest = 0;
    for (int lane = 0; lane < LANES; ++lane) largest = std::max<uint32_t>(largest, sizes[lane]);
    if (largest >= INFINITE) {
        *to = {{}, NAN, 0};
        return;
    }
    std::memcpy(&to->scale, &largest, sizeof largest);
    to->scale /= MOST_NUMBER;
    const float inverse = to->scale < LEAST_NORMAL ? 0.0f : 1.0f / to->scale;
    int32_t numbers[VALUES], total = 0;
    for (int i = 0; i < VALUES / LANES; ++i) {
        const words whole = (words)(wide[i] * inverse + 12582912.0f) - 0x4b400000;  // the bits of 12582912.0f
        std::memcpy(numbers + i * LANES, &whole, sizeof whole);
    }
    for (int i = 0; i < VALUES; ++i) to->numbers[i] = (int8_t)numbers[i], total += numbers[i];
    to->bias = bias * total;
}

// What a column of blocks of eight rows of weights, at `at` in each, adds to the sums of `rows` rows.
template <int BITS>
static inline void add(const Piece *x, int64_t rows, const uint8_t *const *w, int64_t at, reals *sums) {
    const Panel<BITS> panel(w, at);
    integers highs[MOST_ROWS];
    if constexpr (PARTS<BITS> == 2)  // in a loop of its own: as many vectors as a part has stay in registers
        for (int64_t r = 0; r < rows; ++r) highs[r] = times(panel.parts[1], x[r].numbers) << 4;
    for (int64_t r = 0; r < rows; ++r) {
        integers whole = times(panel.parts[0], x[r].numbers) - x[r].bias;
        if constexpr (PARTS<BITS> == 2) whole += highs[r];
        sums[r] += __builtin_convertvector(whole, reals) * (panel.scales * x[r].scale);
    }
}

// Outputs of a thread, from `start` on, for the rows from `first` on. Missing rows of the last panel are the last one again.
template <int BITS, typename X>
static void tile(const Pieces &x, const uint8_t *w, X *y, int64_t first, int64_t start, int64_t out) {
    const int64_t rows = x.together(first), panels = std::min(PANELS, (out - start + OUTS - 1) / OUTS);
    const int64_t stretch = std::max<int64_t>(1, NEAR / (rows * sizeof(Piece)));
    reals sums[PANELS][MOST_ROWS];
    for (int64_t p = 0; p < panels; ++p) std::fill(sums[p], sums[p] + rows, reals{});
    for (int64_t from = 0; from < x.blocks; from += stretch)
        for (int64_t p = 0; p < panels; ++p) {
            const uint8_t *of_panel[OUTS];
            for (int64_t o = 0; o < OUTS; ++o)
                of_panel[o] = w + std::min(start + p * OUTS + o, out - 1) * x.blocks * BLOCK_BYTES<BITS>;
            for (int64_t b = from; b < std::min(from + stretch, x.blocks); ++b)
                add<BITS>(x.at(first, b), rows, of_panel, b * BLOCK_BYTES<BITS>, sums[p]);
        }
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t o = start; o < std::min(start + PANELS * OUTS, out); ++o)
            put(y + (first + r) * out + o, sums[(o - start) / OUTS][r][(o - start) % OUTS]);
}

template <int BITS, typename X>
static void product(const X *x, const uint8_t *w, X *y, int64_t rows, int64_t blocks, int64_t out, int threads) {
    const Pieces pieces(rows, blocks);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < rows * blocks; ++i) {
            const int64_t r = i / blocks, b = i % blocks, first = r / MOST_ROWS * MOST_ROWS;
            quantise(x + i * VALUES, BIAS<BITS>, pieces.at(first, b) + r - first);
        }
#pragma omp for schedule(static)
        for (int64_t start = 0; start < out; start += PANELS * OUTS)
            for (int64_t first = 0; first < rows; first += MOST_ROWS) tile<BITS>(pieces, w, y, first, start, out);
    }
}

template <typename X>
static void product(const X *x, const uint8_t *w, X *y, int64_t rows, int64_t blocks, int64_t out, int bits, int threads) {
    if (bits == 4)
        product<4>(x, w, y, rows, blocks, out, threads);
    else
        product<8>(x, w, y, rows, blocks, out, threads);
}

// x: (rows, 32 * blocks), y: (rows, out), bfloat16, or float32 where wide. w: (out, blocks) of int4 or int8.
extern "C" void block_product(const void *x, const uint8_t *w, void *y, int64_t rows, int64_t blocks, int64_t out, int bits,
                              int wide, int threads) {
    if (wide)
        product((const float *)x, w, (float *)y, rows, blocks, out, bits, threads);
    else
        product((const uint16_t *)x, w, (uint16_t *)y, rows, blocks, out, bits, threads);
}
