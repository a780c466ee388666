"""A prompt as long as E2B's context through pages: how fast, and in how much memory.

    python -m bench.long_context [--tokens 131072] [--dtype float32] [--window 512]

The model is tiny but for its context and its window, so keys and values are nearly all that it holds.  Peak
memory is the process's; what it was before the first step is taken off.
"""

import argparse
import resource
import time
from dataclasses import replace

import torch

from gemcut.config import MediaTokens, ModelConfig
from gemcut.engine.memory import plan_memory
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.family import family
from gemcut.model.gemma4 import Gemma4

NEW_TOKENS = 8
LIMITS = Limits(step_tokens=512, max_running=1)


def tiny(tokens: int, window: int, dtype: torch.dtype) -> Gemma4:
    """A model with E2B's layer pattern once, one head of 32, and random weights."""
    real = family("e2b").size.text
    text = replace(
        real,
        vocab_size=512,
        vocab_size_per_layer_input=512,
        hidden_size=64,
        intermediate_size=128,
        hidden_size_per_layer_input=16,
        layer_types=real.layer_types[:5] * 2,
        num_kv_shared_layers=5,
        num_attention_heads=1,
        head_dim=32,
        global_head_dim=32,
        sliding_window=window,
        max_position_embeddings=tokens + NEW_TOKENS,
    )
    media = MediaTokens(
        image=10, begin_image=11, end_image=12, audio=13, begin_audio=14, end_audio=15, video=16
    )
    config = ModelConfig(
        text=text, vision=None, audio=None, media_tokens=media, soft_tokens_per_image=280, dtype="float32"
    )
    model = Gemma4(config).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * tensor.shape[-1] ** -0.5)
    return model.to(dtype)


def peak_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Read the prompt, make a few tokens, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    model = tiny(args.tokens, args.window, dtype)
    text = model.config.text
    whole = plan_memory(text, 10**9, dtype.itemsize, 16, LIMITS)
    needed = sum(whole.sequence_bytes(args.tokens + NEW_TOKENS)) + (512 + 600) * whole.sliding.token_bytes
    plan = plan_memory(text, needed, dtype.itemsize, 16, LIMITS)
    scheduler, runner = Scheduler(plan.layout, LIMITS), Runner(model, plan.layout, plan.int8)
    ids = torch.randint(20, 500, (args.tokens,), generator=torch.Generator().manual_seed(0)).tolist()
    scheduler.add(Request(id=0, prompt_ids=tuple(ids), max_tokens=NEW_TOKENS))
    before, start = peak_bytes(), time.perf_counter()
    first = None
    made = 0
    while made < NEW_TOKENS:
        (rows,) = scheduler.next_step({})
        (hidden,) = runner.run([rows], {})
        if rows.chooses:
            made += 1
            first = time.perf_counter() if first is None else first
            token = int(runner.logits(hidden)[-1].argmax())
        scheduler.commit({rows.progress.key: (token,)} if rows.chooses else {}, ())
    end = time.perf_counter()
    assert first is not None
    print(
        f"{args.tokens} tokens, {args.dtype}: prompt {args.tokens / (first - start):.0f} tok/s, then "
        f"{1000 * (end - first) / (NEW_TOKENS - 1):.1f} ms a token"
    )
    assert runner.cache.cache_bytes == plan.cache_bytes
    more = (peak_bytes() - before) / 1e6
    print(
        f"keys and values {plan.cache_bytes / 1e6:.1f} MB, as planned; peak {more:.1f} MB above the beginning"
    )


if __name__ == "__main__":
    main()
