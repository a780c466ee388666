// What a decode step does to its few rows of bfloat16: products with a weight matrix, bound by the memory's bandwidth, and between
// them norms and rotations, each in one call instead of ten.
//
// Built for several kinds of CPU (see processors.py). Everything is computed in float32, and rounded to bfloat16 where the plain
// forms round.

#include "vectors.h"

#include <algorithm>
#include <vector>

constexpr int CHUNK = 2 * LANES;  // weights in a vector of words

constexpr int MOST_ROWS = 32;
constexpr int GROUP = 4;          // rows whose sums for two outputs fit into registers, beside the operands
constexpr int TOGETHER = 16;      // rows of which a stretch stays in the first cache
constexpr int64_t STRETCH = 256;  // numbers of a row
constexpr int64_t TILE = 24;      // outputs that a thread makes at a time
constexpr int64_t LINE = 32;      // weights that come from memory together

// Rows of x in float32, stretch by stretch: of each stretch all rows, and of a row its chunks as their even values,
// then their odd ones. A stretch of many rows then lies together, and no vector of it in two lines of the cache.
struct Rows {
    int64_t count, whole, stretch, rest;  // whole: numbers of a row in chunks; rest: those behind them
    std::vector<floats> lanes;
    std::vector<float> tails;  // (count, rest)

    Rows(const uint16_t *x, int rows, int64_t in, int64_t stretch)
        : count(rows), whole(in / CHUNK * CHUNK), stretch(stretch), rest(in - whole), lanes(rows * whole / LANES),
          tails(rows * rest) {
        for (int r = 0; r < rows; ++r, x += in) {
            for (int64_t i = 0; i < whole; i += CHUNK) {
                float to[CHUNK];
                for (int lane = 0; lane < LANES; ++lane) {
                    to[lane] = widen(x[i + 2 * lane]);
                    to[LANES + lane] = widen(x[i + 2 * lane + 1]);
                }
                std::memcpy(lanes.data() + place(i, r) + i % stretch / LANES, to, sizeof to);
            }
            for (int64_t i = 0; i < rest; ++i) tails[r * rest + i] = widen(x[whole + i]);
        }
    }

    int64_t length(int64_t i) const { return std::min(stretch, whole - i / stretch * stretch); }  // of i's stretch
    int64_t place(int64_t i, int64_t r) const { return (i / stretch * stretch * count + r * length(i)) / LANES; }
    const floats *at(int64_t i, int64_t r) const { return lanes.data() + place(i, r); }  // a row's part of i's stretch
};

// What a stretch of ROWS rows of x and of OUTS rows of the weight adds to their products; sums: [o][MOST_ROWS]
// A vector of weights is read as 32-bit words that hold two weights each: shifted left a word is the even weight
// in float32, with its lower half cleared it is the odd one. A row is summed in the same order whatever ROWS and
// OUTS are, so it comes out the same alone and among others.
template <int ROWS, int OUTS>
static inline void add(const floats *x, const uint16_t *w, floats *sums, int64_t in, int64_t length) {
    floats here[OUTS][ROWS];
    for (int o = 0; o < OUTS; ++o)
        for (int r = 0; r < ROWS; ++r) here[o][r] = sums[o * MOST_ROWS + r];
    for (int64_t i = 0; i < length; i += CHUNK) {
        floats low[OUTS], high[OUTS];
        for (int o = 0; o < OUTS; ++o) {
            words pairs;
            std::memcpy(&pairs, w + o * in + i, sizeof pairs);
            low[o] = (floats)(pairs << 16), high[o] = (floats)(pairs & 0xffff0000);
        }
        for (int r = 0; r < ROWS; ++r) {
            const floats *pair = x + (r * length + i) / LANES;
            for (int o = 0; o < OUTS; ++o) {
                here[o][r] += pair[0] * low[o];
                here[o][r] += pair[1] * high[o];
            }
        }
    }
    for (int o = 0; o < OUTS; ++o)
        for (int r = 0; r < ROWS; ++r) sums[o * MOST_ROWS + r] = here[o][r];
}

// The same for any number of rows.
template <int OUTS>
static void add_rows(const floats *x, const uint16_t *w, floats *sums, int rows, int64_t in, int64_t length) {
    for (; rows >= GROUP; rows -= GROUP, sums += GROUP, x += GROUP * length / LANES)
        add<GROUP, OUTS>(x, w, sums, in, length);
    switch (rows) {
        case 1: add<1, OUTS>(x, w, sums, in, length); break;
        case 2: add<2, OUTS>(x, w, sums, in, length); break;
        case 3: add<3, OUTS>(x, w, sums, in, length); break;
    }
}

