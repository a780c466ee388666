// Vectors of float32, and the bfloat16 and int8 numbers that they are read from. They are the compiler's own, so one source
// serves AVX2, AVX-512 and NEON; only what GCC widens half by half on x86 is said in the CPU's words.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

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

static inline void put(uint16_t *to, float x) { *to = narrow(x); }
static inline void put(float *to, float x) { *to = x; }

static inline floats load(const uint16_t *from) {
#if defined(__AVX512F__)
    return (floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
#elif defined(__AVX2__)
    return (floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
#else
    halves half;
    std::memcpy(&half, from, sizeof half);
    return (floats)(__builtin_convertvector(half, words) << 16);
#endif
}

static inline floats load(const int8_t *from) {
#if defined(__AVX512F__)
    return (floats)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#elif defined(__AVX2__)
    return (floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
#else
    typedef int8_t bytes __attribute__((vector_size(LANES)));
    bytes some;
    std::memcpy(&some, from, sizeof some);
    return __builtin_convertvector(some, floats);
#endif
}

static inline floats load(const float *from) {
    floats lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

static inline float sum(floats lanes) {
    typedef float quarter __attribute__((vector_size(16)));
    quarter parts[LANES / 4], total = {};
    std::memcpy(parts, &lanes, sizeof lanes);
    for (int part = 0; part < LANES / 4; ++part) total += parts[part];
    return (total[0] + total[1]) + (total[2] + total[3]);
}
