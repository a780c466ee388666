// Products of few rows with a bfloat16 weight matrix, bound by the memory's bandwidth.
//
// Built for the machine it runs on (see native.py); vectors are the compiler's own, so one source serves AVX2, AVX-512
// and NEON. A vector of weights is read as 32-bit words that hold two weights each: shifted left a word is the even
// weight in float32, with its lower half cleared it is the odd one. Sums are float32, rounded to bfloat16 once.

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

// Each row of x with every chunk as its even values, then its odd ones; what is left behind the last chunk stays as it is.
static std::vector<float> evens_then_odds(const uint16_t *x, int rows, int64_t in) {
    std::vector<float> out(rows * in);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < in; ++i) {
            const int64_t start = i / CHUNK * CHUNK, within = i - start;
            const bool whole = start + CHUNK <= in;
            out[r * in + (whole ? start + within % 2 * LANES + within / 2 : i)] = widen(x[r * in + i]);
        }
    return out;
}

// ROWS rows of x against OUTS rows of the weight: y[r][o] = x[r] . w[o]
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
            const floats both = even[r][o] + odd[r][o];
            float total = 0.0f;
            for (int lane = 0; lane < LANES; ++lane) total += both[lane];
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
