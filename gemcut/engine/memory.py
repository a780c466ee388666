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

    def sequence_bytes(self, tokens: int) -> tuple[int, int]:
        """Bytes of one sequence of so many tokens: in full-attention layers, in sliding layers."""
        return tokens * self.full.token_bytes, min(tokens, self.layout.window) * self.sliding.token_bytes

    def lines(self) -> list[str]:
        """What a user is told at the start."""
        full, sliding, layout = self.full, self.sliding, self.layout
        usual = kind_memory(self.text, "full_attention", self.value_bytes, compact=False).layer_bytes
        own = full.layer_bytes
        whole, window = self.sequence_bytes(self.context)
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
    window_pages = -(-(text.sliding_window - 1) // page_tokens) + 1
    least = 1 + window_pages + -(-limits.step_tokens // page_tokens)  # scratch, one window, a step's rows
    full_page, sliding_page = page_tokens * full.token_bytes, page_tokens * sliding.token_bytes
    left = cache_bytes - least * sliding_page
    if left < 2 * full_page:
        raise BadOption(
            f"cache_bytes is {cache_bytes:,} and the shortest request needs "
            f"{least * sliding_page + 2 * full_page:,}; raise it, or lower step_tokens ({limits.step_tokens})"
        )
    full_pages = min(left // full_page, 1 + -(-text.max_position_embeddings // page_tokens))
    left -= full_pages * full_page
    more = min(left // 2 // sliding_page, (2 * limits.max_running - 1) * window_pages)
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


def _gb(count: int) -> str:
    """Bytes for a person: `13.4 GB`, `840 MB`."""
    return f"{count / GB:.3g} GB" if count >= GB else f"{count / 10**6:.3g} MB"


def _kib(count: int) -> str:
    return f"{count / 1024:g} KiB"
