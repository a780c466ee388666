"""Small text models in folders: a vocabulary that llama.cpp could read, and rows that fit into blocks."""

import json
import string
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gemcut.api import Gemma
from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import ExpertsConfig, MediaTokens, ModelConfig, TextConfig
from gemcut.model.gemma4 import Gemma4
from gemcut.prompt.tokenizer import BLANK, MEDIA_TOKENS, TEXT_TOKENS, build_backend
from tests.checkpoint.models import BIG_TEXT, EDGE_TEXT, TEXT_ONLY
from tests.tiny_model import TEMPLATE

WIDE = {"hidden_size": 64, "intermediate_size": 96}
EDGE = replace(EDGE_TEXT, **WIDE, hidden_size_per_layer_input=32, vocab_size_per_layer_input=64)
BIG = replace(BIG_TEXT, **WIDE)
EXPERTS = replace(
    BIG, experts=ExpertsConfig(num_experts=4, top_k_experts=2, moe_intermediate_size=32), intermediate_size=64
)
ODD_EXPERTS = replace(
    EXPERTS, experts=ExpertsConfig(num_experts=4, top_k_experts=2, moe_intermediate_size=12)
)
NARROW = replace(EDGE_TEXT, vocab_size_per_layer_input=64)  # of its rows hardly one fits into blocks
TEXTS = {"edge": EDGE, "big": BIG, "experts": EXPERTS, "odd experts": ODD_EXPERTS, "narrow": NARROW}
IDS = [2, 40, 41, 300, 117, 290, 40, 41, 55]


def config_of(text: TextConfig) -> ModelConfig:
    """A whole model's config around a decoder's, with the vocabulary that `write_model` writes."""
    ids = pieces()
    text = replace(
        text,
        vocab_size=len(ids),
        vocab_size_per_layer_input=len(ids),
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<bos>"],
        eos_token_id=ids["<eos>"],
    )
    media = MediaTokens(**{part: ids[token] for part, token in MEDIA_TOKENS.items()})
    return replace(TEXT_ONLY, text=text, media_tokens=media)


def pieces() -> dict[str, int]:
    """Every piece of the vocabulary, and its id."""
    control = [*TEXT_TOKENS.values(), *MEDIA_TOKENS.values()]
    letters = [BLANK, *string.printable, "th", "the"]
    every = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    return {piece: number for number, piece in enumerate(dict.fromkeys(every))}


def draw(config: ModelConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """Random weights: nothing neutral, and a model that tells ids apart."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, parameter in Gemma4(config).named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        plain = parameter.ndim > 1
        weights[name] = (noise * parameter.shape[-1] ** -0.5 if plain else 1 + 0.2 * noise).to(dtype)
    return weights


def write_model(folder: Path, text: TextConfig, dtype: torch.dtype = torch.float32) -> Path:
    """Writes the checkpoint, and gives its folder."""
    config, control = config_of(text), [*TEXT_TOKENS.values(), *MEDIA_TOKENS.values()]
    backend = build_backend(pieces(), [("t", "h"), ("th", "e")], control)
    generation = {
        "eos_token_id": [1, 5, 12],
        "do_sample": True,
        "temperature": 0.7,
        "top_k": 40,
        "top_p": 0.9,
    }
    extra_files = {
        "tokenizer.json": backend.to_str().encode(),
        "chat_template.jinja": TEMPLATE.encode(),
        "generation_config.json": json.dumps(generation).encode(),
    }
    write_checkpoint(folder, config, draw(config, dtype).items(), extra_files=extra_files)
    return folder


def logits(place: Path, dtype: str = "float32") -> Tensor:
    """What the model at that place makes of IDS."""
    gemma = Gemma.load(str(place), device="cpu", dtype=dtype)  # type: ignore[arg-type]
    made = gemma.logits(IDS)
    gemma.close()
    return made


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    """Of the same weights at different places: products may be summed in another order there."""
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
