"""How much memory keys and values take, and how many tokens fit.

Full-attention layers keep every token, sliding layers a window of each sequence, layers that reuse another's
K and V nothing.  Where V is the normalised projection n and K its rotation (12B, 26B, 31B), a compact row
holds n, and of K only the rotated quarter: 640 values a head instead of 1,024.  In int8 each part of a row
has a scale beside it.
"""

from dataclasses import dataclass

from gemcut.config import AttentionKind, TextConfig
from gemcut.engine.pages import PageLayout
from gemcut.engine.scheduler import Limits
from gemcut.errors import BadOption

GB = 10**9
INT8_BYTES = 1
SCALE_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class KindMemory:
    """What a token takes in the layers of one kind.

    layers: those that own K and V.  layer_bytes: of a token in one of them.
    """

    layers: int
    layer_bytes: int

    @property
    def token_bytes(self) -> int:
        """Bytes of a token in all of them."""
        return self.layers * self.layer_bytes


def kind_memory(text: TextConfig, kind: AttentionKind, value_bytes: int, compact: bool) -> KindMemory:
    """What a token takes in one kind of layer.

    value_bytes: of one number, 2 in bfloat16, 1 in int8.  compact: keep K = V rows in their compact form.
    """
    sliding = kind == "sliding_attention"
    heads = text.num_key_value_heads if sliding else text.num_global_key_value_heads
    width = text.head_dim if sliding else text.global_head_dim
    values, parts = 2 * width, 2
    if compact and text.attention_k_eq_v and not sliding:
        values, parts = width + round(text.global_rope.rotated * width), 3
    scale_bytes = parts * SCALE_BYTES if value_bytes == INT8_BYTES else 0
    layers = text.layer_types[: text.first_shared_layer].count(kind)
    return KindMemory(layers=layers, layer_bytes=heads * (values * value_bytes + scale_bytes))


def sequence_bytes(text: TextConfig, tokens: int, value_bytes: int) -> tuple[int, int]:
    """Bytes of the keys and values of one sequence of so many tokens: full-attention layers, sliding layers.

    value_bytes: see `kind_memory`.
    """
    full = kind_memory(text, "full_attention", value_bytes, compact=True)
    sliding = kind_memory(text, "sliding_attention", value_bytes, compact=True)
    return tokens * full.token_bytes, min(tokens, text.sliding_window) * sliding.token_bytes


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Memory for keys and values, cut into the pages of both kinds of layers.

    value_bytes: of one number, 1 in int8.
    """

    text: TextConfig
    value_bytes: int
    full: KindMemory
    sliding: KindMemory
    layout: PageLayout
    context: int  # tokens of the longest request

    @property
    def cache_bytes(self) -> int:
        """Bytes of both pools."""
        tokens = self.layout.page_tokens
        full = self.layout.full_pages * self.full.token_bytes
        return tokens * (full + self.layout.sliding_pages * self.sliding.token_bytes)

    @property
    def int8(self) -> bool:
        """Whether rows are kept in int8."""
        return self.value_bytes == INT8_BYTES

    @property
    def num_windows(self) -> int:
        """How many windows of sliding layers fit: of sequences that run, and kept for those to come."""
        return (self.layout.sliding_pages - 1) // (self.layout.window_pages + 1)

    def lines(self) -> list[str]:
        """What a user is told at the start."""
        full, sliding, layout = self.full, self.sliding, self.layout
        usual = kind_memory(self.text, "full_attention", self.value_bytes, compact=False).layer_bytes
        own = full.layer_bytes
        whole, window = sequence_bytes(self.text, self.context, self.value_bytes)
        lines = [
            f"memory for keys and values: {_gb(self.cache_bytes)} in pages of {layout.page_tokens} tokens",
            f"  {full.layers} full-attention layers × {_kib(full.layer_bytes)} a token: "
            f"{layout.most_tokens:,} tokens",
            f"  {sliding.layers} sliding layers × {_kib(sliding.layer_bytes)} a token of the last "
            f"{layout.window:,}: {self.num_windows:,} windows",
            f"  one request of {self.context:,} tokens takes {_gb(whole)} + {_gb(window)}",
        ]
        if own < usual:
            lines[-1] += f"; with K and V apart {_gb(whole * usual // own)} + {_gb(window)}"
        return lines


def request_bytes(text: TextConfig, tokens: int, value_bytes: int, page_tokens: int, step_tokens: int) -> int:
    """The least `cache_bytes` out of which `plan_memory` cuts room for one request of so many tokens."""
    full = kind_memory(text, "full_attention", value_bytes, compact=True)
    sliding = kind_memory(text, "sliding_attention", value_bytes, compact=True)
    full_pages = 1 + max(1, -(-tokens // page_tokens))  # the first is for scratch
    sliding_pages = _least_sliding_pages(text, page_tokens, step_tokens)
    return page_tokens * (full_pages * full.token_bytes + sliding_pages * sliding.token_bytes)


def plan_memory(
    text: TextConfig, cache_bytes: int, value_bytes: int, page_tokens: int, limits: Limits
) -> MemoryPlan:
    """Cuts `cache_bytes` into pages.

    First one request of the model's whole context gets room, as far as it goes.  Of what is left, up to half
    goes to windows, for all that may run and as many kept ones; the rest to full-attention layers.
    Raises BadOption where not even a short request fits.
    """
    full = kind_memory(text, "full_attention", value_bytes, compact=True)
    sliding = kind_memory(text, "sliding_attention", value_bytes, compact=True)
    least = _least_sliding_pages(text, page_tokens, limits.step_tokens)
    full_page, sliding_page = page_tokens * full.token_bytes, page_tokens * sliding.token_bytes
    shortest = request_bytes(text, 1, value_bytes, page_tokens, limits.step_tokens)
    if cache_bytes < shortest:
        raise BadOption(
            f"cache_bytes is {cache_bytes:,} and the shortest request needs {shortest:,}; raise it, or lower "
            f"step_tokens ({limits.step_tokens})"
        )
    left = cache_bytes - least * sliding_page
    full_pages = min(left // full_page, 1 + -(-text.max_position_embeddings // page_tokens))
    left -= full_pages * full_page
    more = min(left // 2 // sliding_page, (2 * limits.max_running - 1) * _window_pages(text, page_tokens))
    full_pages += (left - more * sliding_page) // full_page
    layout = PageLayout(
        page_tokens=page_tokens,
        window=text.sliding_window,
        full_pages=full_pages,
        sliding_pages=least + more,
    )
    context = min(text.max_position_embeddings, layout.most_tokens)
    return MemoryPlan(
        text=text, value_bytes=value_bytes, full=full, sliding=sliding, layout=layout, context=context
    )


def _window_pages(text: TextConfig, page_tokens: int) -> int:
    """Sliding pages of a sequence of any length."""
    return -(-(text.sliding_window - 1) // page_tokens) + 1


def _least_sliding_pages(text: TextConfig, page_tokens: int, step_tokens: int) -> int:
    """Scratch, one window, the rows of a step."""
    return 1 + _window_pages(text, page_tokens) + -(-step_tokens // page_tokens)


def _gb(count: int) -> str:
    """Bytes for a person: `13.4 GB`, `840 MB`."""
    return f"{count / GB:.3g} GB" if count >= GB else f"{count / 10**6:.3g} MB"


def _kib(count: int) -> str:
    return f"{count / 1024:g} KiB"
