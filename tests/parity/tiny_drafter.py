"""Pairs of drafters, ours and transformers', with the same random weights in small shapes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import Gemma4AssistantConfig, Gemma4AssistantForCausalLM, Gemma4TextConfig

from gemcut.checkpoint.drafter_section import drafter_config_json
from gemcut.config import ClustersConfig, DrafterConfig
from gemcut.model.drafter import Drafter
from tests.parity.tiny import FULL, SLIDING, TINY, fill

CLUSTERS = ClustersConfig(num_centroids=16, centroid_intermediate_top_k=3)


def drafter_config(size: str) -> DrafterConfig:
    """A small drafter for the tiny form of that size: narrower, with more query heads."""
    target = TINY[size]
    text = replace(
        target,
        hidden_size=40,
        intermediate_size=56,
        layer_types=(SLIDING, SLIDING, SLIDING, FULL),
        num_kv_shared_layers=4,
        use_double_wide_mlp=False,
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=0,
        experts=None,
        bidirectional_images=False,
        final_logit_softcapping=None,
    )
    clusters = CLUSTERS if size in ("e2b", "e4b") else None
    return DrafterConfig(
        text=text, backbone_hidden_size=target.hidden_size, clusters=clusters, dtype="float32"
    )


@contextmanager
def allowed_without_keys_of_their_own() -> Iterator[None]:
    """transformers 5.23 refuses every assistant's config: it wants a layer that makes the shared K and V."""
    plain = Gemma4TextConfig.kv_sharing_modes

    def modes(config: Any) -> list[str | None]:
        if config.num_kv_shared_layers == config.num_hidden_layers:
            return ["reuse"] * config.num_hidden_layers
        found: list[str | None] = plain.fget(config)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gemma4TextConfig, "kv_sharing_modes", property(modes))
        yield


def their_drafter(config: DrafterConfig) -> Gemma4AssistantForCausalLM:
    """The drafter of transformers with the same numbers."""
    values = drafter_config_json(config)
    del values["model_type"]
    with allowed_without_keys_of_their_own():
        return Gemma4AssistantForCausalLM(Gemma4AssistantConfig(**values)).eval()


def drafter_pair(
    config: DrafterConfig, seed: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[Drafter, Gemma4AssistantForCausalLM]:
    """Our drafter and theirs, with the same weights."""
    theirs = their_drafter(config).to(dtype)
    fill(theirs, seed)
    if theirs.masked_embedding is not None:
        ordering = theirs.masked_embedding.token_ordering
        ordering.copy_(torch.randperm(len(ordering), generator=torch.Generator().manual_seed(seed)))
    ours = Drafter(config).to(dtype).eval()
    ours.load_state_dict({n: t for n, t in theirs.state_dict().items() if n != "lm_head.weight"}, strict=True)
    return ours.requires_grad_(False), theirs
