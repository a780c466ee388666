// What a decode step does to its few rows of bfloat16: products with a weight matrix, bound by the memory's bandwidth, and between
// them norms and rotations, each in one call instead of ten.
//
// Built for the machine it runs on (see native.py). Everything is computed in float32, and rounded to bfloat16 where the plain
// forms round.

#include "vectors.h"

#include <algorithm>
#include <vector>

constexpr int CHUNK = 2 * LANES;  // weights in a vector of words

// Each row of x with every chunk as its even values, then its odd ones; what is left behind the last chunk stays as it is.
static std::vector<float> evens_then_odds(const uint16_t *x, int rows, int64_t in) {
    std::vector<float> out(rows * in);
    for (int64_t r = 0; r < rows; ++r) {
        const uint16_t *from = x + r * in;
        float *to = out.data() + r * in;
        int64_t i = 0;
        for (; i + CHUNK <= in; i += CHUNK)
            for (int lane = 0; lane < LANES; ++lane) {
                to[i + lane] = widen(from[i + 2 * lane]);
                to[i + LANES + lane] = widen(from[i + 2 * lane + 1]);
            }
        for (; i < in; ++i) to[i] = widen(from[i]);
    }
    return out;
}

// ROWS rows of x against OUTS rows of the weight: y[r][o] = x[r] . w[o]
// A vector of weights is read as 32-bit words that hold two weights each: shifted left a word is the even weight
// in float32, with its lower half cleared it is the odd one. A row is summed in the same order whatever ROWS and
// OUTS are, so it comes out the same alone and among others.
template <int ROWS, int OUTS>
static inline void block(const float *x, const uint16_t *w, uint16_t *y, int64_t in, int64_t out) {
    floats sums[ROWS][OUTS] = {}, part[OUTS];
    words pairs;
    int64_t i = 0;
    for (; i + CHUNK <= in; i += CHUNK) {
        for (int o = 0; o < OUTS; ++o) {
            std::memcpy(&pairs, w + o * in + i, sizeof pairs);
            part[o] = (floats)(pairs << 16);
        }
        for (int r = 0; r < ROWS; ++r) {
            const floats evens = load(x + r * in + i);
            for (int o = 0; o < OUTS; ++o) sums[r][o] += evens * part[o];
        }
        for (int o = 0; o < OUTS; ++o) {  // read again: registers are for the sums
            std::memcpy(&pairs, w + o * in + i, sizeof pairs);
            part[o] = (floats)(pairs & 0xffff0000);
        }
        for (int r = 0; r < ROWS; ++r) {
            const floats odds = load(x + r * in + i + LANES);
            for (int o = 0; o < OUTS; ++o) sums[r][o] += odds * part[o];
        }
    }
    for (int r = 0; r < ROWS; ++r)
        for (int o = 0; o < OUTS; ++o) {
            float total = sum(sums[r][o]);
            for (int64_t j = i; j < in; ++j) total += x[r * in + j] * widen(w[o * in + j]);
            y[r * out + o] = narrow(total);
        }
}

// `count` outputs of ROWS rows.
template <int ROWS, int OUTS>
static void outputs(const float *x, const uint16_t *w, uint16_t *y, int64_t in, int64_t out, int64_t count) {
    int64_t o = 0;
    for (; o + OUTS <= count; o += OUTS) block<ROWS, OUTS>(x, w + o * in, y + o, in, out);
    for (; o < count; ++o) block<ROWS, 1>(x, w + o * in, y + o, in, out);
}

constexpr int GROUP = 4;            // rows whose sums for three outputs fit into registers
constexpr int64_t TILE = 1 << 15;   // weights that stay in the second cache while every group of rows reads them

// x: (rows, in), w: (out, in), y: (rows, out), all bfloat16 and contiguous. The weights come from memory once.
extern "C" void few_rows(const uint16_t *x, const uint16_t *w, uint16_t *y, int rows, int64_t in, int64_t out,
                         int threads) {
    const std::vector<float> ready = evens_then_odds(x, rows, in);
    const int64_t tile = TILE / in / 12 * 12 + 12;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t start = 0; start < out; start += tile)
        for (int r = 0; r < rows; r += GROUP) {
            const float *from = ready.data() + r * in;
            const uint16_t *weights = w + start * in;
            uint16_t *to = y + r * out + start;
            const int64_t count = std::min(tile, out - start);
            switch (std::min(rows - r, GROUP)) {
                case 1: outputs<1, 4>(from, weights, to, in, out, count); break;
                case 2: outputs<2, 4>(from, weights, to, in, out, count); break;
                case 3: outputs<3, 4>(from, weights, to, in, out, count); break;
                case 4: outputs<4, 3>(from, weights, to, in, out, count); break;
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
