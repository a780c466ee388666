// Panels: as many blocks of a row (see blocks.py) as a vector of float32 has lanes, turned so that each lane holds four numbers of
// its own block. Times x, turned likewise, a panel gives the sum of each block in its lane: whole numbers, and exact. Matrices are
// read row after row, as they lie in the file: one stream, which the CPU foresees.
//
// What differs between instruction sets is here, chosen when a library is built (processors.py has their kinds):
//   AVX-512, AVX-VNNI dpbusd adds four products, unsigned times signed, to 32 bits
//   AVX2              maddubs adds two products to 16 bits, which numbers of 0 to 15 never overflow: int8 comes as two such halves
//   NEON              sdot, the same as dpbusd of signed numbers
//   others            one by one

#pragma once

#include "vectors.h"

#ifdef __ARM_FEATURE_DOTPROD
#include <arm_neon.h>
#endif

constexpr int VALUES = 32;         // of a block
constexpr int SCALE_BYTES = 2;     // before them
constexpr int QUADS = VALUES / 4;  // vectors of a panel
constexpr int HALF = QUADS / 2;    // of them in 16 bytes of each block

typedef uint8_t bytes __attribute__((vector_size(4 * LANES)));

template <int BITS>
constexpr int BLOCK_BYTES = SCALE_BYTES + VALUES * BITS / 8;

#if defined(__AVX512VNNI__)
static inline integers dpbusd(integers total, bytes w, bytes x) {
    return (integers)_mm512_dpbusd_epi32((__m512i)total, (__m512i)w, (__m512i)x);
}
#define DPBUSD
#elif defined(__AVX2__) && defined(__AVXVNNI__)
static inline integers dpbusd(integers total, bytes w, bytes x) {
    return (integers)_mm256_dpbusd_avx_epi32((__m256i)total, (__m256i)w, (__m256i)x);
}
#define DPBUSD
#endif

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

// LANES blocks of a row of x; those behind its end are 0. start: minus what comes of BIAS.
struct Piece {
    bytes quads[QUADS];
    floats scales;
    integers start;
};

template <int BITS>
struct Panel {
    bytes parts[PARTS<BITS>][QUADS];  // the lower four bits first
    floats scales;
};

// In which lane a panel has its block b. Sixteen are turned four by four.
static inline constexpr int lane_of(int b) { return LANES == 16 ? b % 4 * 4 + b / 4 : b; }

#ifdef __AVX512VNNI__
// Where 16-bit words are taken from, of two vectors that are read.
template <int COUNT, typename Place>
static inline __m512i places(Place place) {
    uint16_t at[32] = {};
    for (int i = 0; i < COUNT; ++i) at[i] = (uint16_t)place(i);
    return _mm512_loadu_si512(at);
}
#endif

// Sixteen bytes of each of LANES blocks, the first of which begins at `at`, from the block's byte `from` on: four of each block to a
// vector.
template <int BITS, int FROM>
static inline void turn(const uint8_t *at, bytes *quads) {
    constexpr int APART = BLOCK_BYTES<BITS>;
#ifdef __AVX2__
    const auto sixteen = [&](int block) { return _mm_loadu_si128((const __m128i *)(at + block * APART + FROM)); };
#ifdef __AVX512VNNI__
    __m512i of[4];  // four blocks each
    if constexpr (BITS == 4) {  // which are 72 bytes
        const __m512i words = places<32>([](int i) {
            const int word = i / 8 * (APART / 2) + FROM / 2 + i % 8;
            return word < 32 ? word : 32 + word - 4;
        });
        for (int i = 0; i < 4; ++i) {
            const uint8_t *four = at + i * 4 * APART;
            of[i] = _mm512_permutex2var_epi16(_mm512_loadu_si512(four), words, _mm512_loadu_si512(four + 8));
        }
    } else {
        for (int i = 0; i < 4; ++i) {
            const __m512i two = _mm512_inserti32x4(_mm512_castsi128_si512(sixteen(4 * i)), sixteen(4 * i + 1), 1);
            of[i] = _mm512_inserti32x4(_mm512_inserti32x4(two, sixteen(4 * i + 2), 2), sixteen(4 * i + 3), 3);
        }
    }
    const __m512i a = _mm512_unpacklo_epi32(of[0], of[1]), b = _mm512_unpackhi_epi32(of[0], of[1]);
    const __m512i c = _mm512_unpacklo_epi32(of[2], of[3]), d = _mm512_unpackhi_epi32(of[2], of[3]);
    quads[0] = (bytes)_mm512_unpacklo_epi64(a, c), quads[1] = (bytes)_mm512_unpackhi_epi64(a, c);
    quads[2] = (bytes)_mm512_unpacklo_epi64(b, d), quads[3] = (bytes)_mm512_unpackhi_epi64(b, d);
#else
    __m256i of[4];  // blocks i and i + 4
    for (int i = 0; i < 4; ++i) of[i] = _mm256_set_m128i(sixteen(i + 4), sixteen(i));
    const __m256i a = _mm256_unpacklo_epi32(of[0], of[1]), b = _mm256_unpackhi_epi32(of[0], of[1]);
    const __m256i c = _mm256_unpacklo_epi32(of[2], of[3]), d = _mm256_unpackhi_epi32(of[2], of[3]);
    quads[0] = (bytes)_mm256_unpacklo_epi64(a, c), quads[1] = (bytes)_mm256_unpackhi_epi64(a, c);
    quads[2] = (bytes)_mm256_unpacklo_epi64(b, d), quads[3] = (bytes)_mm256_unpackhi_epi64(b, d);
#endif
#else
    for (int b = 0; b < LANES; ++b)
        for (int q = 0; q < HALF; ++q) std::memcpy((char *)&quads[q] + 4 * b, at + b * APART + FROM + 4 * q, 4);
#endif
}

