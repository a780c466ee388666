// Vectors of float32, and the bfloat16 and int8 numbers that they are read from. They are the compiler's own, so one source
// serves AVX2, AVX-512 and NEON; only what GCC widens half by half on x86 is said in the CPU's words.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef __AVX512VNNI__  // and with it whatever else of AVX-512 is used here
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef int32_t integers __attribute__((vector_size(4 * LANES)));
typedef int8_t small __attribute__((vector_size(LANES)));
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
#if defined(__AVX512VNNI__)
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
#if defined(__AVX512VNNI__)
    return (floats)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#elif defined(__AVX2__)
    return (floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)));
#else
    small some;
    std::memcpy(&some, from, sizeof some);
    return __builtin_convertvector(some, floats);
#endif
}

static inline floats load(const float *from) {
    floats lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

// Rounded to bfloat16 as `narrow` does it, and still in float32.
static inline floats rounded(floats lanes) {
    const words bits = (words)lanes, nearest = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    return (floats)((bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : nearest);
}

static inline void store(uint16_t *to, floats lanes) {
    const halves half = __builtin_convertvector((words)rounded(lanes) >> 16, halves);
    std::memcpy(to, &half, sizeof half);
}

static inline void store(float *to, floats lanes) { std::memcpy(to, &lanes, sizeof lanes); }

static inline void store(int8_t *to, integers lanes) {
    const small narrow = __builtin_convertvector(lanes, small);
    std::memcpy(to, &narrow, sizeof narrow);
}

static inline float sum(floats lanes) {
    typedef float quarter __attribute__((vector_size(16)));
    quarter parts[LANES / 4], total = {};
    std::memcpy(parts, &lanes, sizeof lanes);
    for (int part = 0; part < LANES / 4; ++part) total += parts[part];
    return (total[0] + total[1]) + (total[2] + total[3]);
}

static inline floats exp_of(floats x) {  // of at most 87, 0 below -87; the polynomial is that of Cephes' expf
    const floats low = (floats){} - 87.0f, inside = x > low ? x : low;
    const floats shifted = inside * 1.44269504f + 12582912.0f, whole = shifted - 12582912.0f;
    const floats r = inside - whole * 0.693359375f + whole * 2.12194440e-4f;
    floats y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    const integers power = (integers)shifted - 0x4b400000;  // the bits of 12582912.0f
    const floats scaled = (floats)((integers)y + (power << 23));
    return x > low ? scaled : (floats){};
}

// LANES vectors that lie `apart`, each put together across its lanes, in the order that `sum` has.
template <typename Vector, typename Together>
static inline Vector across(const Vector *of, int64_t apart, Together together) {
#ifdef __AVX512VNNI__
    Vector quarters[4];  // vector i's in place i / 4 of quarters[i % 4]
    for (int i = 0; i < 4; ++i) {
        const Vector a = of[i * apart], b = of[(i + 4) * apart], c = of[(i + 8) * apart], d = of[(i + 12) * apart];
        const auto ab = _mm512_shuffle_f32x4((__m512)a, (__m512)b, 0x44), ab2 = _mm512_shuffle_f32x4((__m512)a, (__m512)b, 0xee);
        const auto cd = _mm512_shuffle_f32x4((__m512)c, (__m512)d, 0x44), cd2 = _mm512_shuffle_f32x4((__m512)c, (__m512)d, 0xee);
        const Vector first = (Vector)_mm512_shuffle_f32x4(ab, cd, 0x88), second = (Vector)_mm512_shuffle_f32x4(ab, cd, 0xdd);
        const Vector third = (Vector)_mm512_shuffle_f32x4(ab2, cd2, 0x88), last = (Vector)_mm512_shuffle_f32x4(ab2, cd2, 0xdd);
        quarters[i] = together(together(together(first, second), third), last);
    }
    const auto low = (__m512d)_mm512_unpacklo_ps((__m512)quarters[0], (__m512)quarters[1]);
    const auto high = (__m512d)_mm512_unpackhi_ps((__m512)quarters[0], (__m512)quarters[1]);
    const auto low2 = (__m512d)_mm512_unpacklo_ps((__m512)quarters[2], (__m512)quarters[3]);
    const auto high2 = (__m512d)_mm512_unpackhi_ps((__m512)quarters[2], (__m512)quarters[3]);
    return together(together((Vector)_mm512_unpacklo_pd(low, low2), (Vector)_mm512_unpackhi_pd(low, low2)),
                    together((Vector)_mm512_unpacklo_pd(high, high2), (Vector)_mm512_unpackhi_pd(high, high2)));
#else
    Vector all;
    for (int i = 0; i < LANES; ++i) {
        const Vector one = of[i * apart];
        std::decay_t<decltype(all[0])> four[4];
        for (int j = 0; j < 4; ++j) {
            four[j] = one[j];
            for (int next = j + 4; next < LANES; next += 4) four[j] = together(four[j], one[next]);
        }
        all[i] = together(together(four[0], four[1]), together(four[2], four[3]));
    }
    return all;
#endif
}
