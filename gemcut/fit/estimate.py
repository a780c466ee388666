"""Whether a size fits in a place, with how much context, and how fast it will be.

Memory: weights, what a process and a step need besides, and keys and values as the engine cuts them
(`engine.memory`).  Speed: bytes over the rate at which they are read, operations over the rate at which they
are made, and the small operations of each layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gemcut.config import AttentionKind, TextConfig
from gemcut.engine.main_memory import MainMemory
from gemcut.engine.memory import kind_memory, plan_memory, request_bytes
from gemcut.engine.pages import PAGE_TOKENS
from gemcut.engine.scheduler import CPU_LIMITS, GPU_LIMITS, Limits
from gemcut.errors import BadOption
from gemcut.family import BYTES_OF_BFLOAT16, Family
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PerForm, Precision, Weights, size_weights

PlaceKind = Literal["cpu", "gpu"]
Verdict = Literal["fits", "fits once memory is freed", "does not fit"]

LEAST_CONTEXT = 4096  # less would be of little use
PROMPT_TOKENS = 512  # for which speeds are told
STEP_TOKENS: Mapping[PlaceKind, int] = {"cpu": CPU_LIMITS.step_tokens, "gpu": GPU_LIMITS.step_tokens}
# A process with torch, the tokenizer and the native code; on a GPU, what CUDA and its libraries take.
PROCESS_BYTES: Mapping[PlaceKind, int] = {"cpu": 600_000_000, "gpu": 600_000_000}
# Of what the weights leave, the engine gives keys and values so many percent on a GPU (`engine.options`).  On
# a CPU it gives them half of what is free before, which is more than is left wherever that is scarce.
CACHE_PERCENT: Mapping[PlaceKind, int] = {"cpu": 100, "gpu": 85}
BEST_PERCENT = 90  # of all memory, once other programs are closed: the system stays
FLOP_OF_A_VALUE = 2  # multiplied and added


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a model may run.  rates: None where nothing is known of its speed."""

    kind: PlaceKind
    memory: MainMemory
    rates: Rates | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is to be expected of one size in one precision.

    resident_bytes: all but keys and values.  context: the most tokens that fit beside, up to the model's own;
    0 where none do.  memory_bytes: in all, with the context asked for or that one; with the least that is of
    use where that does not fit.  Speeds are in tokens a second, None where nothing is known.
    reached: whether gemcut itself is so fast there, and not only the device.
    """

    family: Family
    precision: Precision
    weights: Weights
    resident_bytes: int
    verdict: Verdict
    context: int
    memory_bytes: int
    decode_per_s: float | None
    prefill_per_s: float | None
    reached: bool


@dataclass(frozen=True, kw_only=True)
class _Needs:
    """Bytes that a model needs in a place beside keys and values.

    held: weights and the process.  working: rows of a step.
    """

    held: int
    working: int
    percent: int  # of what is not held, for keys and values at most

    def left(self, memory_bytes: int) -> int:
        """Bytes for keys and values in so much memory; below 0 where not even the rest fits."""
        free = memory_bytes - self.held
        return min(free - self.working, free * self.percent // 100)

    def memory(self, cache_bytes: int) -> int:
        """The least memory in which so much is left for keys and values."""
        return self.held + max(self.working + cache_bytes, -(-cache_bytes * 100 // self.percent))


def estimate(row: Family, precision: Precision, place: Place, context: int | None) -> Estimate:
    """What is to be expected in that place.

    context: tokens that must fit; None asks for 4,096, and as many more as there is memory for.
    """
    text, weights = row.size.text, size_weights(row.size, precision)
    needs, step_tokens = _needs(text, weights, place.kind), STEP_TOKENS[place.kind]
    free = place.memory.free_bytes
    freed = max(free, place.memory.total_bytes * BEST_PERCENT // 100)
    least = min(LEAST_CONTEXT, row.size.context) if context is None else context
    now = most_tokens(text, needs.left(free), step_tokens)
    at_best = most_tokens(text, needs.left(freed), step_tokens)
    verdict: Verdict = (
        "fits" if now >= least else "fits once memory is freed" if at_best >= least else "does not fit"
    )
    shown = context if context is not None else now if verdict == "fits" else least
    cache = request_bytes(text, shown, BYTES_OF_BFLOAT16, PAGE_TOKENS, step_tokens)
    after, rates = PROMPT_TOKENS if context is None else context, place.rates
    return Estimate(
        family=row,
        precision=precision,
        weights=weights,
        resident_bytes=needs.held + needs.working,
        verdict=verdict,
        context=now,
        memory_bytes=needs.memory(cache),
        decode_per_s=None if rates is None else 1 / decode_s(text, weights, after, 1, rates),
        prefill_per_s=None
        if rates is None
        else PROMPT_TOKENS / prefill_s(text, weights, PROMPT_TOKENS, rates),
        reached=rates is None or precision not in rates.unreached,
    )


def most_tokens(text: TextConfig, cache_bytes: int, step_tokens: int) -> int:
    """Tokens of the longest request that so much memory for keys and values holds; 0 for none."""
    limits = Limits(step_tokens=step_tokens, max_running=1)
    try:
        return plan_memory(text, cache_bytes, BYTES_OF_BFLOAT16, PAGE_TOKENS, limits).context
    except BadOption:
        return 0


def working_bytes(text: TextConfig, kind: PlaceKind) -> int:
    """Bytes of the widest rows that a step holds: a feed-forward's, per-layer inputs."""
    per_layer = text.num_hidden_layers * text.hidden_size_per_layer_input
    row = BYTES_OF_BFLOAT16 * (6 * text.hidden_size + 4 * text.intermediate_size + 6 * per_layer)
    return STEP_TOKENS[kind] * row


