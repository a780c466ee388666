"""Metadata to configs and back, for all sizes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gemcut.checkpoint.block_names import EMBEDDING, PER_LAYER_TABLE
from gemcut.checkpoint.gguf_config import (
    check_architecture,
    config_pairs,
    gguf_config,
    gguf_generation,
    sampling_pairs,
    shortest,
)
from gemcut.checkpoint.gguf_header import GgufHeader
from gemcut.checkpoint.gguf_vocab import GgufVocab
from gemcut.checkpoint.gguf_weights import GgufWeights
from gemcut.checkpoint.safetensors_header import TensorInfo
from gemcut.checkpoint.weights import WeightFiles
from gemcut.config import GenerationConfig, Rope, TextConfig
from gemcut.errors import BadConfig, BadOption
from gemcut.family import FAMILIES, family
from gemcut.model.layer_plan import plan_layers

FILE = Path("x.gguf")
GENERATION = GenerationConfig(
    stop_ids=(1, 106, 50),
    suppress_ids=(),
    do_sample=True,
    temperature=0.7,
    top_k=40,
    top_p=0.95,
    min_p=0.05,
    repetition_penalty=1.1,
)


def header(pairs: dict[str, Any]) -> GgufHeader:
    """As a file would have it: numbers with a fraction in float32."""
    stored = {name: float(np.float32(v)) if isinstance(v, float) else v for name, v in pairs.items()}
    stored = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
    stored = {name: int(v) if isinstance(v, np.int32) else v for name, v in stored.items()}
    return GgufHeader(file=FILE, size=0, pairs={"general.architecture": "gemma4"} | stored, tensors={})


def weights(text: TextConfig) -> GgufWeights:
    shapes = {EMBEDDING: (text.vocab_size, text.hidden_size)}
    if text.hidden_size_per_layer_input:
        shapes[PER_LAYER_TABLE] = (text.vocab_size_per_layer_input, 1)
    shapes |= {
        f"model.language_model.layers.{spec.index}.self_attn.v_proj.weight": (1, 1)
        for spec in plan_layers(text)
        if spec.owns_kv and spec.has_v_proj
    }
    infos = {
        name: TensorInfo(shape=shape, dtype=torch.bfloat16, file=FILE, start=0)
        for name, shape in shapes.items()
    }
    return GgufWeights(
        files=WeightFiles(FILE, infos), made={}, blocks={}, table_kind=None, rotated=text.global_rope.rotated
    )


def vocab(text: TextConfig) -> GgufVocab:
    tokens = {1: "<eos>", 50: "<|tool_response>", 106: "<turn|>"}
    return GgufVocab(
        tokens=tuple(tokens.get(number, f"t{number}") for number in range(120)),
        kinds=(1,) * 120,
        merges=(),
        bos_id=text.bos_token_id,
        eos_id=text.eos_token_id,
        unknown_id=3,
        pad_id=text.pad_token_id,
        chat_template=None,
    )


@pytest.mark.parametrize("name", [row.name for row in FAMILIES])
def test_every_size_s_numbers_come_back(name: str) -> None:
    text = family(name).size.text
    config = gguf_config(header(dict(config_pairs(text))), vocab(text), weights(text))
    assert config.text == text
    assert config.dtype == "bfloat16"
    assert (config.vision, config.audio) == (None, None)


def test_metadata_of_e2b_are_those_that_llama_cpp_s_converter_writes() -> None:
    """From conversion/gemma.py and conversion/base.py, read through for E2B's config.json."""
    pattern = [True] * 4 + [False]
    assert config_pairs(family("e2b").size.text) == {
        "gemma4.block_count": 35,
        "gemma4.context_length": 131072,
        "gemma4.embedding_length": 1536,
        "gemma4.feed_forward_length": [6144] * 15 + [12288] * 20,
        "gemma4.attention.head_count": 8,
        "gemma4.attention.head_count_kv": 1,
        "gemma4.attention.layer_norm_rms_epsilon": 1e-6,
        "gemma4.attention.key_length": 512,
        "gemma4.attention.value_length": 512,
        "gemma4.attention.key_length_swa": 256,
        "gemma4.attention.value_length_swa": 256,
        "gemma4.attention.sliding_window": 512,
        "gemma4.attention.sliding_window_pattern": pattern * 7,
        "gemma4.attention.shared_kv_layers": 20,
        "gemma4.embedding_length_per_layer_input": 256,
        "gemma4.rope.freq_base": 1e6,
        "gemma4.rope.freq_base_swa": 1e4,
        "gemma4.rope.dimension_count": 512,
        "gemma4.rope.dimension_count_swa": 256,
        "gemma4.final_logit_softcapping": 30.0,
    }


