// What a decoder layer does to a few rows before and after attention, and its experts to one, in a call each: in decode the steps
// between products take less time than a call of each of them would.

#include "native.h"
#include "vectors.h"

#include <algorithm>
#include <numeric>
#include <vector>

// A weight: bfloat16 in 16 bits, or blocks of int8 or int4. None where `of` is null.
struct Matrix {
    const void *of;
    int64_t out, in, bits;
};

// A layer's weights; models without per-layer embeddings have no gate for them, nor what follows it.
struct Layer {
    Matrix q, k, v, o, gate, up, down, per_layer_gate, per_layer;
    const uint16_t *input_norm, *q_norm, *k_norm, *after_attention, *before_feed_forward, *after_feed_forward, *after_per_layer,
        *scalar;
    int64_t heads, kv_heads, head_width;
    float eps;
};

typedef std::vector<uint16_t> Rows;

static Rows product(const Matrix &m, const uint16_t *x, int64_t rows, int threads) {
    Rows y(rows * m.out);
    if (m.bits == 16)
        few_rows(x, (const uint16_t *)m.of, y.data(), (int)rows, m.in, m.out, threads);
    else
        block_product(x, (const uint8_t *)m.of, y.data(), rows, m.in / 32, m.out, (int)m.bits, 0, threads);
    return y;
}

// x: (rows, C) before the layer's first norm; cosine, sine: (rows, D). q: (rows, heads, D); k, v: (rows, kv_heads, D), where the layer
// has its own. Without v's weight it is the output of k's.
extern "C" void before_attention(const Layer *layer, const uint16_t *x, const uint16_t *cosine, const uint16_t *sine, uint16_t *q,
                                 uint16_t *k, uint16_t *v, int64_t rows, int threads) {
    const int64_t width = layer->q.in, head = layer->head_width;
    Rows normed(rows * width);
    norm_rows(x, layer->input_norm, nullptr, nullptr, normed.data(), rows, width, layer->eps, 1);
    const Rows raw_q = product(layer->q, normed.data(), rows, threads);
    norm_rotate(raw_q.data(), layer->q_norm, cosine, sine, q, rows, layer->heads, head, layer->eps, 1);
    if (!layer->k.of) return;
    Rows raw = product(layer->k, normed.data(), rows, threads);
    norm_rotate(raw.data(), layer->k_norm, cosine, sine, k, rows, layer->kv_heads, head, layer->eps, 1);
    if (layer->v.of) raw = product(layer->v, normed.data(), rows, threads);
    norm_rows(raw.data(), nullptr, nullptr, nullptr, v, rows * layer->kv_heads, head, layer->eps, 1);
}

// attended: (rows, heads * D); x, y: (rows, C), before the layer and behind it; per_layer: (rows, P), or null.
extern "C" void after_attention(const Layer *layer, const uint16_t *attended, const uint16_t *x, const uint16_t *per_layer,
                                uint16_t *y, int64_t rows, int threads) {
    const int64_t width = layer->o.out;
    const float eps = layer->eps;
    const uint16_t *last = layer->per_layer.of ? nullptr : layer->scalar;
    Rows made = product(layer->o, attended, rows, threads), residual(rows * width), normed(rows * width);
    norm_rows(made.data(), layer->after_attention, x, nullptr, residual.data(), rows, width, eps, 1);
    norm_rows(residual.data(), layer->before_feed_forward, nullptr, nullptr, normed.data(), rows, width, eps, 1);
    Rows gate = product(layer->gate, normed.data(), rows, threads);
    const Rows up = product(layer->up, normed.data(), rows, threads);
    gelu_times(gate.data(), up.data(), gate.data(), (int64_t)gate.size(), 1);
    made = product(layer->down, gate.data(), rows, threads);
    norm_rows(made.data(), layer->after_feed_forward, residual.data(), last, y, rows, width, eps, 1);
    if (last) return;
    gate = product(layer->per_layer_gate, y, rows, threads);
    gelu_times(gate.data(), per_layer, gate.data(), (int64_t)gate.size(), 1);
    made = product(layer->per_layer, gate.data(), rows, threads);
    norm_rows(made.data(), layer->after_per_layer, y, layer->scalar, y, rows, width, eps, 1);
}

// The chosen experts' outputs for one row, times their weights, added expert by expert. gate_up: (E, 2F, C), down: (E, C, F), their
// experts so many bytes apart; `out` and `in` are those of one expert. chosen, weights: `count` of them.
extern "C" void mix_experts(const uint16_t *x, const Matrix *gate_up, int64_t gate_up_apart, const Matrix *down, int64_t down_apart,
                            const int64_t *chosen, const float *weights, int64_t count, uint16_t *y, int threads) {
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return chosen[a] < chosen[b]; });
    std::fill_n(y, down->out, 0);
    const int64_t inner = down->in;
    for (const int64_t i : order) {
        Matrix first = *gate_up, second = *down;
        first.of = (const char *)first.of + chosen[i] * gate_up_apart, second.of = (const char *)second.of + chosen[i] * down_apart;
        Rows gate = product(first, x, 1, threads);
        gelu_times(gate.data(), gate.data() + inner, gate.data(), inner, 1);
        const Rows made = product(second, gate.data(), 1, threads);
        for (int64_t j = 0; j < down->out; ++j) y[j] = narrow(widen(y[j]) + rounded(widen(made[j]) * weights[i]));
    }
}
