"""Pairs of drafters, ours and transformers', with the same random weights in small shapes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Gemma4AssistantConfig, Gemma4AssistantForCausalLM, Gemma4TextConfig

from gemcut.checkpoint.drafter_section import drafter_config_json
from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import AttentionKind, ClustersConfig, DrafterConfig, TextConfig
from gemcut.kernels.attention import Sight
from gemcut.model.drafter import Drafter, FreshKeys
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import KeysValues, Step, whole_sequences
from tests.parity.tiny import FULL, SLIDING, TINY, fill

CLUSTERS = ClustersConfig(num_centroids=16, centroid_intermediate_top_k=3)


def drafter_config(size: str) -> DrafterConfig:
    """A small drafter for the tiny form of that size: narrower, with more query heads."""
    return fitting(TINY[size], CLUSTERS if size in ("e2b", "e4b") else None)


def fitting(target: TextConfig, clusters: ClustersConfig | None) -> DrafterConfig:
    """A small drafter for that target."""
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
    return DrafterConfig(
        text=text, backbone_hidden_size=target.hidden_size, clusters=clusters, dtype="float32"
    )


def write_drafter(folder: Path, target: TextConfig, clusters: ClustersConfig | None = None) -> Drafter:
    """Writes the checkpoint of a drafter for that target; returns the drafter."""
    config = fitting(target, clusters)
    drafter = Drafter(config)
    with torch.no_grad():
        fill(drafter, seed=5)
        if clusters is not None:
            vocabulary = len(drafter.masked_embedding.token_ordering)
            drafter.masked_embedding.token_ordering.copy_(torch.arange(vocabulary).flip(0))
    write_checkpoint(folder, config, drafter.state_dict().items(), extra_files={})
    return drafter


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


@dataclass(frozen=True)
class View:
    """What a draft reads behind `length` tokens that the target has read.

    hidden: (1, B), the target's row of the last of them.
    """

    hidden: Tensor
    seen: dict[AttentionKind, KeysValues]
    step: Step


def view(model: Gemma4, ids: Tensor) -> View:
    """Of a target that read these ids as a whole."""
    text, length = model.config.text, len(ids)
    fresh = FreshKeys()
    whole = replace(whole_sequences([length], text, ids.device), writer=fresh)
    hidden = model(model.embed(ids), whole)[-1:]
    first = {FULL: 0, SLIDING: max(0, length + 1 - text.sliding_window)}
    seen = {kind: (k[first[kind] :], v[first[kind] :]) for kind, (k, v) in fresh.seen(text).items()}
    everything = dict.fromkeys(seen, Sight(groups=1, mask=None, causal=False))
    step = Step(positions=torch.tensor([length]), sights=everything, writer=None, outputs=None)
    return View(hidden, seen, step)


def drafted(model: Gemma4, drafter: Drafter, ids: Tensor, token: int, count: int) -> list[int]:
    """What is drafted behind the ids and a token that follows them."""
    read = view(model, ids)
    hidden, last, found = read.hidden, torch.tensor([token]), []
    for _ in range(count):
        row = model.embed(last).hidden
        own = drafter(row, hidden, read.seen, read.step)
        logits, candidates = drafter.candidates(own)
        last = candidates.gather(1, logits.argmax(-1, keepdim=True))[0]
        hidden = drafter.hand_on(own, read.step)
        found.append(int(last))
    return found
