from dataclasses import replace

import pytest
import torch

from gemcut.errors import BadTraining
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import whole_sequences
from gemcut.train.copying import plant_copying
from gemcut.train.initial import initialise
from tests.parity.tiny import EDGE, FULL, SLIDING, model_config

WIDE = replace(
    EDGE,
    hidden_size=128,
    head_dim=32,
    global_head_dim=64,
    layer_types=(SLIDING, FULL, SLIDING, FULL),
    num_kv_shared_layers=2,
)


def share_of_repetitions_foreseen(model: Gemma4) -> float:
    """How often the second half of a random text that comes twice is foreseen, the current token left out."""
    once = torch.randperm(320, generator=torch.Generator().manual_seed(1))[:40]
    ids = torch.cat((once, once))
    with torch.no_grad():
        logits = model.logits(model(model.embed(ids), whole_sequences([80], model.config.text, ids.device)))
    logits[
        torch.arange(80), ids
    ] = -torch.inf  # a tied head says the token itself before it has learnt anything
    return float((logits.argmax(-1)[40:-1] == ids[41:]).float().mean())


def test_a_planted_model_repeats_before_it_has_learnt_anything() -> None:
    model = Gemma4(model_config(WIDE))
    initialise(model, seed=0)
    assert share_of_repetitions_foreseen(model) < 0.1
    plant_copying(model, seed=0)
    assert share_of_repetitions_foreseen(model) > 0.75


def test_a_model_without_the_layers_for_it_is_refused() -> None:
    for text in (
        replace(WIDE, layer_types=(FULL, FULL), num_kv_shared_layers=0),
        replace(WIDE, hidden_size=64),
        replace(WIDE, num_key_value_heads=WIDE.num_attention_heads),
    ):
        model = Gemma4(model_config(text))
        initialise(model, seed=0)
        with pytest.raises(BadTraining, match="copying cannot be planted"):
            plant_copying(model, seed=0)
