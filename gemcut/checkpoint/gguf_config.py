"""A GGUF file's metadata as configs, and configs as the metadata that llama.cpp's converter writes.

Source: llama.cpp, conversion/gemma.py and src/models/gemma4.cpp, as in llama-cpp-python 0.3.36.
"""

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import numpy as np

from gemcut.checkpoint.block_names import DECODER, EMBEDDING, PER_LAYER_TABLE
from gemcut.checkpoint.config_file import MEDIA_TOKENS, SOFT_TOKENS_PER_IMAGE
from gemcut.checkpoint.gguf_header import GgufHeader
from gemcut.checkpoint.gguf_vocab import GgufVocab
from gemcut.checkpoint.gguf_weights import GgufWeights
from gemcut.checkpoint.text_section import FULL, SLIDING
from gemcut.config import ExpertsConfig, GenerationConfig, ModelConfig, Rope, TextConfig
from gemcut.errors import BadConfig, BadOption

ARCHITECTURE = "gemma4"
ENDS = (
    "<eos>",
    "<turn|>",
    "<|tool_response>",
)  # what llama.cpp stops at, and the hub's generation_config.json
SAMPLING = "general.sampling."

Value = TypeVar("Value", bool, int, float)


class Metadata:
    """The values under "gemma4."; every method raises BadConfig where the key's value cannot be used."""

    def __init__(self, header: GgufHeader) -> None:
        self.file = header.file
        self.pairs = header.pairs

    def fail(self, key: str, what: str) -> NoReturn:
        """Raise BadConfig that names the file and the key."""
        raise BadConfig(f"{self.file}: {ARCHITECTURE}.{key} {what}; give a whole GGUF file of Gemma 4")

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return f"{ARCHITECTURE}.{key}" in self.pairs

    def number(self, key: str, kind: type[Value]) -> Value:
        """The number under a key."""
        return self._checked(key, self.pairs.get(f"{ARCHITECTURE}.{key}"), kind)

    def each(self, key: str, kind: type[Value], count: int) -> tuple[Value, ...]:
        """The number of each layer: an array, or one number for all."""
        found = self.pairs.get(f"{ARCHITECTURE}.{key}")
        if not isinstance(found, tuple):
            return (self._checked(key, found, kind),) * count
        if len(found) != count:
            self.fail(key, f"has {len(found)} values for {count} layers")
        return tuple(self._checked(key, item, kind) for item in found)

    def _checked(self, key: str, value: Any, kind: type[Value]) -> Value:
        if type(value) is not kind or (kind is not bool and not 0 <= value < float("inf")):
            self.fail(key, f"is {value!r} and must be {'true or false' if kind is bool else 'a number'}")
        found: Value = kind(shortest(value) if kind is float else value)
        return found


def shortest(value: float) -> float:
    """The number with the fewest digits that is this one in float32: 1e-6 for 9.99999997e-7."""
    return float(str(np.float32(value)))


def gguf_config(header: GgufHeader, vocab: GgufVocab, weights: GgufWeights) -> ModelConfig:
    """The numbers of the text model in a GGUF file.

    Raises BadConfig for another architecture, a part of a split file, or numbers that are missing.
    """
    found = header.pairs.get("general.architecture")
    if found != ARCHITECTURE:
        raise BadConfig(
            f"{header.file} holds a model of the architecture {found!r}; give a GGUF file of {ARCHITECTURE!r}"
        )
    if header.pairs.get("split.count", 1) not in (0, 1):
        raise BadConfig(
            f"{header.file} is one of {header.pairs['split.count']} parts; join them first, with:"
            " llama-gguf-split --merge"
        )
    return ModelConfig(
        text=_text(Metadata(header), vocab, weights),
        vision=None,
        audio=None,
        media_tokens=MEDIA_TOKENS,
        soft_tokens_per_image=SOFT_TOKENS_PER_IMAGE,
        dtype=weights.dtype,
    )


