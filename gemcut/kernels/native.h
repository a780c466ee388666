// The functions that call each other; Python calls them too (native.py has the list). All tensors are bfloat16 and contiguous where
// nothing else is said at the function.

#pragma once

#include <cstdint>

extern "C" {
void few_rows(const uint16_t *x, const uint16_t *w, uint16_t *y, int rows, int64_t in, int64_t out, int threads);
void block_product(const void *x, const uint8_t *w, void *y, int64_t rows, int64_t blocks, int64_t out, int bits, int wide,
                   int threads);
void widen_blocks(const uint8_t *w, uint16_t *y, int64_t blocks, int bits, int threads);
void norm_rows(const uint16_t *x, const uint16_t *w, const uint16_t *onto, const uint16_t *times, uint16_t *y, int64_t rows,
               int64_t width, float eps, int threads);
void norm_rotate(const uint16_t *x, const uint16_t *w, const uint16_t *cosine, const uint16_t *sine, uint16_t *y, int64_t rows,
                 int64_t heads, int64_t width, float eps, int threads);
void gelu_times(const uint16_t *x, const uint16_t *times, uint16_t *y, int64_t count, int threads);
}
