// The instruction of AVX-VNNI that panels.h asks for, in plain C++, for CPUs without it. Included before everything.

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define __AVXVNNI__ 1
#define _mm256_dpbusd_avx_epi32 dpbusd

static inline __m256i dpbusd(__m256i total, __m256i unsigned_bytes, __m256i signed_bytes) {
    int32_t sums[8];
    uint8_t a[32];
    int8_t b[32];
    std::memcpy(sums, &total, sizeof sums), std::memcpy(a, &unsigned_bytes, sizeof a), std::memcpy(b, &signed_bytes, sizeof b);
    for (int i = 0; i < 32; ++i) sums[i / 4] += a[i] * b[i];
    std::memcpy(&total, sums, sizeof sums);
    return total;
}