def _text(data: Metadata, vocab: GgufVocab, weights: GgufWeights) -> TextConfig:
    count = data.number("block_count", int)
    slides = data.each("attention.sliding_window_pattern", bool, count)
    if not slides or slides[-1]:
        data.fail("attention.sliding_window_pattern", "must end with a layer that does not slide")
    kv_heads = data.each("attention.head_count_kv", int, count)
    inner = data.each("feed_forward_length", int, count)
    shared = data.number("attention.shared_kv_layers", int) if data.has("attention.shared_kv_layers") else 0
    if shared >= count:
        data.fail("attention.shared_kv_layers", f"is {shared} of {count} layers")
    own_global = [index for index in range(count - shared) if not slides[index]]
    per_layer = data.number("embedding_length_per_layer_input", int)
    local = data.number("attention.key_length_swa", int)
    k_eq_v = [
        f"{DECODER}layers.{index}.self_attn.v_proj.weight" not in weights.tensors for index in own_global
    ]
    return TextConfig(
        vocab_size=_rows(data, weights, EMBEDDING),
        hidden_size=data.number("embedding_length", int),
        intermediate_size=inner[0],
        layer_types=tuple(SLIDING if slide else FULL for slide in slides),
        num_attention_heads=data.each("attention.head_count", int, count)[0],
        num_key_value_heads=next(
            (n for n, slide in zip(kv_heads, slides, strict=True) if slide), kv_heads[-1]
        ),
        num_global_key_value_heads=kv_heads[-1],
        head_dim=local,
        global_head_dim=data.number("attention.key_length", int),
        sliding_window=data.number("attention.sliding_window", int),
        attention_k_eq_v=any(k_eq_v),
        num_kv_shared_layers=shared,
        use_double_wide_mlp=shared > 0 and inner[-1] == 2 * inner[0],
        hidden_size_per_layer_input=per_layer,
        vocab_size_per_layer_input=_rows(data, weights, PER_LAYER_TABLE if per_layer else EMBEDDING),
        experts=_experts(data),
        bidirectional_images=per_layer == 0,  # as llama.cpp decides: the edge models see causally only
        local_rope=Rope(theta=data.number("rope.freq_base_swa", float), rotated=1.0),
        global_rope=Rope(theta=data.number("rope.freq_base", float), rotated=weights.rotated),
        final_logit_softcapping=_cap(data),
        rms_norm_eps=data.number("attention.layer_norm_rms_epsilon", float),
        max_position_embeddings=data.number("context_length", int),
        pad_token_id=vocab.pad_id,
        bos_token_id=vocab.bos_id,
        eos_token_id=vocab.eos_id,
    )


def _rows(data: Metadata, weights: GgufWeights, name: str) -> int:
    if name not in weights.tensors:
        raise BadConfig(f"{data.file} has no {name}; give a GGUF file with the weights of Gemma 4")
    return weights.tensors[name].shape[0]


def _experts(data: Metadata) -> ExpertsConfig | None:
    if not data.has("expert_count") or data.number("expert_count", int) == 0:
        return None
    return ExpertsConfig(
        num_experts=data.number("expert_count", int),
        top_k_experts=data.number("expert_used_count", int),
        moe_intermediate_size=data.number("expert_feed_forward_length", int),
    )


def _cap(data: Metadata) -> float | None:
    key = "final_logit_softcapping"
    return data.number(key, float) if data.has(key) else None


