// Panels: a block (see blocks.py) of each of eight rows of weights, turned so that a vector holds four numbers of every row. Times
// four numbers of x, which every lane gets, it gives eight sums of whole numbers, and nothing is added across lanes.
//
// What differs between instruction sets is here, chosen when the library is built, on the machine that it is for:
//   AVX2              maddubs adds two products to 16 bits, which numbers of 0 to 15 never overflow: int8 comes as two such halves
//   AVX-512, AVX-VNNI dpbusd adds four products, unsigned times signed, to 32 bits
//   NEON              sdot, the same of signed numbers
//   others            one by one
// Only AVX2 has been run so far (docs/log.md).

#pragma once

#include "vectors.h"

#ifdef __ARM_FEATURE_DOTPROD
#include <arm_neon.h>
#endif

#if defined(__AVX2__) && defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define DPBUSD _mm256_dpbusd_epi32
#elif defined(__AVX2__) && defined(__AVXVNNI__)
#define DPBUSD _mm256_dpbusd_avx_epi32
#endif

constexpr int VALUES = 32;         // of a block
constexpr int SCALE_BYTES = 2;     // before them
constexpr int OUTS = 8;            // rows of weights in a panel, outputs made at a time
constexpr int QUADS = VALUES / 4;  // vectors of a panel

typedef float reals __attribute__((vector_size(4 * OUTS)));
typedef int32_t integers __attribute__((vector_size(4 * OUTS)));
typedef uint8_t bytes __attribute__((vector_size(4 * OUTS)));

template <int BITS>
constexpr int BLOCK_BYTES = SCALE_BYTES + VALUES * BITS / 8;

// What is added to weights, so that they are multiplied unsigned.
#ifdef __ARM_FEATURE_DOTPROD
template <int BITS>
constexpr int BIAS = 0;
#else
template <int BITS>
constexpr int BIAS = 1 << (BITS - 1);
#endif

// Into how many parts of 4 bits weights are split.
#if defined(__AVX2__) && !defined(DPBUSD)
template <int BITS>
constexpr int PARTS = BITS / 4;
#else
template <int BITS>
constexpr int PARTS = 1;
#endif

static inline int32_t four(const int8_t *from) {
    int32_t numbers;
    std::memcpy(&numbers, from, sizeof numbers);
    return numbers;
}

// Sixteen bytes of each row, from `at` on: four of each row to a vector.
static inline void turn(const uint8_t *const *rows, int64_t at, bytes *quads) {
#ifdef __AVX2__
    __m256i two[4];  // rows r and r + 4
    for (int r = 0; r < 4; ++r)
        two[r] = _mm256_set_m128i(_mm_loadu_si128((const __m128i *)(rows[r + 4] + at)),
                                  _mm_loadu_si128((const __m128i *)(rows[r] + at)));
    const __m256i a = _mm256_unpacklo_epi32(two[0], two[1]), b = _mm256_unpackhi_epi32(two[0], two[1]);
    const __m256i c = _mm256_unpacklo_epi32(two[2], two[3]), d = _mm256_unpackhi_epi32(two[2], two[3]);
    quads[0] = (bytes)_mm256_unpacklo_epi64(a, c), quads[1] = (bytes)_mm256_unpackhi_epi64(a, c);
    quads[2] = (bytes)_mm256_unpacklo_epi64(b, d), quads[3] = (bytes)_mm256_unpackhi_epi64(b, d);
#else
    for (int o = 0; o < OUTS; ++o)
        for (int q = 0; q < QUADS / 2; ++q) std::memcpy((char *)&quads[q] + 4 * o, rows[o] + at + 4 * q, 4);
#endif
}

// The scales of blocks that begin at `at`.
static inline reals scales_at(const uint8_t *const *rows, int64_t at) {
    uint16_t bits[OUTS];
    for (int o = 0; o < OUTS; ++o) std::memcpy(bits + o, rows[o] + at, sizeof *bits);
#ifdef __F16C__
    return (reals)_mm256_cvtph_ps(
        _mm_setr_epi16(bits[0], bits[1], bits[2], bits[3], bits[4], bits[5], bits[6], bits[7]));
#else
    reals scales;
    for (int o = 0; o < OUTS; ++o) {
        _Float16 half;
        std::memcpy(&half, bits + o, sizeof half);
        scales[o] = (float)half;
    }
    return scales;
#endif
}

template <int BITS>
struct Panel {
    bytes parts[PARTS<BITS>][QUADS];  // the lower four bits first
    reals scales;

    Panel(const uint8_t *const *rows, int64_t at) : scales(scales_at(rows, at)) {
        bytes quads[QUADS];
        turn(rows, at + SCALE_BYTES, quads);
        if constexpr (BITS == 4)
            for (int q = 0; q < QUADS / 2; ++q) quads[q + QUADS / 2] = quads[q] >> 4, quads[q] &= 15;
        else
            turn(rows, at + SCALE_BYTES + VALUES / 2, quads + QUADS / 2);
        constexpr int STORED = BITS == 4 ? 8 : 0;  // the bias of blocks in memory
        for (int q = 0; q < QUADS; ++q) {
            const bytes biased = quads[q] + (uint8_t)(BIAS<BITS> - STORED);
            if constexpr (PARTS<BITS> == 2)
                parts[0][q] = biased & 15, parts[1][q] = biased >> 4;
            else
                parts[0][q] = biased;
        }
    }
};

// A part of a panel times 32 numbers of x, summed: exact.
static inline integers times(const bytes *part, const int8_t *x) {
#if defined(DPBUSD)
    __m256i total = _mm256_setzero_si256();
    for (int q = 0; q < QUADS; ++q) total = DPBUSD(total, (__m256i)part[q], _mm256_set1_epi32(four(x + 4 * q)));
    return (integers)total;
#elif defined(__AVX2__)
    __m256i total = _mm256_setzero_si256();  // lanes of 16 bits, each at most 8 * 2 * 15 * 127
    for (int q = 0; q < QUADS; ++q)
        total = _mm256_add_epi16(total, _mm256_maddubs_epi16((__m256i)part[q], _mm256_set1_epi32(four(x + 4 * q))));
    return (integers)_mm256_madd_epi16(total, _mm256_set1_epi16(1));
#elif defined(__ARM_FEATURE_DOTPROD)
    int32x4_t totals[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int q = 0; q < QUADS; ++q) {
        int8x16_t halves[2];
        std::memcpy(halves, part + q, sizeof halves);
        const int8x16_t numbers = vreinterpretq_s8_s32(vdupq_n_s32(four(x + 4 * q)));
        for (int half = 0; half < 2; ++half) totals[half] = vdotq_s32(totals[half], halves[half], numbers);
    }
    integers total;
    std::memcpy(&total, totals, sizeof total);
    return total;
#else
    integers total = {};
    for (int q = 0; q < QUADS; ++q)
        for (int o = 0; o < OUTS; ++o)
            for (int i = 0; i < 4; ++i) total[o] += part[q][4 * o + i] * x[4 * q + i];
    return total;
#endif
}
