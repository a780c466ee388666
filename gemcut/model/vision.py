"""Images to soft tokens: the vision transformer of E2B, E4B, 26B and 31B, and the 12B's plain projection.

Patches of all images of a batch are packed into one list of rows, so that images of any sizes go together
without padding; only attention looks at each image on its own.

Letters: N patches of all images, M soft tokens of all images, I values of a patch (three a pixel), D width
of the tower, H heads, W head width.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gemcut.config import VisionPatchConfig, VisionTowerConfig
from gemcut.kernels.attention import Sight, attend
from gemcut.kernels.gate import gelu_times
from gemcut.kernels.linear import linear
from gemcut.kernels.norm import rms_norm, rotate
from gemcut.model.projection import RmsNorm
from gemcut.model.tower import ClippedLinear, Weight

Grid = tuple[int, int]  # rows and columns of an image's patches
SEES_ALL = Sight(groups=1, mask=None, causal=False)


def patch_positions(grids: Sequence[Grid], device: torch.device) -> Tensor:
    """The column and the row of every patch, row by row, image after image: (N, 2) int64."""
    places = [
        torch.cartesian_prod(torch.arange(rows, device=device), torch.arange(columns, device=device)).flip(-1)
        for rows, columns in grids
    ]
    return torch.cat(places)


class VisionTower(nn.Module):
    """The vision transformer; parameter names are the checkpoint's below `vision_tower`."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedder = PatchEmbedder(config)
        self.encoder = Encoder(config)
        if config.standardize:
            self.std_bias = nn.Parameter(torch.empty(config.hidden_size))
            self.std_scale = nn.Parameter(torch.empty(config.hidden_size))

    def forward(self, pixels: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(N, I) values of 0 to 1 -> (M, D).  grids: of each image, multiples of the pooling's side."""
        positions = patch_positions(grids, pixels.device)
        return self.pool(self.encode_patches(pixels, positions, grids), grids)

    def encode_patches(self, pixels: Tensor, positions: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(N, I) x (N, 2), see `patch_positions` -> (N, D), before patches are pooled."""
        hidden: Tensor = self.encoder(self.patch_embedder(pixels, positions), positions, grids)
        return hidden

    def pool(self, hidden: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(N, D) -> (M, D)."""
        pooled = self._pool(hidden, grids).float() * self.config.hidden_size**0.5  # (N, D) -> (M, D)
        if self.config.standardize:
            pooled = (pooled - self.std_bias.float()) * self.std_scale.float()
        out: Tensor = pooled.to(hidden.dtype)
        return out

    def _pool(self, hidden: Tensor, grids: Sequence[Grid]) -> Tensor:
        """The mean of every square of patches."""
        side = self.config.pooling_kernel_size
        images = torch.split(hidden, [rows * columns for rows, columns in grids])
        squares = [
            image.view(rows // side, side, columns // side, side, -1).float().mean((1, 3)).flatten(0, 1)
            for image, (rows, columns) in zip(images, grids, strict=True)
        ]  # (rows·columns, D) -> (soft tokens, D) each
        return torch.cat(squares).to(hidden.dtype)


class PatchEmbedder(nn.Module):
    """Pixels of a patch, and its place in the image, to a row of the tower."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.input_proj = Weight(config.hidden_size, 3 * config.patch_size**2)
        shape = (2, config.position_embedding_size, config.hidden_size)
        self.position_embedding_table = nn.Parameter(torch.empty(shape))

    def forward(self, pixels: Tensor, positions: Tensor) -> Tensor:
        """(N, I) x (N, 2) -> (N, D)."""
        weight, (of_column, of_row) = self.input_proj.weight, self.position_embedding_table
        centred = (2 * (pixels - 0.5)).to(weight.dtype)  # values of -1 to 1
        place: Tensor = of_column[positions[:, 0]] + of_row[positions[:, 1]]
        return linear(centred, weight) + place


class Encoder(nn.Module):
    """The layers of the tower."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(VisionBlock(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, positions: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(N, D) -> (N, D)."""
        cos, sin = self._rotations(positions, x.dtype)
        sizes = [rows * columns for rows, columns in grids]
        for layer in self.layers:
            x = layer(x, cos, sin, sizes)
        return x

    def _rotations(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine, (N, 1, 2, W/2) each: half of a head turns by the column, half by the row."""
        half = self.config.head_dim // 2
        exponents = torch.arange(0, half, 2, dtype=torch.float32, device=positions.device) / half
        angles = positions[..., None].float() / self.config.rope_theta**exponents  # (N, 2, W/4)
        angles = torch.cat((angles, angles), dim=-1)[:, None]  # the same for every head
        return angles.cos().to(dtype), angles.sin().to(dtype)


class VisionBlock(nn.Module):
    """A layer: attention within the image and feed-forward, between sandwich norms."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = VisionAttention(config)
        self.mlp = VisionMlp(config)
        self.input_layernorm = RmsNorm(width, eps)
        self.post_attention_layernorm = RmsNorm(width, eps)
        self.pre_feedforward_layernorm = RmsNorm(width, eps)
        self.post_feedforward_layernorm = RmsNorm(width, eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, sizes: Sequence[int]) -> Tensor:
        """(N, D) -> (N, D).  sizes: patches of each image."""
        x = self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), cos, sin, sizes), onto=x)
        out: Tensor = self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)), onto=x)
        return out