def gguf_generation(header: GgufHeader, vocab: GgufVocab) -> GenerationConfig:
    """When to stop, and how to sample: as the file says, and where it is silent, as Gemma 4 does.

    Raises BadConfig.
    """

    def said(key: str, usual: float) -> float:
        value = header.pairs.get(SAMPLING + key, usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise BadConfig(
                f"{header.file}: {SAMPLING}{key} is {value!r} and must be a number; give another file"
            )
        return shortest(value) if isinstance(value, float) else value

    ids = {token: number for number, token in enumerate(vocab.tokens)}
    stops = dict.fromkeys([vocab.eos_id, *(ids[token] for token in ENDS if token in ids)])
    suppressed = header.pairs.get("tokenizer.ggml.suppress_tokens", ())
    temperature = float(said("temp", 1.0))
    return GenerationConfig(
        stop_ids=tuple(stops),
        suppress_ids=tuple(int(number) for number in suppressed),
        do_sample=temperature > 0,
        temperature=temperature if temperature > 0 else 1.0,
        top_k=int(said("top_k", 64)),
        top_p=float(said("top_p", 0.95)),
        min_p=float(said("min_p", 0.0)),
        repetition_penalty=float(said("penalty_repeat", 1.0)),
    )


def config_pairs(text: TextConfig) -> Mapping[str, Any]:
    """The keys that `gguf_config` reads, and what llama.cpp wants beside them.

    Raises BadOption for a model that llama.cpp's gemma4 cannot compute.
    """
    if text.local_rope.rotated != 1:
        raise BadOption(
            "llama.cpp rotates all of a sliding head, and this model a part; it cannot be exported"
        )
    if text.hidden_size_per_layer_input and text.vocab_size_per_layer_input != text.vocab_size:
        raise BadOption(
            f"llama.cpp wants a per-layer row for each of the {text.vocab_size} tokens, and this model has"
            f" {text.vocab_size_per_layer_input}; it cannot be exported"
        )
    slides = [kind == SLIDING for kind in text.layer_types]
    first_shared, inner = text.first_shared_layer, text.intermediate_size
    wide = [inner * (2 if index >= first_shared else 1) for index in range(text.num_hidden_layers)]
    kv_heads = [text.num_key_value_heads if slide else text.num_global_key_value_heads for slide in slides]
    pairs: dict[str, Any] = {
        "block_count": text.num_hidden_layers,
        "context_length": text.max_position_embeddings,
        "embedding_length": text.hidden_size,
        "feed_forward_length": wide if text.use_double_wide_mlp else inner,
        "attention.head_count": text.num_attention_heads,
        "attention.head_count_kv": kv_heads if len(set(kv_heads)) > 1 else kv_heads[0],
        "attention.layer_norm_rms_epsilon": float(text.rms_norm_eps),
        "attention.key_length": text.global_head_dim,
        "attention.value_length": text.global_head_dim,
        "attention.key_length_swa": text.head_dim,
        "attention.value_length_swa": text.head_dim,
        "attention.sliding_window": text.sliding_window,
        "attention.sliding_window_pattern": slides,
        "attention.shared_kv_layers": text.num_kv_shared_layers,
        "embedding_length_per_layer_input": text.hidden_size_per_layer_input,
        "rope.freq_base": float(text.global_rope.theta),
        "rope.freq_base_swa": float(text.local_rope.theta),
        "rope.dimension_count": text.global_head_dim,
        "rope.dimension_count_swa": text.head_dim,
    }
    if text.final_logit_softcapping is not None:
        pairs["final_logit_softcapping"] = float(text.final_logit_softcapping)
    if text.experts is not None:
        pairs["expert_count"] = text.experts.num_experts
        pairs["expert_used_count"] = text.experts.top_k_experts
        pairs["expert_feed_forward_length"] = text.experts.moe_intermediate_size
    return {f"{ARCHITECTURE}.{key}": value for key, value in pairs.items()}


def sampling_pairs(generation: GenerationConfig) -> Mapping[str, Any]:
    """The keys that `gguf_generation` reads; llama.cpp takes them for its defaults, too."""
    pairs: dict[str, Any] = {
        "temp": float(generation.temperature if generation.do_sample else 0),
        "top_k": np.int32(generation.top_k),
        "top_p": float(generation.top_p),
    }
    if generation.min_p:
        pairs["min_p"] = float(generation.min_p)
    if generation.repetition_penalty != 1:
        pairs["penalty_repeat"] = float(generation.repetition_penalty)
    return {SAMPLING + key: value for key, value in pairs.items()}
