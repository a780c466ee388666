"""A whole checkpoint in its real shapes against transformers, once: `python -m tests.parity.real_shapes
FOLDER`.

In float32 both models hold the same tensors, so that E2B fits into 24 GB; the per-layer table stays in
bfloat16 in both, which changes nothing, since its rows are widened exactly.  Then the same prompt in
bfloat16: how far each side is from float32.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor
from transformers import Gemma4ForConditionalGeneration

from gemcut.checkpoint.block_names import PER_LAYER_TABLE
from gemcut.load import load_model
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache, next_step, whole_sequences
from gemcut.opened import open_checkpoint
from tests.parity.tiny import greedy

LENGTH, NEW = 96, 16


def our_logits(model: Gemma4, ids: Tensor) -> Tensor:
    """Logits (T, V) of the whole prompt in one step."""
    step = whole_sequences([len(ids)], model.config.text, ids.device)
    return model.logits(model(model.embed(ids), step))


def pieces(model: Gemma4, ids: Tensor) -> Tensor:
    """The same through the cache, the last tokens one at a time."""
    cache = PlainCache(model.config.text, len(ids), ids.device)
    sizes = [len(ids) - 8] + [1] * 8
    parts = [model(model.embed(part), next_step(cache, len(part), None)) for part in torch.split(ids, sizes)]
    return model.logits(torch.cat(parts))


@torch.inference_mode()
def main() -> None:
    """Compare and print."""
    folder = Path(sys.argv[1])
    opened = open_checkpoint(folder)
    ids = torch.randint(1000, 200_000, (LENGTH,), generator=torch.Generator().manual_seed(0))
    theirs = Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval()
    theirs.generation_config.eos_token_id = None
    theirs_bf16 = theirs(ids[None]).logits[0].float()
    ours = load_model(opened, opened.config, torch.device("cpu"), torch.bfloat16)
    ours_bf16 = our_logits(ours, ids)
    for name, parameter in theirs.named_parameters():
        if name != PER_LAYER_TABLE:
            parameter.data = parameter.data.float()
    for module in theirs.modules():
        if hasattr(module, "scalar_embed_scale"):  # rounded to bfloat16 when the model was made in it
            module.embed_scale = torch.tensor(module.scalar_embed_scale)
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name != "lm_head.weight"}
    ours.load_state_dict(state, strict=True, assign=True)
    want = theirs(ids[None]).logits[0]
    got = our_logits(ours, ids)
    spread = f"logits' spread {want.std():.2f}"
    print(f"float32, {LENGTH} tokens: largest difference {(got - want).abs().max():.2e} ({spread})")
    print(f"token by token: largest difference {(pieces(ours, ids) - want).abs().max():.2e}")
    prompt = ids[None]
    options = {"max_new_tokens": NEW, "do_sample": False, "attention_mask": torch.ones_like(prompt)}
    their_tokens = theirs.generate(prompt, **options)[0, LENGTH:].tolist()
    our_tokens = greedy(ours, ids.tolist(), NEW)
    print(f"{NEW} greedy tokens equal: {our_tokens == their_tokens}")
    rms = [float((logits - want).square().mean().sqrt()) for logits in (ours_bf16, theirs_bf16)]
    print(f"bfloat16, root mean square from float32: gemcut {rms[0]:.4f}, transformers {rms[1]:.4f}")


if __name__ == "__main__":
    main()