def test_experts_are_named_as_llama_cpp_names_them() -> None:
    pairs = config_pairs(family("26b").size.text)
    assert {key: pairs[f"gemma4.{key}"] for key in ("expert_count", "expert_used_count")} == {
        "expert_count": 128,
        "expert_used_count": 8,
    }
    assert pairs["gemma4.expert_feed_forward_length"] == 704
    assert pairs["gemma4.attention.head_count_kv"] == ([8] * 5 + [2]) * 5


def test_sampling_comes_back() -> None:
    text = family("e2b").size.text
    assert gguf_generation(header(dict(sampling_pairs(GENERATION))), vocab(text)) == GENERATION
    greedy = replace(GENERATION, do_sample=False, temperature=1.0, min_p=0.0, repetition_penalty=1.0)
    assert gguf_generation(header(dict(sampling_pairs(greedy))), vocab(text)) == greedy


def test_a_file_that_says_nothing_of_sampling_is_sampled_as_gemma_4_is() -> None:
    said = gguf_generation(header({"tokenizer.ggml.suppress_tokens": (5, 6)}), vocab(family("e2b").size.text))
    assert (said.temperature, said.top_k, said.top_p) == (1.0, 64, 0.95)
    assert said.stop_ids == (1, 106, 50)
    assert said.suppress_ids == (5, 6)


def test_float32_numbers_are_read_as_they_were_meant() -> None:
    assert [shortest(float(np.float32(x))) for x in (1e-6, 0.95, 30.0, 1e6)] == [1e-6, 0.95, 30.0, 1e6]


