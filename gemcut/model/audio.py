"""Sound to soft tokens: the conformer of E2B and E4B.

Clips of any lengths go together: after the subsampling each is cut into blocks of as many frames as attention
takes at a time, the last one filled up, and the blocks of all clips are packed.  Attention and convolution
look back at most one block, so they need only the block before, where it is of the same clip.

Letters: T mel frames of a clip, B blocks of all clips, K frames of a block, R frames that a frame sees,
S = R - 1 + K frames that a block sees, D width of the tower, H heads, W head width.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gemcut.config import AudioTowerConfig
from gemcut.kernels.linear import linear
from gemcut.model.projection import RmsNorm
from gemcut.model.tower import ClippedLinear, Weight

MEL_BANDS = 128
INNER = 4  # the feed-forward's width over the tower's
LONGEST_TIMESCALE = 10_000.0  # of the relative positions
NORM_EPS = 1e-6  # of the norms around feed-forward and attention, whatever the config says of the others


class AudioTower(nn.Module):
    """The conformer; parameter names are the checkpoint's below `audio_tower`."""

    def __init__(self, config: AudioTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.subsample_conv_projection = Subsampling(config)
        self.layers = nn.ModuleList(AudioBlock(config) for _ in range(config.num_hidden_layers))
        self.output_proj = OutputProjection(config.hidden_size, config.output_proj_dims)

    def forward(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Mel features of each clip, (T, 128) -> its soft tokens, (about T/4, output width) each."""
        size = self.config.attention_chunk_size
        frames = [self.subsample_conv_projection(clip) for clip in clips]  # (T, 128) -> (about T/4, D)
        padded = [F.pad(clip, (0, 0, 0, -len(clip) % size)).view(-1, size, clip.shape[-1]) for clip in frames]
        counts = [len(clip) for clip in padded]
        blocks = torch.cat(padded)  # (B, K, D)
        first = torch.cat([torch.arange(count, device=blocks.device) == 0 for count in counts])  # (B,)
        positions = _relative_positions(self.config).to(blocks)
        for layer in self.layers:
            blocks = layer(blocks, first, positions)
        projected = torch.split(self.output_proj(blocks), counts)
        return [blocks.flatten(0, 1)[: len(clip)] for blocks, clip in zip(projected, frames, strict=True)]


def _relative_positions(config: AudioTowerConfig) -> Tensor:
    """Sines, then cosines, of the distances that a frame sees, the farthest first: (R, D) float32."""
    distances = torch.arange(config.attention_context_left - 1, -1, -1)
    scales = config.hidden_size // 2
    steps = -math.log(LONGEST_TIMESCALE) / max(scales - 1, 1)
    angles = distances[:, None] * torch.exp(torch.arange(scales) * steps)  # (R, D/2)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def _with_the_block_before(blocks: Tensor, first: Tensor, frames: int) -> Tensor:
    """Each block behind the last `frames` frames of the one before it, which are 0 at a clip's start.

    blocks: (B, K, ...).  first: (B,) bool, blocks that begin a clip.  Returns (B, frames + K, ...).
    """
    before = blocks.roll(1, dims=0)[:, blocks.shape[1] - frames :]
    before = before.masked_fill(first.view(-1, *[1] * (blocks.ndim - 1)), 0.0)
    return torch.cat((before, blocks), dim=1)


class Subsampling(nn.Module):
    """A quarter of the frames by two convolutions."""

    def __init__(self, config: AudioTowerConfig) -> None:
        super().__init__()
        inner, outer = config.subsampling_conv_channels
        self.layer0 = SubsamplingLayer(1, inner, config.rms_norm_eps)
        self.layer1 = SubsamplingLayer(inner, outer, config.rms_norm_eps)
        self.input_proj_linear = Weight(config.hidden_size, MEL_BANDS // 4 * outer)

    def forward(self, clip: Tensor) -> Tensor:
        """(T, 128) -> (about T/4, D)."""
        x = clip.to(self.layer0.conv.weight.dtype)[None, None]  # (T, 128) -> (1, 1, T, 128)
        x = self.layer1(self.layer0(x))[0]  # (channels, about T/4, 32)
        return linear(x.permute(1, 2, 0).flatten(1), self.input_proj_linear.weight)  # frequency by frequency


class SubsamplingLayer(nn.Module):
    """A convolution over every other frame and band, and a norm over the channels."""

    def __init__(self, in_channels: int, out_channels: int, eps: float) -> None:
        super().__init__()
        self.conv = Weight(out_channels, in_channels, 3, 3)
        self.norm = Weight(out_channels)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(1, channels, T, bands) -> (1, channels, about T/2, bands/2)."""
        x = F.conv2d(x, self.conv.weight, stride=2, padding=1)
        weight = self.norm.weight
        return F.layer_norm(x.movedim(1, -1), weight.shape, weight, None, self.eps).movedim(-1, 1).relu()


class AudioBlock(nn.Module):
    """A conformer layer: half a feed-forward, attention, convolution, half a feed-forward, norm."""

    def __init__(self, config: AudioTowerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.limit = config.gradient_clipping
        self.feed_forward1 = AudioFeedForward(config)
        self.self_attn = AudioAttention(config)
        self.lconv1d = LightConvolution(config)
        self.feed_forward2 = AudioFeedForward(config)
        self.norm_pre_attn = RmsNorm(width, NORM_EPS)
        self.norm_post_attn = RmsNorm(width, NORM_EPS)
        self.norm_out = RmsNorm(width, NORM_EPS)

    def forward(self, x: Tensor, first: Tensor, positions: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, D).  first: (B,) bool.  positions: (R, D)."""
        x = self.feed_forward1(x)
        seen = self.self_attn(self.norm_pre_attn(limited(x, self.limit)), first, positions)
        x = self.norm_post_attn(limited(seen, self.limit), onto=x)
        x = self.feed_forward2(self.lconv1d(x, first))
        out: Tensor = self.norm_out(limited(x, self.limit))
        return out


def limited(x: Tensor, limit: float) -> Tensor:
    """X within ±limit, or within what its dtype holds."""
    limit = min(limit, torch.finfo(x.dtype).max)
    return x.clamp(-limit, limit)


class AudioFeedForward(nn.Module):
    """A feed-forward of which a share goes into the residual."""

    def __init__(self, config: AudioTowerConfig) -> None:
        super().__init__()
        width, clipped = config.hidden_size, config.use_clipped_linears
        self.limit, self.share = config.gradient_clipping, config.residual_weight
        self.ffw_layer_1 = ClippedLinear(width, INNER * width, clipped)
        self.ffw_layer_2 = ClippedLinear(INNER * width, width, clipped)
        self.pre_layer_norm = RmsNorm(width, NORM_EPS)
        self.post_layer_norm = RmsNorm(width, NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, D)."""
        inner = F.silu(self.ffw_layer_1(self.pre_layer_norm(limited(x, self.limit))))
        out: Tensor = x + self.share * self.post_layer_norm(limited(self.ffw_layer_2(inner), self.limit))
        return out


class LightConvolution(nn.Module):
    """A gated causal convolution of each channel by itself."""

    def __init__(self, config: AudioTowerConfig) -> None:
        super().__init__()
        width, clipped, eps = config.hidden_size, config.use_clipped_linears, config.rms_norm_eps
        self.limit, self.reach = config.gradient_clipping, config.conv_kernel_size - 1
        self.pre_layer_norm = RmsNorm(width, eps)
        self.linear_start = ClippedLinear(width, 2 * width, clipped)
        self.depthwise_conv1d = Weight(width, 1, config.conv_kernel_size)
        self.conv_norm = RmsNorm(width, eps)
        self.linear_end = ClippedLinear(width, width, clipped)

    def forward(self, x: Tensor, first: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, D)."""
        gated = F.glu(self.linear_start(self.pre_layer_norm(x)), dim=-1)
        gated = _with_the_block_before(gated, first, self.reach).transpose(1, 2)  # (B, D, reach + K)
        y = F.conv1d(gated, self.depthwise_conv1d.weight, groups=x.shape[-1]).transpose(1, 2)
        out: Tensor = x + self.linear_end(F.silu(self.conv_norm(limited(y, self.limit))))
        return out


class AudioAttention(nn.Module):
    """Attention of each frame over itself and the R - 1 frames before it, with relative positions.

    R is `attention_context_left`, as in DeepMind's code; transformers 5.23 masks the farthest of them, see
    docs/differences.md.
    """

    def __init__(self, config: AudioTowerConfig) -> None:
        super().__init__()
        self.config = config
        width, clipped = config.hidden_size, config.use_clipped_linears
        self.heads = (config.num_attention_heads, width // config.num_attention_heads)  # H, W
        self.q_proj = ClippedLinear(width, width, clipped)
        self.k_proj = ClippedLinear(width, width, clipped)
        self.v_proj = ClippedLinear(width, width, clipped)
        self.post = ClippedLinear(width, width, clipped)
        self.relative_k_proj = Weight(width, width)
        self.per_dim_scale = nn.Parameter(torch.empty(self.heads[1]))

    def forward(self, x: Tensor, first: Tensor, positions: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, D).  Scores and softmax run in float32."""
        config, width = self.config, self.heads[1]
        reach, size = config.attention_context_left - 1, config.attention_chunk_size
        q, k, v = (
            projection(x).float().view(*x.shape[:-1], *self.heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )  # (B, K, D) -> (B, K, H, W) each
        q = q * (width**-0.5 / math.log(2)) * F.softplus(self.per_dim_scale.float())
        k = k * (math.log(1 + math.e) / math.log(2))
        k, v = (_with_the_block_before(y, first, reach).transpose(1, 2) for y in (k, v))  # (B, H, S, W)
        q = q.transpose(1, 2)  # (B, H, K, W)
        relative = linear(positions, self.relative_k_proj.weight).float().view(-1, *self.heads)  # (R, H, W)
        by_distance = q @ relative.permute(1, 2, 0)  # (B, H, K, R)
        query = torch.arange(size, device=x.device)[:, None]
        key = torch.arange(reach + size, device=x.device)
        place = key - query  # (K, S): of a key among the R that a query sees
        far = by_distance.gather(-1, place.clamp(0, reach).expand(*by_distance.shape[:2], -1, -1))
        scores = config.attention_logit_cap * torch.tanh((q @ k.mT + far) / config.attention_logit_cap)
        seen = (place >= 0) & (place <= reach)
        seen = seen & ~(first[:, None, None] & (key < reach))  # (B, K, S)
        scores = scores.masked_fill(~seen[:, None], config.attention_invalid_logits_value)
        out = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)  # (B, H, K, W) -> (B, K, D)
        y: Tensor = self.post(out.to(x.dtype))
        return y


class OutputProjection(nn.Module):
    """The last linear map, with its bias."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_width, in_width))
        self.bias = nn.Parameter(torch.empty(out_width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, self.weight, self.bias)
