// What a step does to its rows of bfloat16: products of a few with a weight matrix, bound by the memory's bandwidth, and between
// products norms, rotations and gates, each in one call instead of ten.
//
// Built for several kinds of CPU (see processors.py). Everything is computed in float32, and rounded to bfloat16 where the plain
// forms round.

#include "native.h"
#include "vectors.h"

#include <algorithm>
#include <vector>

constexpr int CHUNK = 2 * LANES;  // weights in a vector of words

constexpr int MOST_ROWS = 32;
constexpr int GROUP = 4;          // rows whose sums for two outputs fit into registers, beside the operands
constexpr int TOGETHER = 16;      // rows of which a stretch stays in the first cache
constexpr int64_t STRETCH = 256;  // numbers of a row
constexpr int64_t TILE = 24;      // outputs that a thread makes at a time
constexpr int64_t NARROW = 4096;  // numbers of a row that stays in the first cache in float32
constexpr int64_t AHEAD = 4096;  // weights that are fetched for one row before they are read, those of the next outputs too
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
        if (ROWS == 1)
            for (int o = 0; o < OUTS; ++o) __builtin_prefetch(w + o * in + i + AHEAD, 0, 2);
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
#pragma omp parallel for schedule(guided) num_threads(threads)
    for (int64_t start = 0; start < out; start += TILE) {
        floats sums[TILE * MOST_ROWS] = {};
        const uint16_t *tile = w + start * in;
        const int64_t count = std::min(TILE, out - start);
        for (int64_t i = 0; i < ready.whole; i += ready.stretch) {
            const int64_t length = ready.length(i);
            if (few) {  // one stream of weights is foreseen best, but a row that the first cache does not hold is read less often
                const auto some = rows == 1 && in <= NARROW ? add_outputs<1> : add_outputs<4>;
                some(ready.at(i, 0), tile + i, sums, rows, in, length, count, 0);
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

// Numbers of a row in vectors, and those behind them in a vector of their own, filled up with zeros.
template <typename Each>
static inline void each_part(int64_t width, Each each) {
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) each(i, LANES);
    if (i < width) each(i, (int)(width - i));
}

static inline floats load_part(const uint16_t *from, int count) {
    if (count == LANES) return load(from);
    uint16_t whole[LANES] = {};
    std::memcpy(whole, from, count * sizeof *from);
    return load(whole);
}

static inline void store_part(uint16_t *to, floats lanes, int count) {
    if (count == LANES) return store(to, lanes);
    uint16_t whole[LANES];
    store(whole, lanes);
    std::memcpy(to, whole, count * sizeof *to);
}

// What brings a row to a root mean square of 1.
static inline float scale_of(const uint16_t *x, int64_t width, float eps) {
    floats squares = {};
    each_part(width, [&](int64_t i, int count) {
        const floats part = load_part(x + i, count);
        squares += part * part;
    });
    return 1.0f / std::sqrt(sum(squares) / width + eps);
}

// x, y: (rows, width); w: (width), or null; onto: (rows, width), what the result is added to, or null; times: what all is then
// multiplied with, one number, or null.
extern "C" void norm_rows(const uint16_t *x, const uint16_t *w, const uint16_t *onto, const uint16_t *times, uint16_t *y,
                          int64_t rows, int64_t width, float eps, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = r * width;
        const float scale = scale_of(x + at, width, eps);
        each_part(width, [&](int64_t i, int count) {
            floats part = load_part(x + at + i, count) * scale;
            if (w) part *= load_part(w + i, count);
            if (onto) part = load_part(onto + at + i, count) + rounded(part);
            if (times) part = rounded(part) * widen(*times);
            store_part(y + at + i, part, count);
        });
    }
}

// x, y: (rows, heads, width), width even; w: (width); cosine, sine: (rows, width). Each head is normed, then turned.
extern "C" void norm_rotate(const uint16_t *x, const uint16_t *w, const uint16_t *cosine, const uint16_t *sine, uint16_t *y,
                            int64_t rows, int64_t heads, int64_t width, float eps, int threads) {
    const int64_t half = width / 2;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < rows; ++r) {
        const uint16_t *c = cosine + r * width, *s = sine + r * width;
        for (int64_t at = r * heads * width; at < (r + 1) * heads * width; at += width) {
            const float scale = scale_of(x + at, width, eps);
            each_part(half, [&](int64_t i, int count) {
                const int64_t j = i + half;
                const floats first = rounded(load_part(x + at + i, count) * scale * load_part(w + i, count));
                const floats second = rounded(load_part(x + at + j, count) * scale * load_part(w + j, count));
                const auto turned = [&](floats own, floats other, int64_t k) {
                    return rounded(own * load_part(c + k, count)) + rounded(other * load_part(s + k, count));
                };
                store_part(y + at + i, turned(first, -second, i), count);
                store_part(y + at + j, turned(second, first, j), count);
            });
        }
    }
}

// y = gelu(x) * times, of `count` numbers; gelu in its tanh form, which is x / (1 + exp(-2u)).
extern "C" void gelu_times(const uint16_t *x, const uint16_t *times, uint16_t *y, int64_t count, int threads) {
    constexpr int64_t TOGETHER = 4096;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t start = 0; start < count; start += TOGETHER)
        each_part(std::min(TOGETHER, count - start), [&](int64_t i, int some) {
            const floats part = load_part(x + start + i, some);
            const floats twice = part * (1.5957691216f + 0.0713548163f * part * part);
            const floats gelu = twice < -87.0f ? part * 0.0f : part / (1.0f + exp_of(-twice));
            store_part(y + start + i, rounded(gelu) * load_part(times + start + i, some), some);
        });
}