def test_more_tokens_at_which_to_stop_are_heeded() -> None:
    named = {"tokenizer.ggml.eot_token_id": 7, "tokenizer.ggml.eom_token_id": 106}
    assert gguf_generation(header(named), vocab(family("e2b").size.text)).stop_ids == (1, 106, 50, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tokenizer.ggml.suppress_tokens": (5, -1)},
            r"suppress_tokens is \(5, -1\) and must be ids below 120",
        ),
        ({"tokenizer.ggml.suppress_tokens": "five"}, "suppress_tokens is 'five' and must be ids"),
        ({"tokenizer.ggml.eot_token_id": 120}, "eot_token_id is 120 and must be ids below 120"),
        ({"general.sampling.temp": -1.0}, "sampling.temp is -1.0 and must be a number from 0"),
        ({"general.sampling.top_p": 1.5}, "sampling.top_p is 1.5 and must be a number from 0.01 to 1"),
        ({"general.sampling.top_k": "all"}, "sampling.top_k is 'all' and must be a number"),
        ({"general.sampling.penalty_repeat": 0.0}, "penalty_repeat is 0.0 and must be a number from 0.01"),
    ],
)
def test_sampling_that_cannot_be_used_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=f"^x.gguf: .*{message}"):
        gguf_generation(header(change), vocab(family("e2b").size.text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"general.architecture": "gemma3"}, "holds a model of the architecture 'gemma3'"),
        ({"general.architecture": "clip"}, "holds a model of the architecture 'clip'"),
        ({"split.count": 3}, "is one of 3 parts; join them first"),
    ],
)
def test_what_is_no_whole_file_of_gemma_4_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfig, match=f"^x.gguf {message}"):
        check_architecture(header(change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_count": None}, "block_count is None and must be a whole number from 1"),
        ({"block_count": 3}, "sliding_window_pattern has 35 values for 3 layers"),
        ({"block_count": 2**40}, "block_count is 1099511627776 and must be a whole number"),
        ({"block_count": 600}, "block_count is 600, and there may be 512 layers"),
        ({"embedding_length": True}, "embedding_length is True and must be a whole number"),
        ({"rope.freq_base": float("nan")}, "rope.freq_base is nan and must be a number above 0"),
        ({"rope.freq_base_swa": 0.0}, "rope.freq_base_swa is 0.0 and must be a number above 0"),
        ({"rope.scaling.factor": 4.0}, "rope.scaling.factor is 4.0, and gemcut computes only with 1.0"),
        ({"rope.dimension_count_swa": 128}, "dimension_count_swa is 128, and gemcut computes only with 256"),
        ({"attention.value_length": 256}, "value_length is 256, and gemcut computes only with 512"),
        ({"attention.key_length": 511}, "key_length is 511 and must be even"),
        ({"attention.shared_kv_layers": 35}, "shared_kv_layers is 35 of 35 layers"),
        ({"attention.shared_kv_layers": 33}, "which leaves no 'full_attention' layer with K and V"),
        ({"attention.sliding_window_pattern": (True,) * 35}, "must end with a layer that does not slide"),
        ({"attention.sliding_window_pattern": (1,) * 35}, "must be true or false for each layer"),
        ({"attention.head_count_kv": "one"}, "head_count_kv is 'one' and must be a whole number"),
        ({"attention.head_count_kv": 3}, "8 query heads must be a multiple of each"),
        ({"attention.head_count": 0}, "head_count is 0 and must be a whole number from 1"),
        ({"vocab_size": 7}, "vocab_size is 7, and gemcut computes only with 262144"),
        ({"expert_count": 4, "expert_used_count": 5, "expert_feed_forward_length": 8}, "is 5 of 4 experts"),
        (
            {"attention.scale": 0.5},
            r"attention.scale is a key that gemcut does not know \(its value is 0.5\)",
        ),
    ],
)
def test_metadata_that_cannot_be_used_are_named(change: dict[str, Any], message: str) -> None:
    text = family("e2b").size.text
    pairs = dict(config_pairs(text)) | {f"gemma4.{key}": value for key, value in change.items()}
    with pytest.raises(BadConfig, match=f"^x.gguf: gemma4.*{message}"):
        gguf_config(header(pairs), vocab(text), weights(text))


def test_a_soft_cap_of_0_is_none() -> None:
    text = family("e2b").size.text
    pairs = dict(config_pairs(text)) | {"gemma4.final_logit_softcapping": 0.0}
    assert gguf_config(header(pairs), vocab(text), weights(text)).text.final_logit_softcapping is None


def test_a_file_without_weights_is_no_model() -> None:
    text = family("31b").size.text
    none = GgufWeights(files=WeightFiles(FILE, {}), made={}, blocks={}, table_kind=None, rotated=1.0)
    with pytest.raises(BadConfig, match=r"has no model.language_model.embed_tokens.weight"):
        gguf_config(header(dict(config_pairs(text))), vocab(text), none)


def test_what_llama_cpp_cannot_compute_is_not_exported() -> None:
    text = family("e2b").size.text
    with pytest.raises(BadOption, match="rotates all of a sliding head"):
        config_pairs(replace(text, local_rope=Rope(theta=1e4, rotated=0.5)))
    with pytest.raises(BadOption, match="wants a per-layer row for each of the 262144 tokens"):
        config_pairs(replace(text, vocab_size_per_layer_input=100))
