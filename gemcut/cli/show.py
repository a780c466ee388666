"""`gemcut show`: one model's structure, memory and defaults."""

import json
from collections.abc import Mapping
from typing import Any

from gemcut.cli.figures import count, size, tokens
from gemcut.cli.list_models import row_json
from gemcut.cli.model_facts import ModelFacts, read_facts
from gemcut.cli.options import AsJson, Source
from gemcut.config import TextConfig
from gemcut.engine.memory import kind_memory, sequence_bytes
from gemcut.family import BYTES_OF_BFLOAT16
from gemcut.media.audio import MOST_SECONDS
from gemcut.media.image import BUDGETS
from gemcut.media.video import TOKENS_OF_A_FRAME, USUAL_FRAMES

CACHE_LENGTHS = (1024, 8192, 32_768, 131_072)  # besides the whole context


def show(model: Source, as_json: AsJson = False) -> None:
    """Show what a model is made of and needs."""
    facts = read_facts(model)
    if as_json:
        print(json.dumps(facts_json(facts), indent=2))
        return
    for name, value in facts_text(facts).items():
        print(f"{name:<12} {value}")


def facts_json(facts: ModelFacts) -> dict[str, Any]:
    """Everything there is to tell, as a JSON object."""
    text, generation = facts.text, facts.generation
    return row_json(facts) | {
        "layer_types": list(text.layer_types),
        "layers_that_share_kv": text.num_kv_shared_layers,
        "sliding_window_tokens": text.sliding_window,
        "hidden_size": text.hidden_size,
        "query_heads": text.num_attention_heads,
        "kv_heads": {"sliding": text.num_key_value_heads, "full": text.num_global_key_value_heads},
        "head_width": {"sliding": text.head_dim, "full": text.global_head_dim},
        "vocabulary": text.vocab_size,
        "cache_bytes": {str(length): _kv_bytes(text, length) for length in cache_lengths(text)},
        "generation": None
        if generation is None
        else {
            "do_sample": generation.do_sample,
            "temperature": generation.temperature,
            "top_k": generation.top_k,
            "top_p": generation.top_p,
            "stop_ids": list(generation.stop_ids),
        },
    }


def facts_text(facts: ModelFacts) -> Mapping[str, str]:
    """Everything there is to tell, as lines with a name each."""
    text, hub_id = facts.text, facts.hub_id
    where = f"no; `gemcut pull {facts.name}` downloads {size(facts.disk_bytes)}"
    lines = {"model": facts.title if hub_id is None else f"{facts.title} ({hub_id})"}
    lines["takes"] = ", ".join(facts.takes)
    lines |= _media(facts)
    lines["on disk"] = where if facts.folder is None else f"{facts.folder} ({size(facts.disk_bytes)})"
    lines["weights"] = f"{count(facts.parameters)}, of which a token computes with {count(facts.active)}"
    lines["context"] = f"{tokens(text.max_position_embeddings)} tokens"
    lines["layers"] = _layers(text)
    lines["heads"] = _heads(text)
    lines["width"] = f"{text.hidden_size}, feed-forward {_feed_forward(text)}"
    lines["vocabulary"] = f"{text.vocab_size:,} tokens"
    lines["memory"] = f"{size(facts.load_bytes)} for the text model's weights in bfloat16"
    for length in cache_lengths(text):
        lines[f"+ {tokens(length)}"] = (
            f"{size(_kv_bytes(text, length))} for the keys and values of {length:,} tokens"
        )
    per_token = kind_memory(text, "full_attention", BYTES_OF_BFLOAT16, compact=True).token_bytes
    lines["per token"] = f"{size(per_token)} of keys and values, once the windows are full"
    lines["sampling"] = _sampling(facts)
    return lines


def cache_lengths(text: TextConfig) -> tuple[int, ...]:
    """Lengths in tokens that are worth telling the cache's memory for, up to the context."""
    context = text.max_position_embeddings
    return (*(length for length in CACHE_LENGTHS if length < context), context)


def _kv_bytes(text: TextConfig, tokens: int) -> int:
    return sum(sequence_bytes(text, tokens, BYTES_OF_BFLOAT16))


def _media(facts: ModelFacts) -> dict[str, str]:
    """What each kind of media costs in tokens."""
    second = facts.sound_tokens_per_s
    other = ", ".join(str(budget) for budget in BUDGETS if budget != facts.image_tokens)
    costs = {
        "image": f"up to {facts.image_tokens} tokens; {other} with --image-tokens",
        "audio": f"{second} tokens a second, up to {MOST_SECONDS} s",
        "video": f"up to {TOKENS_OF_A_FRAME} tokens a frame and its time; {USUAL_FRAMES} frames by default",
    }
    return {f"+ {kind}": cost for kind, cost in costs.items() if kind in facts.takes}


def _layers(text: TextConfig) -> str:
    full = text.layer_types.count("full_attention")
    sliding = text.num_hidden_layers - full
    shared = (
        f"; the last {text.num_kv_shared_layers} reuse earlier keys and values"
        if text.num_kv_shared_layers
        else ""
    )
    return f"{text.num_hidden_layers}: {sliding} see {text.sliding_window} tokens, {full} see all{shared}"


def _heads(text: TextConfig) -> str:
    kinds = (
        ("sliding", text.num_key_value_heads, text.head_dim),
        ("full", text.num_global_key_value_heads, text.global_head_dim),
    )
    keys = ", ".join(f"{name}: {heads} for keys and values, {width} wide" for name, heads, width in kinds)
    return f"{text.num_attention_heads} for queries; {keys}"


def _feed_forward(text: TextConfig) -> str:
    wide = f", {2 * text.intermediate_size} in layers that share" if text.use_double_wide_mlp else ""
    experts = text.experts
    if experts is None:
        return f"{text.intermediate_size}{wide}"
    chosen = f"{experts.top_k_experts} of {experts.num_experts} experts of {experts.moe_intermediate_size}"
    return f"{text.intermediate_size}{wide} beside {chosen}"


def _sampling(facts: ModelFacts) -> str:
    generation = facts.generation
    if generation is None:
        return "as generation_config.json says, once it is here"
    if not generation.do_sample:
        return "the likeliest token"
    return f"temperature {generation.temperature:g}, top-k {generation.top_k}, top-p {generation.top_p:g}"