// The scales of LANES blocks, the first of which begins at `at`.
template <int BITS>
static inline floats scales_of(const uint8_t *at) {
    constexpr int APART = BLOCK_BYTES<BITS>;
#ifdef __AVX512VNNI__
    constexpr int TOGETHER = BITS == 4 ? 8 : 4;  // blocks that begin within 128 bytes
    const __m512i begins = places<TOGETHER>([](int b) { return b * (APART / 2); });
    __m128i of[16 / TOGETHER];
    for (int i = 0; i < 16 / TOGETHER; ++i) {
        const uint8_t *first = at + i * TOGETHER * APART;
        of[i] = _mm512_castsi512_si128(
            _mm512_permutex2var_epi16(_mm512_loadu_si512(first), begins, _mm512_loadu_si512(first + 64)));
    }
    __m256i all = _mm256_set_m128i(of[1], of[0]);
    if constexpr (BITS == 8) all = _mm256_set_m128i(_mm_unpacklo_epi64(of[2], of[3]), _mm_unpacklo_epi64(of[0], of[1]));
    const __m512i in_lanes = places<16>([](int lane) { return lane % 4 * 4 + lane / 4; });
    return (floats)_mm512_cvtph_ps(_mm256_permutexvar_epi16(_mm512_castsi512_si256(in_lanes), all));
#else
    uint16_t bits[LANES];
    for (int b = 0; b < LANES; ++b) std::memcpy(bits + b, at + b * APART, sizeof *bits);
#ifdef __F16C__
    return (floats)_mm256_cvtph_ps(
        _mm_setr_epi16(bits[0], bits[1], bits[2], bits[3], bits[4], bits[5], bits[6], bits[7]));
#else
    floats scales;
    for (int b = 0; b < LANES; ++b) {
        _Float16 half;
        std::memcpy(&half, bits + b, sizeof half);
        scales[b] = (float)half;
    }
    return scales;
#endif
#endif
}

// The panel of LANES blocks, the first of which begins at `at`.
template <int BITS>
static inline void fill(Panel<BITS> &panel, const uint8_t *at) {
    constexpr int STORED = BITS == 4 ? 8 : 0;  // the bias of blocks in memory
    bytes quads[QUADS];
    turn<BITS, SCALE_BYTES>(at, quads);
    if constexpr (BITS == 4)
        for (int q = 0; q < HALF; ++q) quads[q + HALF] = quads[q] >> 4, quads[q] &= 15;
    else
        turn<BITS, SCALE_BYTES + VALUES / 2>(at, quads + HALF);
    for (int q = 0; q < QUADS; ++q) {
        const bytes biased = quads[q] + (uint8_t)(BIAS<BITS> - STORED);
        if constexpr (PARTS<BITS> == 2)
            panel.parts[0][q] = biased & 15, panel.parts[1][q] = biased >> 4;
        else
            panel.parts[0][q] = biased;
    }
    panel.scales = scales_of<BITS>(at);
}

