"""The text decoder's numbers in config.json: both layouts read, the hub's written.

hub                         transformers 5.23
global_head_dim             per_layer_config: {"05": {"head_dim": …, "num_key_value_heads": …}, …}, only where
num_global_key_value_heads  a full-attention layer differs from head_dim and num_key_value_heads
"""

from typing import Any

from gemcut.checkpoint.section import Section
from gemcut.config import AttentionKind, ExpertsConfig, Rope, TextConfig

SLIDING: AttentionKind = "sliding_attention"
FULL: AttentionKind = "full_attention"
EXPERT_KEYS = ("num_experts", "top_k_experts", "moe_intermediate_size")


def ignore_marks(section: Section) -> None:
    """Take the keys that transformers writes into every section and that change nothing computed here."""
    section.expect(is_encoder_decoder=(False,))
    section.ignore("_name_or_path", "architectures", "chunk_size_feed_forward", "dtype", "torch_dtype")
    section.ignore("id2label", "label2id", "initializer_range", "output_attentions", "output_hidden_states")
    section.ignore("problem_type", "return_dict", "transformers_version", "use_cache")


def read_text(section: Section, *, unified: bool) -> TextConfig:
    """The text decoder from its section, which the caller closes.

    unified: this is the 12B's kind of model, whose section may leave out per-layer embeddings and experts.
    Raises BadConfig.
    """
    section.expect(attention_bias=(False,), attention_dropout=(0, 0.0, None), tie_word_embeddings=(True,))
    section.expect(expert_intermediate_size=(None,))
    section.one_of("hidden_activation", "gelu_pytorch_tanh")
    layer_types = _read_layer_types(section)
    vocab_size = section.integer("vocab_size")
    k_eq_v = section.flag("attention_k_eq_v")
    local = (_even(section, "head_dim"), section.integer("num_key_value_heads"))
    global_width, global_heads = _read_global(section, layer_types, local, k_eq_v)
    per_layer_width, per_layer_rows = _read_per_layer_table(section, unified, vocab_size)
    ropes = section.child("rope_parameters")
    config = TextConfig(
        vocab_size=vocab_size,
        hidden_size=section.integer("hidden_size"),
        intermediate_size=section.integer("intermediate_size"),
        layer_types=layer_types,
        num_attention_heads=_read_heads(section, local[1], global_heads),
        num_key_value_heads=local[1],
        num_global_key_value_heads=global_heads,
        head_dim=local[0],
        global_head_dim=global_width,
        sliding_window=section.integer("sliding_window"),
        attention_k_eq_v=k_eq_v,
        num_kv_shared_layers=_read_shared(section, layer_types),
        use_double_wide_mlp=section.flag("use_double_wide_mlp"),
        hidden_size_per_layer_input=per_layer_width,
        vocab_size_per_layer_input=per_layer_rows,
        experts=_read_experts(section, unified),
        bidirectional_images=section.one_of("use_bidirectional_attention", None, "vision") is not None,
        local_rope=_read_rope(ropes.child(SLIDING)),
        global_rope=_read_rope(ropes.child(FULL)),
        final_logit_softcapping=_read_cap(section),
        rms_norm_eps=section.positive("rms_norm_eps"),
        max_position_embeddings=section.integer("max_position_embeddings"),
        pad_token_id=_read_token(section, "pad_token_id", vocab_size),
        bos_token_id=_read_token(section, "bos_token_id", vocab_size),
        eos_token_id=_read_token(section, "eos_token_id", vocab_size),
    )
    ropes.close()
    ignore_marks(section)
    return config


def _read_layer_types(section: Section) -> tuple[AttentionKind, ...]:
    num_layers = section.integer("num_hidden_layers")
    kinds = section.take("layer_types")
    if not isinstance(kinds, list) or not all(kind in (SLIDING, FULL) for kind in kinds):
        section.fail("layer_types", f"is {kinds!r} and must be a list of {SLIDING!r} and {FULL!r}")
    if len(kinds) != num_layers:
        section.fail("layer_types", f"names {len(kinds)} layers and num_hidden_layers is {num_layers}")
    if kinds[-1] != FULL:
        section.fail("layer_types", f"ends in {kinds[-1]!r}, and the last layer must be {FULL!r}")
    return tuple(kinds)


def _even(section: Section, key: str) -> int:
    width = section.integer(key, at_least=2)
    if width % 2:
        section.fail(key, f"is {width} and must be even: rotary embeddings turn pairs")
    return width


def _read_heads(section: Section, *kv_heads: int) -> int:
    heads = section.integer("num_attention_heads")
    for shared_by in kv_heads:
        if heads % shared_by:
            section.fail("num_attention_heads", f"is {heads} and must be a multiple of {shared_by} K/V heads")
    return heads


def _read_global(
    section: Section, layer_types: tuple[AttentionKind, ...], local: tuple[int, int], k_eq_v: bool
) -> tuple[int, int]:
    """(head width, K/V heads) of the full-attention layers; local: those of the sliding layers."""
    if not section.has("per_layer_config"):
        section.ignore("per_layer_config")
        width = _even(section, "global_head_dim")
        if not section.has("num_global_key_value_heads"):
            section.one_of("num_global_key_value_heads", None)
            return width, local[1]
        heads = section.integer("num_global_key_value_heads")
        return width, heads if k_eq_v else local[1]  # the number counts only where K = V
    layers = section.child("per_layer_config")
    found = dict.fromkeys((index for index, kind in enumerate(layer_types) if kind == FULL), local)
    for key in list(layers.left):
        if not key.isdecimal() or int(key) not in found:
            layers.fail(key, f"is no layer of kind {FULL!r}, and only those may differ from the others")
        layer = layers.child(key)
        width = _even(layer, "head_dim") if layer.has("head_dim") else local[0]
        heads = layer.integer("num_key_value_heads") if layer.has("num_key_value_heads") else local[1]
        found[int(key)] = (width, heads)
        layer.close()
    if len(set(found.values())) > 1:
        section.fail("per_layer_config", f"gives the {FULL!r} layers different widths or heads: {found}")
    width, heads = found[len(layer_types) - 1]
    section.expect(global_head_dim=(width, None), num_global_key_value_heads=(heads, None))
    return width, heads