class VisionAttention(nn.Module):
    """Every patch sees all patches of its image."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.num_heads, self.eps = config.num_attention_heads, config.rms_norm_eps
        width, inner = config.hidden_size, config.num_attention_heads * config.head_dim
        clipped = config.use_clipped_linears
        self.q_proj = ClippedLinear(width, inner, clipped)
        self.k_proj = ClippedLinear(width, inner, clipped)
        self.v_proj = ClippedLinear(width, inner, clipped)
        self.o_proj = ClippedLinear(inner, width, clipped)
        self.q_norm = RmsNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RmsNorm(config.head_dim, config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, sizes: Sequence[int]) -> Tensor:
        """(N, D) -> (N, D)."""
        q, k, v = (
            projection(x).view(len(x), self.num_heads, -1)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )  # (N, D) -> (N, H, W) each
        q, k = (
            rotate(normed.view(*normed.shape[:-1], 2, -1), cos, sin).flatten(-2)
            for normed in (self.q_norm(q), self.k_norm(k))
        )  # in halves: (N, H, 2, W/2)
        packed = (q, k, rms_norm(v, None, self.eps))
        images = zip(*(torch.split(y, list(sizes)) for y in packed), strict=True)
        out: Tensor = self.o_proj(torch.cat([attend(q, k, v, SEES_ALL) for q, k, v in images]))
        return out


class VisionMlp(nn.Module):
    """down(gelu(gate(x))·up(x))."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        width, inner, clipped = config.hidden_size, config.intermediate_size, config.use_clipped_linears
        self.gate_proj = ClippedLinear(width, inner, clipped)
        self.up_proj = ClippedLinear(width, inner, clipped)
        self.down_proj = ClippedLinear(inner, width, clipped)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        out: Tensor = self.down_proj(gelu_times(self.gate_proj(x), self.up_proj(x)))
        return out


class PatchProjection(nn.Module):
    """The 12B's way without a tower: each large patch is a soft token.

    Names are the checkpoint's below `vision_embedder`.
    """

    def __init__(self, config: VisionPatchConfig) -> None:
        super().__init__()
        pixels, width = 3 * (config.patch_size * config.pooling_kernel_size) ** 2, config.mm_embed_dim
        self.patch_ln1 = LayerNorm(pixels)
        self.patch_dense = Affine(pixels, width)
        self.patch_ln2 = LayerNorm(width)
        self.pos_embedding = nn.Parameter(torch.empty(config.mm_posemb_size, 2, width))
        self.pos_norm = LayerNorm(width)

    def forward(self, pixels: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(M, I) values of 0 to 1 -> (M, D)."""
        positions = patch_positions(grids, pixels.device)
        x = self.patch_ln2(self.patch_dense(self.patch_ln1(pixels.to(self.pos_embedding.dtype))))
        place = self.pos_embedding[positions[:, 0], 0] + self.pos_embedding[positions[:, 1], 1]
        out: Tensor = self.pos_norm(x + place)
        return out


class LayerNorm(nn.Module):
    """A norm that takes off the mean, with weight and bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width) -> (N, width)."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias)


class Affine(nn.Module):
    """A linear map with a bias."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_width, in_width))
        self.bias = nn.Parameter(torch.empty(out_width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return linear(x, self.weight) + self.bias
