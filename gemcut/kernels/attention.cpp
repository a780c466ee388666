// Attention of the rows of many sequences over keys and values that lie in pages. Queries and results are bfloat16 or float32,
// rows in pages too, or int8 with scales; everything is computed in float32.

#include "vectors.h"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

// Positions of a task, and those whose scores are made before their values are added. They are cut at the same places
// whatever else runs, so a row's result does not depend on the rows beside it, but for whether they are more than a reply's.
constexpr int64_t SPLIT = 128, BLOCK = 64;
constexpr int64_t ROWS = 4;    // of a prompt that a task takes
constexpr int64_t NEAR = 8;    // values that are added together: so few rows stay in the first cache
constexpr int MOST_PARTS = 3;   // of a row, each with its scale

static inline float value(uint16_t half) { return widen(half); }
static inline float value(float x) { return x; }

// Where the rows of a step stand. Rows starts[b] to starts[b + 1] - 1 are those of sequence b; row r sees the positions
// lows[r] to highs[r] - 1. Table b holds the pages of the positions from first[b] on. most_rows: of a reply.
struct Places {
    const int32_t *tables, *first, *starts, *lows, *highs;
    int64_t sequences, table_pages, page_tokens, most_rows;
};

// Keys and values. Those of slot s and head h begin at s * slot + h * head. scales: float16, one for each slot, head and part
// of a row, or null; ends: where the parts of a row end; a key is the row's first `width` numbers, a value its last.
struct Pool {
    const void *k, *v;
    const uint16_t *scales;
    int64_t ends[MOST_PARTS];
    int64_t parts, slot, head, heads, kv_heads, width;
};

// The numbers from begin to end of a key or a value that have one scale.
struct Part {
    int64_t begin, end, scale;
};

struct Parts {
    Part of[MOST_PARTS];
    int count;
};

static Parts parts_between(const Pool &pool, int64_t from, int64_t to) {
    if (!pool.scales) return {{{0, to - from, 0}}, 1};
    Parts found = {};
    int64_t begin = 0;
    for (int64_t p = 0; p < pool.parts; begin = pool.ends[p++])
        if (begin < to && pool.ends[p] > from) found.of[found.count++] = {begin - from, pool.ends[p] - from, p};
    return found;
}

// One task: rows of a sequence, from `start` to `end`, a key head, some positions; what it finds, before positions are put together.
struct Task {
    int64_t sequence, start, end, kv_head, from, to, partial;

    bool goes_with(const Task &other) const { return start == other.start && kv_head == other.kv_head; }
};

// Scores of QUERIES queries with KEYS keys, of one part of the width.
template <int QUERIES, int KEYS, typename T>
static inline void dots(const float *q, int64_t width, const T *const *k, const float *scales, Part part, float *scores) {
    floats totals[QUERIES][KEYS] = {};
    for (int64_t i = part.begin; i < part.end; i += LANES) {
        floats keys[KEYS];
        for (int s = 0; s < KEYS; ++s) keys[s] = load(k[s] + i);
        for (int r = 0; r < QUERIES; ++r) {
            const floats query = load(q + r * width + i);
            for (int s = 0; s < KEYS; ++s) totals[r][s] += query * keys[s];
        }
    }
    if constexpr (QUERIES * KEYS == LANES) {
        const floats sums = across(&totals[0][0], 1, [](auto a, auto b) { return a + b; });
        for (int r = 0; r < QUERIES; ++r)
            for (int s = 0; s < KEYS; ++s) scores[r * BLOCK + s] += sums[r * KEYS + s] * scales[s];
    } else {
        for (int r = 0; r < QUERIES; ++r)
            for (int s = 0; s < KEYS; ++s) scores[r * BLOCK + s] += sum(totals[r][s]) * scales[s];
    }
}

