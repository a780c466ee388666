"""What of the engine a user may set, and what stands where nothing is set."""

from dataclasses import dataclass
from typing import Literal

import torch

from gemcut.config import TextConfig
from gemcut.engine.main_memory import main_memory
from gemcut.engine.memory import INT8_BYTES, MemoryPlan, kind_memory, plan_memory
from gemcut.engine.pages import PAGE_TOKENS
from gemcut.engine.scheduler import CPU_LIMITS, GPU_LIMITS, Limits
from gemcut.engine.speculative import MOST_DRAFTS, Speculate, Speculation
from gemcut.errors import BadOption

FREE_SHARE = 0.5  # of the memory that is free once the weights are there; on a GPU, see below
GPU_FREE_SHARE = 0.85  # the rest is for activations


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How many requests run together, in how much memory.

    cache_bytes: for keys and values; None takes half of the free memory (85 % on a GPU), or what max_running
    requests of the whole context take, where that is less.
    page_tokens: what beginnings that requests share are cut to.
    step_tokens: read or made in one step of the model, by all requests together; None is 512 (GPU: 2,048).
    max_running: requests that hold memory at once, the others wait; None is 16 (GPU: 256).
    batch_invariant: give each request the same numbers to the last bit, whatever runs beside it and however
    its prompt is cut up, so that a seed gives the same tokens; slower.
    speculate, max_drafts: see `Speculation`.
    kv_dtype: "int8" keeps keys and values in half the memory, not quite exactly; None in the model's dtype.

    Raises BadOption for values that no engine can have.
    """

    cache_bytes: int | None = None
    page_tokens: int = PAGE_TOKENS
    step_tokens: int | None = None
    max_running: int | None = None
    batch_invariant: bool = False
    speculate: Speculate = "auto"
    max_drafts: int = MOST_DRAFTS
    kv_dtype: Literal["int8"] | None = None

    def __post_init__(self) -> None:
        given = {"cache_bytes": self.cache_bytes, "page_tokens": self.page_tokens}
        for name, value in given.items():
            if value is not None and value < 1:
                raise BadOption(f"{name} is {value}; it must be at least 1")
        _ = self.speculation
        if self.kv_dtype not in (None, "int8"):
            raise BadOption(f'kv_dtype is {self.kv_dtype!r}; it may be "int8", or None')

    @property
    def speculation(self) -> Speculation:
        """What may be guessed.  Raises BadOption."""
        return Speculation(speculate=self.speculate, max_drafts=self.max_drafts)

    def limits(self, device: torch.device) -> Limits:
        """How much runs at once.  Raises BadOption."""
        usual = CPU_LIMITS if device.type == "cpu" else GPU_LIMITS
        step_tokens = usual.step_tokens if self.step_tokens is None else self.step_tokens
        max_running = min(usual.max_running, step_tokens) if self.max_running is None else self.max_running
        return Limits(step_tokens=step_tokens, max_running=max_running)

    def memory(self, text: TextConfig, device: torch.device, dtype: torch.dtype) -> MemoryPlan:
        """How the memory for keys and values is cut up.  Raises BadOption where there is too little."""
        limits = self.limits(device)
        value_bytes = dtype.itemsize if self.kv_dtype is None else INT8_BYTES
        cache_bytes = self.cache_bytes
        if cache_bytes is None:
            cache_bytes = min(free_bytes(device), _most_bytes(text, limits, value_bytes, self.page_tokens))
        return plan_memory(text, cache_bytes, value_bytes, self.page_tokens, limits)


def free_bytes(device: torch.device) -> int:
    """Bytes that keys and values may take of what is free now."""
    if device.type == "cuda":
        return int(GPU_FREE_SHARE * torch.cuda.mem_get_info(device)[0])
    return int(FREE_SHARE * main_memory().free_bytes)


def _most_bytes(text: TextConfig, limits: Limits, value_bytes: int, page_tokens: int) -> int:
    """What max_running requests of the whole context take, with as many windows to be found again."""
    full = kind_memory(text, "full_attention", value_bytes, compact=True).token_bytes
    sliding = kind_memory(text, "sliding_attention", value_bytes, compact=True).token_bytes
    context = (limits.max_running * text.max_position_embeddings + 2 * page_tokens) * full
    windows = 2 * (limits.max_running + 1) * (text.sliding_window + 2 * page_tokens)
    return context + (windows + limits.step_tokens + 2 * page_tokens) * sliding