def _needs(text: TextConfig, weights: Weights, kind: PlaceKind) -> _Needs:
    held = PROCESS_BYTES[kind] + weights.text_bytes
    if kind == "gpu":  # where nothing is mapped from files
        held += weights.table_bytes + weights.media_bytes
    return _Needs(held=held, working=working_bytes(text, kind), percent=CACHE_PERCENT[kind])


def decode_s(text: TextConfig, weights: Weights, context: int, batch: int, rates: Rates) -> float:
    """Seconds of a step that makes a token for each of `batch` replies, so many tokens into each.

    Each weight is read once, and what each reply sees of keys and values; where replies are many, multiplying
    takes longer than reading.
    """
    seen = batch * sum(_seen_bytes(text, kind, context) for kind in sorted(set(text.layer_types)))
    read, products = _reading_s(weights.step_bytes(batch), rates), _products_s(weights.token_values, rates)
    return max(read, batch * products) + seen / rates.read["bf16"] + text.num_hidden_layers * rates.layer_s


def prefill_s(text: TextConfig, weights: Weights, tokens: int, rates: Rates) -> float:
    """Seconds of prompts of so many tokens in all, the first token of the reply included."""
    products = tokens * _products_s(weights.prompt_values, rates)
    read = sum(weights.prompt_bytes.values()) / max(rates.read.values())  # bounds a mixture's few rows
    others = tokens * _prompt_width(text) * rates.row_s + text.num_hidden_layers * rates.layer_s
    return max(products, read) + _reading_s(weights.last_bytes, rates) + others


def _prompt_width(text: TextConfig) -> int:
    """Values of a prompt's row in all layers that it runs through: as wide as the model, and as its heads."""
    widths = {"sliding_attention": text.head_dim, "full_attention": text.global_head_dim}
    own = text.layer_types[: text.first_shared_layer]
    return sum(text.hidden_size + text.num_attention_heads * widths[kind] for kind in own)


def _reading_s(num_bytes: Mapping[Precision, float], rates: Rates) -> float:
    return sum(count / rates.read[form] for form, count in num_bytes.items())


def _products_s(values: PerForm, rates: Rates) -> float:
    """Seconds of multiplying one row with so many numbers, among the many rows of a prompt or a batch."""
    return sum(FLOP_OF_A_VALUE * count / rates.multiply[form] for form, count in values.items())


def _seen_bytes(text: TextConfig, kind: AttentionKind, context: int) -> int:
    """Keys and values that one token reads in the layers of a kind, those that share others' too."""
    seen = min(context, text.sliding_window) if kind == "sliding_attention" else context
    layer_bytes = kind_memory(text, kind, BYTES_OF_BFLOAT16, compact=True).layer_bytes
    return text.layer_types.count(kind) * layer_bytes * seen