template <int QUERIES, typename T>
static inline void score(const float *q, int64_t width, const T *const *k, const float *scales, int64_t keys, Part part,
                         float *scores) {
    constexpr int KEYS = LANES / QUERIES;
    int64_t s = 0;
    for (; s + KEYS <= keys; s += KEYS) dots<QUERIES, KEYS>(q, width, k + s, scales + s, part, scores + s);
    for (; s < keys; ++s) dots<QUERIES, 1>(q, width, k + s, scales + s, part, scores + s);
}

// Adds weights times values to QUERIES sums, VECTORS vectors of the width from `at` on.
template <int QUERIES, int VECTORS, typename T>
static inline void add(float *sums, int64_t width, const T *const *v, const float *weights, int64_t keys, int64_t at) {
    floats totals[QUERIES][VECTORS];
    for (int r = 0; r < QUERIES; ++r)
        for (int i = 0; i < VECTORS; ++i) totals[r][i] = load(sums + r * width + at + i * LANES);
    for (int64_t s = 0; s < keys; ++s) {
        floats values[VECTORS];
        for (int i = 0; i < VECTORS; ++i) values[i] = load(v[s] + at + i * LANES);
        for (int r = 0; r < QUERIES; ++r)
            for (int i = 0; i < VECTORS; ++i) totals[r][i] += weights[r * BLOCK + s] * values[i];
    }
    for (int r = 0; r < QUERIES; ++r)
        for (int i = 0; i < VECTORS; ++i) store(sums + r * width + at + i * LANES, totals[r][i]);
}

template <int QUERIES, typename T>
static inline void weigh(float *sums, int64_t width, const T *const *v, const float *weights, int64_t keys, Part part) {
    constexpr int VECTORS = LANES / QUERIES;
    for (int64_t s = 0; s < keys; s += NEAR) {
        const int64_t count = std::min(NEAR, keys - s);
        int64_t at = part.begin;
        for (; at + VECTORS * LANES <= part.end; at += VECTORS * LANES)
            add<QUERIES, VECTORS>(sums, width, v + s, weights + s, count, at);
        for (; at < part.end; at += LANES) add<QUERIES, 1>(sums, width, v + s, weights + s, count, at);
    }
}

// What a task keeps for each of its queries: the largest score, the sum of weights, the sum of weighted values.
struct Partial {
    float *most, *total, *sums;
};

// Weights of a block's scores, and what was summed before brought to the same scale.
static void soften(float *scores, float *most, float *total, float *sums, int64_t width) {
    const float larger = std::fmax(*most, *std::max_element(scores, scores + BLOCK));
    if (larger == -INFINITY) {
        std::fill(scores, scores + BLOCK, 0.0f);
        return;
    }
    if (larger > *most) {
        const float before = std::exp(*most - larger);
        *total *= before;
        for (int64_t i = 0; i < width; i += LANES) store(sums + i, load(sums + i) * before);
        *most = larger;
    }
    floats weights = {};
    for (int64_t s = 0; s < BLOCK; s += LANES) {
        const floats some = exp_of(load(scores + s) - larger);
        store(scores + s, some);
        weights += some;
    }
    *total += sum(weights);
}

template <typename X, typename T>
class Reader {
  public:
    Reader(const Places &places, const Pool &pool, const X *q)
        : places(places), pool(pool), q(q), share(pool.heads / pool.kv_heads),
          keys(parts_between(pool, 0, pool.width)),
          values(parts_between(pool, pool.ends[pool.parts - 1] - pool.width, pool.ends[pool.parts - 1])) {}