// OUTS outputs at a time, `count` in all; what is left over comes one by one. Meanwhile the weights that lie `ahead`
// of these are fetched; 0: none.
template <int OUTS>
static void add_outputs(const floats *x, const uint16_t *w, floats *sums, int rows, int64_t in, int64_t length, int64_t count,
                        int64_t ahead) {
    int64_t o = 0;
    for (; o + OUTS <= count; o += OUTS) {
        if (ahead)
            for (int64_t row = o; row < o + OUTS; ++row)
                for (int64_t i = 0; i < STRETCH; i += LINE) __builtin_prefetch(w + row * in + ahead + i, 0, 2);
        add_rows<OUTS>(x, w + o * in, sums + o * MOST_ROWS, rows, in, length);
    }
    for (; o < count; ++o) add_rows<1>(x, w + o * in, sums + o * MOST_ROWS, rows, in, length);
}

// x: (rows, in), w: (out, in), y: (rows, out), all bfloat16 and contiguous; at most MOST_ROWS rows. The weights come
// from memory once: few rows take them row by row, more take them in stretches, each while the next is on its way.
extern "C" void few_rows(const uint16_t *x, const uint16_t *w, uint16_t *y, int rows, int64_t in, int64_t out,
                         int threads) {
    const bool few = rows < GROUP;
    const Rows ready(x, rows, in, few ? std::max<int64_t>(in, 1) : STRETCH);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t start = 0; start < out; start += TILE) {
        floats sums[TILE * MOST_ROWS] = {};
        const uint16_t *tile = w + start * in;
        const int64_t count = std::min(TILE, out - start);
        for (int64_t i = 0; i < ready.whole; i += ready.stretch) {
            const int64_t length = ready.length(i);
            if (few) {
                add_outputs<4>(ready.at(i, 0), tile + i, sums, rows, in, length, count, 0);
                continue;
            }
            const int64_t next = i + STRETCH < ready.whole ? STRETCH : TILE * in - i;  // stretch, or tile
            for (int r = 0; r < rows; r += TOGETHER)
                add_outputs<2>(ready.at(i, r), tile + i, sums + r, std::min(rows - r, TOGETHER), in, length, count,
                               r ? 0 : next);
        }
        for (int64_t o = 0; o < count; ++o)
            for (int r = 0; r < rows; ++r) {
                float total = sum(sums[o * MOST_ROWS + r]);
                for (int64_t j = 0; j < ready.rest; ++j)
                    total += ready.tails[r * ready.rest + j] * widen(tile[o * in + ready.whole + j]);
                y[r * out + start + o] = narrow(total);
            }
    }
}

// One row to a root mean square of 1, times w (none: 1), in float32.
static void norm(const uint16_t *x, const uint16_t *w, float *y, int64_t width, float eps) {
    floats squares = {};
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        const floats part = load(x + i);
        squares += part * part;
    }
    float total = sum(squares);
    for (; i < width; ++i) total += widen(x[i]) * widen(x[i]);
    const float scale = 1.0f / std::sqrt(total / width + eps);
    if (w)
        for (int64_t j = 0; j < width; ++j) y[j] = widen(x[j]) * scale * widen(w[j]);
    else
        for (int64_t j = 0; j < width; ++j) y[j] = widen(x[j]) * scale;
}

// x, y: (rows, width); w: (width), or null; onto: (rows, width), what the result is added to, or null.
extern "C" void norm_rows(const uint16_t *x, const uint16_t *w, const uint16_t *onto, uint16_t *y, int64_t rows,
                          int64_t width, float eps) {
    std::vector<float> wide(width);
    for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
        norm(x, w, wide.data(), width, eps);
        if (onto)
            for (int64_t j = 0; j < width; ++j) y[j] = narrow(widen(onto[r * width + j]) + rounded(wide[j]));
        else
            for (int64_t j = 0; j < width; ++j) y[j] = narrow(wide[j]);
    }
}

// x, y: (rows, heads, width); w: (width); cosine, sine: (rows, width). Each head is normed, then turned.
extern "C" void norm_rotate(const uint16_t *x, const uint16_t *w, const uint16_t *cosine, const uint16_t *sine, uint16_t *y,
                            int64_t rows, int64_t heads, int64_t width, float eps) {
    const int64_t half = width / 2;
    std::vector<float> wide(width);
    for (int64_t r = 0; r < rows; ++r, cosine += width, sine += width)
        for (int64_t h = 0; h < heads; ++h, x += width, y += width) {
            norm(x, w, wide.data(), width, eps);
            for (int64_t j = 0; j < width; ++j) wide[j] = rounded(wide[j]);
            for (int64_t j = 0; j < half; ++j)
                y[j] = narrow(rounded(wide[j] * widen(cosine[j])) - rounded(wide[j + half] * widen(sine[j])));
            for (int64_t j = half; j < width; ++j)
                y[j] = narrow(rounded(wide[j] * widen(cosine[j])) + rounded(wide[j - half] * widen(sine[j])));
        }
}