def _read_shared(section: Section, layer_types: tuple[AttentionKind, ...]) -> int:
    shared = section.integer("num_kv_shared_layers", at_least=0)
    if shared == len(layer_types):  # a drafter; read_config refuses it
        return shared
    own = layer_types[: max(0, len(layer_types) - shared)]
    orphans = {kind for kind in layer_types[len(own) :] if kind not in own}
    if orphans:
        section.fail(
            "num_kv_shared_layers",
            f"is {shared}, which leaves no {min(orphans)!r} layer with K and V of its own",
        )
    return shared


def _read_per_layer_table(section: Section, unified: bool, vocab_size: int) -> tuple[int, int]:
    """(width, rows) of the per-layer embeddings; width 0 without them."""
    if unified:
        section.expect(hidden_size_per_layer_input=(0,))
        section.ignore("hidden_size_per_layer_input", "vocab_size_per_layer_input")
        return 0, vocab_size
    width = section.integer("hidden_size_per_layer_input", at_least=0)
    rows = section.integer("vocab_size_per_layer_input", at_least=1 if width else 0)
    return width, rows


def _read_cap(section: Section) -> float | None:
    if section.has("final_logit_softcapping"):
        return section.positive("final_logit_softcapping")
    section.one_of("final_logit_softcapping", None)
    return None


def _read_experts(section: Section, unified: bool) -> ExpertsConfig | None:
    if unified:
        section.expect(enable_moe_block=(False,))
    elif section.flag("enable_moe_block"):
        num_experts, chosen, width = (section.integer(key) for key in EXPERT_KEYS)
        if chosen > num_experts:
            section.fail("top_k_experts", f"is {chosen} and there are {num_experts} experts")
        return ExpertsConfig(num_experts=num_experts, top_k_experts=chosen, moe_intermediate_size=width)
    section.ignore(*EXPERT_KEYS)
    return None


def _read_rope(section: Section) -> Rope:
    theta = section.positive("rope_theta")
    if section.one_of("rope_type", "default", "proportional") == "default":
        section.expect(partial_rotary_factor=(1, 1.0))
        rotated = 1.0
    else:
        section.expect(factor=(1, 1.0))
        rotated = section.positive("partial_rotary_factor")
        if rotated > 1:
            section.fail("partial_rotary_factor", f"is {rotated} and must be at most 1")
    section.close()
    return Rope(theta=theta, rotated=rotated)


def _read_token(section: Section, key: str, vocab_size: int) -> int:
    token = section.integers(key)[0]
    if token >= vocab_size:
        section.fail(key, f"is {token} and the vocabulary has {vocab_size} tokens")
    return token


def text_json(config: TextConfig, model_type: str) -> dict[str, Any]:
    """The section that `read_text` reads and transformers loads, in the hub's layout."""
    experts = config.experts
    section: dict[str, Any] = {
        "model_type": model_type,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attention_k_eq_v": config.attention_k_eq_v,
        "bos_token_id": config.bos_token_id,
        "enable_moe_block": experts is not None,
        "eos_token_id": config.eos_token_id,
        "final_logit_softcapping": config.final_logit_softcapping,
        "global_head_dim": config.global_head_dim,
        "head_dim": config.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": config.hidden_size,
        "hidden_size_per_layer_input": config.hidden_size_per_layer_input,
        "intermediate_size": config.intermediate_size,
        "layer_types": list(config.layer_types),
        "max_position_embeddings": config.max_position_embeddings,
        "moe_intermediate_size": None if experts is None else experts.moe_intermediate_size,
        "num_attention_heads": config.num_attention_heads,
        "num_experts": None if experts is None else experts.num_experts,
        "num_global_key_value_heads": config.num_global_key_value_heads if config.attention_k_eq_v else None,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads,
        "num_kv_shared_layers": config.num_kv_shared_layers,
        "pad_token_id": config.pad_token_id,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_parameters": {FULL: _rope_json(config.global_rope), SLIDING: _rope_json(config.local_rope)},
        "sliding_window": config.sliding_window,
        "tie_word_embeddings": True,
        "top_k_experts": None if experts is None else experts.top_k_experts,
        "use_bidirectional_attention": "vision" if config.bidirectional_images else None,
        "use_cache": True,
        "use_double_wide_mlp": config.use_double_wide_mlp,
        "vocab_size": config.vocab_size,
        "vocab_size_per_layer_input": config.vocab_size_per_layer_input,
    }
    if not config.attention_k_eq_v and config.num_global_key_value_heads != config.num_key_value_heads:
        section["per_layer_config"] = {  # the hub's layout has no words for other heads where K and V differ
            str(index): {
                "head_dim": config.global_head_dim,
                "num_key_value_heads": config.num_global_key_value_heads,
            }
            for index, kind in enumerate(config.layer_types)
            if kind == FULL
        }
    return section


def _rope_json(rope: Rope) -> dict[str, Any]:
    if rope.rotated == 1:
        return {"rope_theta": rope.theta, "rope_type": "default"}
    return {"partial_rotary_factor": rope.rotated, "rope_theta": rope.theta, "rope_type": "proportional"}
