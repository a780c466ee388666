// Vectors of float32 and the bfloat16 numbers that they are read from. They are the compiler's own, so one source serves AVX2,
// AVX-512 and NEON.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

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

static inline floats load(const uint16_t *from) {
    halves half;
    std::memcpy(&half, from, sizeof half);
    return (floats)(__builtin_convertvector(half, words) << 16);
}

static inline float sum(floats lanes) {
    typedef float quarter __attribute__((vector_size(16)));
    quarter parts[LANES / 4], total = {};
    std::memcpy(parts, &lanes, sizeof lanes);
    for (int part = 0; part < LANES / 4; ++part) total += parts[part];
    return (total[0] + total[1]) + (total[2] + total[3]);
}
