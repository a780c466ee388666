"""Random weights to start training from."""

import torch
from torch import Tensor

from gemcut.model.gemma4 import Gemma4

PER_LAYER = "embed_tokens_per_layer"  # its rows hold all layers' parts, each of which is scaled by itself
ONES = ("layer_scalar", "scale", "per_expert_scale", "norm_pre_attn", "norm_out")
POST_NORM = 0.3  # what a sublayer adds to the residual, whose size is about 1 at the start


@torch.no_grad()
def initialise(model: Gemma4, seed: int) -> None:
    """Draws every parameter of the model, the same for the same seed.

    Embeddings have size 1 after their scale; the output of every projection has the size of its input;
    queries times keys have a spread of 1, as attention has no scale of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    per_layer = model.config.text.hidden_size_per_layer_input
    for name, parameter in model.named_parameters():
        part = name.removesuffix(".weight").rsplit(".", 1)[-1]
        fan_in = parameter[0].numel() if parameter.ndim > 1 else len(parameter)
        width = per_layer if part == PER_LAYER else fan_in
        parameter.copy_(_draw(part, parameter.shape, width, generator))


def _draw(part: str, shape: torch.Size, width: int, generator: torch.Generator) -> Tensor:
    """part: the last word of a parameter's name.  width: how many numbers make a row, or a sum."""
    if part == "q_norm":
        return torch.full(shape, shape[0] ** -0.5)
    if part.startswith("post_") or part == "norm_post_attn":
        return torch.full(shape, POST_NORM)
    if part in ("per_dim_scale", "bias"):  # a scale of 0 is a factor of 1
        return torch.zeros(shape)
    if part.endswith(("norm", "norm_1", "norm_2")) or part in ONES:
        return torch.ones(shape)
    return torch.randn(shape, generator=generator).mul_(width**-0.5)
