"""One layer of each kind at the real widths of 26B and 31B, against transformers' in float32."""

from dataclasses import replace

import pytest
import torch
from transformers import Gemma4ForCausalLM

from gemcut.family import family
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import whole_sequences
from tests.parity.tiny import FULL, SLIDING, draw, model_config, their_config

TILE = 2**22 + 1  # numbers drawn; a larger weight repeats them, each time from another place in its rows

NARROW = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "experts": None,
}  # whatever the frequencies do not depend on


def fill(model: torch.nn.Module) -> None:
    """Random values as in the tiny models, for billions of weights within seconds."""
    tile = torch.randn(TILE, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        if tensor.numel() <= TILE:
            tensor.copy_(draw(name, tensor.shape, generator))
            continue
        flat = tensor.view(-1)
        for start in range(0, len(flat), TILE):
            part = flat[start : start + TILE]
            part.copy_(tile[: len(part)])
        flat.mul_(tensor.shape[-1] ** -0.5)


@pytest.mark.parametrize("size", ["26b", "31b"])
def test_layers_of_real_width_equal_transformers(size: str) -> None:
    real = family(size).size
    text = replace(real.text, layer_types=(SLIDING, FULL), vocab_size=256, vocab_size_per_layer_input=256)
    with torch.device("meta"):
        theirs = Gemma4ForCausalLM(their_config(text))
    theirs = theirs.to_empty(device="cpu").eval()
    theirs.tie_weights()  # leaving the meta device unties the head
    fill(theirs)
    fresh = Gemma4ForCausalLM(their_config(replace(text, **NARROW)))
    for name, buffer in fresh.named_buffers():  # lost on the meta device: rotary frequencies, scales
        if "inv_freq" in name:
            theirs.get_buffer(name).copy_(buffer)
    theirs.model.embed_tokens.embed_scale.fill_(text.hidden_size**0.5)
    with torch.device("meta"):
        ours = Gemma4(model_config(text))
    state = {
        name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in theirs.state_dict().items()
        if name != "lm_head.weight"
    }
    ours.load_state_dict(state, strict=True, assign=True)  # the same memory: these are gigabytes
    ids = torch.randint(5, 256, (1, 24), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        want = theirs(ids).logits[0]
        step = whole_sequences([24], text, torch.device("cpu"))
        got = ours.logits(ours(ours.embed(ids[0]), step))
    assert float(want.std()) > 0.1
    torch.testing.assert_close(got, want, atol=2e-4, rtol=0)