// Sums of products on their way: begun with whole numbers that they add to, or ended with them; a quad comes at a time.
#if defined(DPBUSD)
typedef integers Sums;
static inline Sums begun(integers whole) { return whole; }
static inline Sums more(Sums sums, bytes w, bytes x) { return dpbusd(sums, w, x); }
static inline integers ended(Sums sums, integers) { return sums; }
#elif defined(__AVX2__)
typedef __m256i Sums;  // lanes of 16 bits, each at most 8 * 2 * 15 * 127
static inline Sums begun(integers) { return _mm256_setzero_si256(); }
static inline Sums more(Sums sums, bytes w, bytes x) {
    return _mm256_add_epi16(sums, _mm256_maddubs_epi16((__m256i)w, (__m256i)x));
}
static inline integers ended(Sums sums, integers whole) {
    return (integers)_mm256_madd_epi16(sums, _mm256_set1_epi16(1)) + whole;
}
#elif defined(__ARM_FEATURE_DOTPROD)
struct Sums {
    int32x4_t halves[2];
};
static inline Sums begun(integers) { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
static inline Sums more(Sums sums, bytes w, bytes x) {
    int8x16_t of_w[2], of_x[2];
    std::memcpy(of_w, &w, sizeof of_w), std::memcpy(of_x, &x, sizeof of_x);
    for (int half = 0; half < 2; ++half) sums.halves[half] = vdotq_s32(sums.halves[half], of_w[half], of_x[half]);
    return sums;
}
static inline integers ended(Sums sums, integers) {
    integers total;
    std::memcpy(&total, sums.halves, sizeof total);
    return total;
}
#else
typedef integers Sums;
static inline Sums begun(integers whole) { return whole; }
static inline Sums more(Sums sums, bytes w, bytes x) {
    for (int b = 0; b < LANES; ++b)
        for (int i = 0; i < 4; ++i) sums[b] += w[4 * b + i] * (int8_t)x[4 * b + i];
    return sums;
}
static inline integers ended(Sums sums, integers) { return sums; }
#endif

// A vector that is used several times, from a register: GCC would load it for each use, and loads are fewer than products a cycle.
template <typename Vector>
static inline Vector held(Vector vector) {
#ifdef __AVX512VNNI__
    asm("" : "+v"(vector));
#endif
    return vector;
}

// What OUTS panels times a piece of each of ROWS rows add to their products, in float32, lane by lane. Panels and pieces lie
// `of_panel` and `of_row` apart.
template <int BITS, int OUTS, int ROWS>
static inline __attribute__((always_inline)) void add(const Panel<BITS> *panels, int64_t of_panel, const Piece *x, int64_t of_row,
                                                      floats (&products)[OUTS][ROWS]) {
    integers whole[OUTS][ROWS];
    for (int r = 0; r < ROWS; ++r) {
        const integers start = PARTS<BITS> == 1 ? held(x[r * of_row].start) : integers{};
        for (int o = 0; o < OUTS; ++o) whole[o][r] = start;
    }
    for (int part = PARTS<BITS> - 1; part >= 0; --part) {
        Sums sums[OUTS][ROWS];
        for (int o = 0; o < OUTS; ++o)
            for (int r = 0; r < ROWS; ++r) sums[o][r] = begun(whole[o][r]);
#pragma GCC unroll 8
        for (int q = 0; q < QUADS; ++q) {
            bytes w[OUTS];
            for (int o = 0; o < OUTS; ++o) w[o] = panels[o * of_panel].parts[part][q];
            for (int r = 0; r < ROWS; ++r) {
                const bytes numbers = held(x[r * of_row].quads[q]);
                for (int o = 0; o < OUTS; ++o) sums[o][r] = more(sums[o][r], w[o], numbers);
            }
        }
        for (int o = 0; o < OUTS; ++o)
            for (int r = 0; r < ROWS; ++r) {
                whole[o][r] = ended(sums[o][r], whole[o][r]);
                if (part) whole[o][r] = (whole[o][r] << 4) + x[r * of_row].start;
            }
    }
    floats of_w[OUTS];
    for (int o = 0; o < OUTS; ++o) of_w[o] = held(panels[o * of_panel].scales);
    for (int r = 0; r < ROWS; ++r) {
        const floats of_x = held(x[r * of_row].scales);
        for (int o = 0; o < OUTS; ++o) products[o][r] += __builtin_convertvector(whole[o][r], floats) * (of_w[o] * of_x);
    }
}
