// What a decode step does to its few rows of bfloat16: products with a weight matrix, bound by the memory's
// bandwidth, and between them norms, rotations and the attention of one row, each in one call instead of ten.
//
// Built for the machine it runs on (see native.py); vectors are the compiler's own, so one source serves AVX2, AVX-512
// and NEON. Everything is computed in float32, and rounded to bfloat16 where the plain forms round.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int CHUNK = 2 * LANES;  // weights in a vector of words

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

static float widen(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t narrow(float value) {  // round to nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static float rounded(float value) { return widen(narrow(value)); }

static inline floats load(const uint16_t *from) {
    halves half;
    std::memcpy(&half, from, sizeof half);
    return (floats)(__builtin_convertvector(half, words) << 16);
}

static inline float sum(floats lanes) {
    float total = 0.0f;
    for (int lane = 0; lane < LANES; ++lane) total += lanes[lane];
    return total;
}

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
// in float32, with its lower half cleared it is the odd one.
template <int ROWS, int OUTS>
static inline void block(const float *x, const uint16_t *w, uint16_t *y, int64_t in, int64_t out) {
    floats even[ROWS][OUTS] = {}, odd[ROWS][OUTS] = {};
    int64_t i = 0;
    for (; i + CHUNK <= in; i += CHUNK)
        for (int o = 0; o < OUTS; ++o) {
            words pairs;
            std::memcpy(&pairs, w + o * in + i, sizeof pairs);
            const floats low = (floats)(pairs << 16), high = (floats)(pairs & 0xffff0000);
            for (int r = 0; r < ROWS; ++r) {
                floats evens, odds;
                std::memcpy(&evens, x + r * in + i, sizeof evens);
                std::memcpy(&odds, x + r * in + i + LANES, sizeof odds);
                even[r][o] += evens * low;
                odd[r][o] += odds * high;
            }
        }
    for (int r = 0; r < ROWS; ++r)
        for (int o = 0; o < OUTS; ++o) {
            float total = sum(even[r][o] + odd[r][o]);
            for (int64_t j = i; j < in; ++j) total += x[r * in + j] * widen(w[o * in + j]);
            y[r * out + o] = narrow(total);
        }
}

template <int ROWS, int OUTS>
static void product(const float *x, const uint16_t *w, uint16_t *y, int64_t in, int64_t out, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < out / OUTS; ++o) block<ROWS, OUTS>(x, w + OUTS * o * in, y + OUTS * o, in, out);
    for (int64_t o = out / OUTS * OUTS; o < out; ++o) block<ROWS, 1>(x, w + o * in, y + o, in, out);
}

// x: (rows, in), w: (out, in), y: (rows, out), all bfloat16 and contiguous; rows is 1 to 4.
extern "C" void few_rows(const uint16_t *x, const uint16_t *w, uint16_t *y, int rows, int64_t in, int64_t out,
                         int threads) {
    const std::vector<float> ready = evens_then_odds(x, rows, in);
    switch (rows) {
        case 1: return product<1, 4>(ready.data(), w, y, in, out, threads);
        case 2: return product<2, 2>(ready.data(), w, y, in, out, threads);
        case 3: return product<3, 2>(ready.data(), w, y, in, out, threads);
        case 4: return product<4, 1>(ready.data(), w, y, in, out, threads);
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

static float dot(const float *q, const uint16_t *k, int64_t width) {
    floats total = {};
    for (int64_t i = 0; i < width; i += LANES) {
        floats part;
        std::memcpy(&part, q + i, sizeof part);
        total += part * load(k + i);
    }
    return sum(total);
}

constexpr int64_t SLICE = 64;  // values of a head that one thread adds up over all keys

// One row that sees every key. q, y: (heads, width); k, v: (keys, kv_heads, width). width is a multiple of SLICE.
extern "C" void attend_row(const uint16_t *q, const uint16_t *k, const uint16_t *v, uint16_t *y, int64_t keys,
                           int64_t heads, int64_t kv_heads, int64_t width, int threads) {
    const int64_t share = heads / kv_heads, slices = width / SLICE;
    std::vector<float> wide(heads * width), weights(heads * keys);
    for (int64_t i = 0; i < heads * width; ++i) wide[i] = widen(q[i]);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t s = 0; s < keys; ++s)
            for (int64_t h = 0; h < heads; ++h)
                weights[h * keys + s] = dot(wide.data() + h * width, k + (s * kv_heads + h / share) * width, width);
#pragma omp for schedule(static)
        for (int64_t h = 0; h < heads; ++h) {
            float *mine = weights.data() + h * keys, most = mine[0], total = 0.0f;
            for (int64_t s = 1; s < keys; ++s) most = std::fmax(most, mine[s]);
            for (int64_t s = 0; s < keys; ++s) total += mine[s] = std::exp(mine[s] - most);
            for (int64_t s = 0; s < keys; ++s) mine[s] /= total;
        }
#pragma omp for schedule(static)
        for (int64_t part = 0; part < heads * slices; ++part) {
            const int64_t h = part / slices, start = part % slices * SLICE;
            floats sums[SLICE / LANES] = {};
            for (int64_t s = 0; s < keys; ++s)
                for (int64_t i = 0; i < SLICE / LANES; ++i)
                    sums[i] += weights[h * keys + s] * load(v + (s * kv_heads + h / share) * width + start + i * LANES);
            for (int64_t i = 0; i < SLICE; ++i) y[h * width + start + i] = narrow(sums[i / LANES][i % LANES]);
        }
    }
}