    void run(const Task &task, Partial out) const {
        const int64_t start = task.start, width = pool.width, queries = (task.end - start) * share;
        std::vector<float> wide(queries * width), scores(queries * BLOCK), scaled(pool.scales ? queries * BLOCK : 0);
        for (int64_t i = 0; i < queries; ++i) {
            const X *from = q + ((start + i / share) * pool.heads + task.kv_head * share + i % share) * width;
            for (int64_t d = 0; d < width; ++d) wide[i * width + d] = value(from[d]);
            out.most[i] = -INFINITY;
            out.total[i] = 0.0f;
        }
        std::memset(out.sums, 0, queries * width * sizeof(float));
        for (int64_t from = task.from; from < task.to; from = (from / BLOCK + 1) * BLOCK) {
            const int64_t before = from % BLOCK, count = std::min(BLOCK - before, task.to - from);
            const T *k[BLOCK], *v[BLOCK];
            float scales[MOST_PARTS][BLOCK];
            find(task, from, count, k, v, scales);
            std::fill(scores.begin(), scores.end(), 0.0f);
            for (int p = 0; p < keys.count; ++p)
                each_group(queries, [&](auto size, int64_t i) {
                    score<size.value>(&wide[i * width], width, k, scales[keys.of[p].scale], count, keys.of[p],
                                      &scores[i * BLOCK + before]);
                });
            for (int64_t i = 0; i < queries; ++i) {
                hide(start + i / share, from - before, &scores[i * BLOCK]);
                soften(&scores[i * BLOCK], out.most + i, out.total + i, out.sums + i * width, width);
            }
            for (int p = 0; p < values.count; ++p) {
                const float *weights = scores.data();
                if (pool.scales) {
                    const float *scale = scales[values.of[p].scale];
                    for (int64_t i = 0; i < queries; ++i)
                        for (int64_t s = 0; s < count; ++s)
                            scaled[i * BLOCK + before + s] = scores[i * BLOCK + before + s] * scale[s];
                    weights = scaled.data();
                }
                each_group(queries, [&](auto size, int64_t i) {
                    weigh<size.value>(out.sums + i * width, width, v, weights + i * BLOCK + before, count, values.of[p]);
                });
            }
        }
    }

  private:
    template <typename Each>
    static void each_group(int64_t queries, Each each) {
        int64_t i = 0;
        for (; i + 8 <= queries; i += 8) each(std::integral_constant<int, 8>{}, i);
        for (; i + 4 <= queries; i += 4) each(std::integral_constant<int, 4>{}, i);
        for (; i + 2 <= queries; i += 2) each(std::integral_constant<int, 2>{}, i);
        for (; i < queries; ++i) each(std::integral_constant<int, 1>{}, i);
    }

    void find(const Task &task, int64_t at, int64_t count, const T **k, const T **v, float (*scales)[BLOCK]) const {
        const int32_t *table = places.tables + task.sequence * places.table_pages;
        for (int64_t s = 0; s < count; ++s) {
            const int64_t place = at + s - places.first[task.sequence];
            const int64_t slot = table[place / places.page_tokens] * places.page_tokens + place % places.page_tokens;
            k[s] = (const T *)pool.k + slot * pool.slot + task.kv_head * pool.head;
            v[s] = (const T *)pool.v + slot * pool.slot + task.kv_head * pool.head;
            if (!pool.scales) {
                scales[0][s] = 1.0f;
                continue;
            }
            for (int64_t p = 0; p < pool.parts; ++p) {
                _Float16 scale;
                std::memcpy(&scale, pool.scales + (slot * pool.kv_heads + task.kv_head) * pool.parts + p, sizeof scale);
                scales[p][s] = (float)scale;
            }
        }
    }

    void hide(int64_t row, int64_t at, float *scores) const {
        const int64_t low = std::clamp<int64_t>(places.lows[row] - at, 0, BLOCK);
        const int64_t high = std::clamp<int64_t>(places.highs[row] - at, 0, BLOCK);
        std::fill(scores, scores + low, -INFINITY);
        std::fill(scores + high, scores + BLOCK, -INFINITY);
    }

    const Places &places;
    const Pool &pool;
    const X *q;
    const int64_t share;
    const Parts keys, values;
};

