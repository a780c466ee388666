"""A GGUF file's metadata as configs, and configs as the metadata that llama.cpp's converter writes.

Source: llama.cpp, conversion/gemma.py and src/models/gemma4.cpp, as in llama-cpp-python 0.3.36.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from gemcut.checkpoint.block_names import DECODER, EMBEDDING, PER_LAYER_TABLE
from gemcut.checkpoint.config_file import MEDIA_TOKENS, SOFT_TOKENS_PER_IMAGE
from gemcut.checkpoint.gguf_header import GgufHeader
from gemcut.checkpoint.gguf_vocab import GgufVocab
from gemcut.checkpoint.gguf_weights import GgufWeights
from gemcut.checkpoint.text_section import FULL, SLIDING
from gemcut.config import AttentionKind, ExpertsConfig, GenerationConfig, ModelConfig, Rope, TextConfig
from gemcut.errors import BadConfig, BadOption

ARCHITECTURE = "gemma4"
MOST_LAYERS = 512  # llama.cpp's own limit
MOST = 2**31 - 1
ENDS = (
    "<eos>",
    "<turn|>",
    "<|tool_response>",
)  # what llama.cpp stops at, and the hub's generation_config.json
MORE_ENDS = ("eot", "eom")  # at which it stops too, where a file names such tokens
SAMPLING = "general.sampling."


class Metadata:
    """The values under "gemma4."; each key is taken once, and what is left at `close` is an error.

    Every method that takes a key raises BadConfig where the key's value cannot be used.
    """

    def __init__(self, header: GgufHeader) -> None:
        prefix = f"{ARCHITECTURE}."
        self.file = header.file
        self.left = {
            key.removeprefix(prefix): value for key, value in header.pairs.items() if key.startswith(prefix)
        }

    def fail(self, key: str, what: str) -> NoReturn:
        """Raise BadConfig that names the file and the key."""
        raise BadConfig(f"{self.file}: {ARCHITECTURE}.{key} {what}; give a whole GGUF file of Gemma 4")

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self.left

    def integer(self, key: str, *, at_least: int = 1) -> int:
        """The whole number under a key."""
        return self._integer(key, self.left.pop(key, None), at_least)

    def integers(self, key: str, count: int) -> tuple[int, ...]:
        """The whole number of each layer: an array, or one number for all."""
        return tuple(self._integer(key, value, 1) for value in self._each(key, count))

    def flags(self, key: str, count: int) -> tuple[bool, ...]:
        """Whether, for each layer: an array, or one answer for all."""
        values = self._each(key, count)
        if not all(isinstance(value, bool) for value in values):
            self.fail(key, f"is {values!r} and must be true or false for each layer")
        return values

    def number(self, key: str) -> float:
        """The number under a key, which must be above 0."""
        value = self.left.pop(key, None)
        if not isinstance(value, float) or not 0 < value < float("inf"):
            self.fail(key, f"is {value!r} and must be a number above 0")
        return shortest(value)

    def expect(self, key: str, *allowed: Any) -> None:
        """A key that may be absent, and where it is there, must have one of these values."""
        value = self.left.pop(key, allowed[0])
        if value not in allowed:
            self.fail(key, f"is {value!r}, and gemcut computes only with {' or '.join(map(repr, allowed))}")

    def close(self) -> None:
        """Raise BadConfig for a key that nobody asked for."""
        for key, value in self.left.items():
            self.fail(key, f"is a key that gemcut does not know (its value is {value!r})")

    def _each(self, key: str, count: int) -> tuple[Any, ...]:
        found = self.left.pop(key, None)
        if not isinstance(found, tuple):
            return (found,) * count
        if len(found) != count:
            self.fail(key, f"has {len(found)} values for {count} layers")
        return found

    def _integer(self, key: str, value: Any, at_least: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= MOST:
            self.fail(key, f"is {value!r} and must be a whole number from {at_least} to {MOST}")
        return value


def shortest(value: float) -> float:
    """The number with the fewest digits that is this one in float32: 1e-6 for 9.99999997e-7."""
    return float(str(np.float32(value)))


def check_architecture(header: GgufHeader) -> None:
    """Raises BadConfig for another architecture, or a part of a split file."""
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


def gguf_config(header: GgufHeader, vocab: GgufVocab, weights: GgufWeights) -> ModelConfig:
    """The numbers of the text model in a GGUF file of this architecture.

    Raises BadConfig for numbers that are missing or do not go together, and for keys that are not known.
    """
    data = Metadata(header)
    text = _text(data, vocab, weights)
    data.close()
    return ModelConfig(
        text=text,
        vision=None,
        audio=None,
        media_tokens=MEDIA_TOKENS,
        soft_tokens_per_image=SOFT_TOKENS_PER_IMAGE,
        dtype=weights.dtype,
    )


def _text(data: Metadata, vocab: GgufVocab, weights: GgufWeights) -> TextConfig:
    kinds, shared = _layers(data)
    local, wide = _head_widths(data)
    heads, local_heads, wide_heads = _heads(data, kinds)
    inner = data.integers("feed_forward_length", len(kinds))
    per_layer = data.integer("embedding_length_per_layer_input", at_least=0)
    own_global = [index for index, kind in enumerate(kinds[: len(kinds) - shared]) if kind == FULL]
    k_eq_v = [
        f"{DECODER}layers.{index}.self_attn.v_proj.weight" not in weights.tensors for index in own_global
    ]
    vocab_size = _rows(data, weights, EMBEDDING)
    data.expect("vocab_size", vocab_size)
    return TextConfig(
        vocab_size=vocab_size,
        hidden_size=data.integer("embedding_length"),
        intermediate_size=inner[0],
        layer_types=kinds,
        num_attention_heads=heads,
        num_key_value_heads=local_heads,
        num_global_key_value_heads=wide_heads,
        head_dim=local,
        global_head_dim=wide,
        sliding_window=data.integer("attention.sliding_window"),
        attention_k_eq_v=any(k_eq_v),
        num_kv_shared_layers=shared,
        use_double_wide_mlp=shared > 0 and inner[-1] == 2 * inner[0],
        hidden_size_per_layer_input=per_layer,
        vocab_size_per_layer_input=_rows(data, weights, PER_LAYER_TABLE if per_layer else EMBEDDING),
        experts=_experts(data),
        bidirectional_images=per_layer == 0,  # as llama.cpp decides: the edge models see causally only
        local_rope=Rope(theta=data.number("rope.freq_base_swa"), rotated=1.0),
        global_rope=Rope(theta=_theta(data), rotated=weights.rotated),
        final_logit_softcapping=_cap(data),
        rms_norm_eps=data.number("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=data.integer("context_length"),
        pad_token_id=vocab.pad_id,
        bos_token_id=vocab.bos_id,
        eos_token_id=vocab.eos_id,
    )


def _layers(data: Metadata) -> tuple[tuple[AttentionKind, ...], int]:
    """The kind of each layer, and how many reuse the K and V of earlier ones."""
    count = data.integer("block_count")
    if count > MOST_LAYERS:
        data.fail("block_count", f"is {count}, and there may be {MOST_LAYERS} layers")
    pattern = "attention.sliding_window_pattern"
    kinds = tuple(SLIDING if slides else FULL for slides in data.flags(pattern, count))
    if kinds[-1] != FULL:
        data.fail(pattern, "must end with a layer that does not slide")
    key = "attention.shared_kv_layers"
    shared = data.integer(key, at_least=0) if data.has(key) else 0
    if shared >= count:
        data.fail(key, f"is {shared} of {count} layers")
    own = kinds[: count - shared]
    orphans = {kind for kind in kinds if kind not in own}
    if orphans:
        data.fail(key, f"is {shared}, which leaves no {min(orphans)!r} layer with K and V of its own")
    return kinds, shared


def _head_widths(data: Metadata) -> tuple[int, int]:
    """Of sliding layers and of the others; V is as wide as K, and all of a sliding head is rotated."""
    widths = []
    for suffix in ("_swa", ""):
        width = data.integer(f"attention.key_length{suffix}")
        if width % 2:
            data.fail(f"attention.key_length{suffix}", f"is {width} and must be even")
        data.expect(f"attention.value_length{suffix}", width)
        data.expect(f"rope.dimension_count{suffix}", width)
        widths.append(width)
    return widths[0], widths[1]


def _heads(data: Metadata, kinds: tuple[AttentionKind, ...]) -> tuple[int, int, int]:
    """How many for queries, for K and V of sliding layers, and for K and V of the others."""
    heads = data.integers("attention.head_count", len(kinds))[0]
    key = "attention.head_count_kv"
    each = data.integers(key, len(kinds))
    local = each[kinds.index(SLIDING)] if SLIDING in kinds else each[-1]
    if heads % local or heads % each[-1]:
        data.fail(key, f"is {each!r}, and {heads} query heads must be a multiple of each")
    return heads, local, each[-1]


def _rows(data: Metadata, weights: GgufWeights, name: str) -> int:
    if name not in weights.tensors:
        raise BadConfig(f"{data.file} has no {name}; give a GGUF file with the weights of Gemma 4")
    return weights.tensors[name].shape[0]


def _experts(data: Metadata) -> ExpertsConfig | None:
    number = data.integer("expert_count", at_least=0) if data.has("expert_count") else 0
    if number == 0:
        return None
    chosen, width = data.integer("expert_used_count"), data.integer("expert_feed_forward_length")
    if chosen > number:
        data.fail("expert_used_count", f"is {chosen} of {number} experts")
    return ExpertsConfig(num_experts=number, top_k_experts=chosen, moe_intermediate_size=width)


def _theta(data: Metadata) -> float:
    """Of the full-attention layers; positions are not scaled."""
    for key in ("rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"):
        data.expect(key, 1.0, 0.0)  # 0 is none, too
    data.expect("rope.scaling.type", "none", "linear")
    data.expect("attention.causal", True)
    return data.number("rope.freq_base")


def _cap(data: Metadata) -> float | None:
    key = "final_logit_softcapping"
    if data.left.get(key) == 0.0:  # none, as llama.cpp has it
        del data.left[key]
    return data.number(key) if data.has(key) else None


def gguf_generation(header: GgufHeader, vocab: GgufVocab) -> GenerationConfig:
    """When to stop, and how to sample: as the file says, and where it is silent, as Gemma 4 does.

    Raises BadConfig.
    """

    def said(key: str, usual: float, least: float, most: float) -> float:
        value = header.pairs.get(SAMPLING + key, usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise BadConfig(
                f"{header.file}: {SAMPLING}{key} is {value!r} and must be a number from {least:g} to"
                f" {most:g}; give another file"
            )
        return shortest(value) if isinstance(value, float) else value

    ids = {token: number for number, token in enumerate(vocab.tokens)}
    stops = [vocab.eos_id, *(ids[token] for token in ENDS if token in ids)]
    for name in MORE_ENDS:
        stops += _ids(header, vocab, f"{name}_token_id")
    temperature = float(said("temp", 1.0, 0, 100))
    return GenerationConfig(
        stop_ids=tuple(dict.fromkeys(stops)),
        suppress_ids=_ids(header, vocab, "suppress_tokens"),
        do_sample=temperature > 0,
        temperature=temperature if temperature > 0 else 1.0,
        top_k=int(said("top_k", 64, 0, MOST)),
        top_p=float(said("top_p", 0.95, 0.01, 1)),
        min_p=float(said("min_p", 0.0, 0, 1)),
        repetition_penalty=float(said("penalty_repeat", 1.0, 0.01, 100)),
    )


def _ids(header: GgufHeader, vocab: GgufVocab, name: str) -> tuple[int, ...]:
    """The token ids under a key, one or several; none where it is absent."""
    found = header.pairs.get(f"tokenizer.ggml.{name}", ())
    numbers = found if isinstance(found, tuple) else (found,)
    known = range(len(vocab.tokens))
    if not all(isinstance(number, int) and number in known for number in numbers):
        raise BadConfig(
            f"{header.file}: tokenizer.ggml.{name} is {found!r:.80} and must be ids below {len(known)};"
            " give another file"
        )
    return numbers


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