// The tasks of all sequences, and how many queries they keep partial results for. The few rows of a reply stay together, and their
// positions are split; the many of a prompt come some at a time, each with all of its positions.
static std::vector<Task> tasks_of(const Places &places, const Pool &pool, int64_t *num_partials) {
    std::vector<Task> tasks;
    int64_t partial = 0;
    for (int64_t b = 0; b < places.sequences; ++b) {
        const int32_t start = places.starts[b], end = places.starts[b + 1];
        const bool few = end - start <= places.most_rows;
        const int64_t together = few ? places.most_rows : ROWS, split = few ? SPLIT : INT32_MAX;
        for (int64_t first = start; first < end; first += together) {
            const int64_t last = std::min<int64_t>(first + together, end);
            const int64_t low = *std::min_element(places.lows + first, places.lows + last);
            const int64_t high = *std::max_element(places.highs + first, places.highs + last);
            for (int64_t h = 0; h < pool.kv_heads; ++h)
                for (int64_t from = low; from < high; from = (from / split + 1) * split) {
                    tasks.push_back({b, first, last, h, from, std::min(high, (from / split + 1) * split), partial});
                    partial += (last - first) * (pool.heads / pool.kv_heads);
                }
        }
    }
    *num_partials = partial;
    return tasks;
}

// Puts the positions of the same rows and key head together: tasks[0] to tasks[count - 1].
template <typename X>
static void merge(const Pool &pool, const Task *tasks, int64_t count, const Partial &all, X *y) {
    const int64_t share = pool.heads / pool.kv_heads, width = pool.width, start = tasks->start;
    const int64_t queries = (tasks->end - start) * share;
    std::vector<float> sums(width);
    for (int64_t i = 0; i < queries; ++i) {
        float most = -INFINITY, total = 0.0f;
        for (int64_t t = 0; t < count; ++t) most = std::fmax(most, all.most[tasks[t].partial + i]);
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t t = 0; t < count; ++t) {
            const int64_t place = tasks[t].partial + i;
            const float weight = std::exp(all.most[place] - most);
            total += weight * all.total[place];
            for (int64_t d = 0; d < width; ++d) sums[d] += weight * all.sums[place * width + d];
        }
        X *to = y + ((start + i / share) * pool.heads + tasks->kv_head * share + i % share) * width;
        for (int64_t d = 0; d < width; ++d) put(to + d, sums[d] / total);
    }
}

template <typename X, typename T>
static void attend(const Places &places, const Pool &pool, const void *q, void *y, int threads) {
    int64_t queries = 0;
    const std::vector<Task> tasks = tasks_of(places, pool, &queries);
    const int64_t count = tasks.size();
    std::vector<float> kept(queries * 2);
    const std::unique_ptr<float[]> sums(new float[queries * pool.width]);
    const Partial all = {kept.data(), kept.data() + queries, sums.get()};
    const Reader<X, T> reader(places, pool, (const X *)q);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < count; ++t) {
            const int64_t at = tasks[t].partial;
            reader.run(tasks[t], {all.most + at, all.total + at, all.sums + at * pool.width});
        }
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < count; ++t) {
            if (t && tasks[t].goes_with(tasks[t - 1])) continue;
            int64_t end = t + 1;
            while (end < count && tasks[end].goes_with(tasks[t])) ++end;
            merge(pool, &tasks[t], end - t, all, (X *)y);
        }
    }
}

// q, y: (rows, heads, width) in bfloat16, or float32 where wide.
// width is a multiple of 16, and so are the ends of parts where there are scales.
extern "C" void attend_pages(const Places *places, const Pool *pool, const void *q, void *y, int wide, int threads) {
    if (pool->scales)
        wide ? attend<float, int8_t>(*places, *pool, q, y, threads) : attend<uint16_t, int8_t>(*places, *pool, q, y, threads);
    else
        wide ? attend<float, float>(*places, *pool, q, y, threads) : attend<uint16_t, uint16_t>(*places, *pool, q, y, threads);
}
