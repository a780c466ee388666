"""The mixture of experts of 26B-A4B: a router, and the experts it sends rows to.

Letters: N rows, C model width, F an expert's width, E experts, k experts a row.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gemcut.config import ExpertsConfig, TextConfig
from gemcut.kernels.gate import gelu_times
from gemcut.kernels.linear import grouped_linear, linear, multiplies_groups
from gemcut.kernels.native_layer import Stored, mix_experts
from gemcut.kernels.norm import at_least_float32, rms_norm
from gemcut.model.projection import Linear, Projection
from gemcut.model.step import Step


class Router(nn.Module):
    """Which experts a row goes to, and how much each one counts."""

    def __init__(self, config: TextConfig, experts: ExpertsConfig) -> None:
        super().__init__()
        self.top_k = experts.top_k_experts
        self.eps = config.rms_norm_eps
        self.proj: Projection = Linear(config.hidden_size, experts.num_experts)
        self.scale = nn.Parameter(torch.empty(config.hidden_size))
        self.per_expert_scale = nn.Parameter(torch.empty(experts.num_experts))

    def forward(self, x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """The residual, before any norm, (N, C) -> weights (N, k) float32 at least, experts (N, k) int64."""
        scaled = rms_norm(x, None, self.eps) * self.scale * x.shape[-1] ** -0.5
        scores = self.proj(scaled, step)  # (N, C) -> (N, E)
        probabilities = scores.softmax(-1, dtype=at_least_float32(x.dtype))
        weights, chosen = probabilities.topk(self.top_k, dim=-1)  # (N, k)
        weights = weights / weights.sum(-1, keepdim=True)
        return weights * self.per_expert_scale[chosen], chosen


def mixture(x: Tensor, weights: Tensor, chosen: Tensor, one: Callable[[Tensor, int], Tensor]) -> Tensor:
    """The weighted sum of the chosen experts' outputs, expert after expert: (N, C) -> (N, C).

    weights, chosen: (N, k).  one: gives the output of an expert for the rows that go to it.
    """
    total = torch.zeros_like(x)
    for expert in torch.unique(chosen).tolist():
        rows, place = torch.where(chosen == expert)  # (M,) rows that go to it, and where in their choice
        total.index_add_(0, rows, (one(x[rows], expert) * weights[rows, place, None]).to(x.dtype))
    return total


class Experts(nn.Module):
    """All experts' weights, stacked as in the checkpoint: [gate; up] (E, 2F, C) and down (E, C, F)."""

    def __init__(self, config: TextConfig, experts: ExpertsConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, experts.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(experts.num_experts, 2 * inner, width))
        self.down_proj = nn.Parameter(torch.empty(experts.num_experts, width, inner))

    def forward(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """(N, C) -> (N, C): the weighted sum of the chosen experts' outputs.  weights, chosen: (N, k)."""
        if multiplies_groups(x.device, x.dtype) and not torch.is_grad_enabled():
            return self._together(x, weights, chosen)
        up, down = Stored(self.gate_up_proj.detach(), 16), Stored(self.down_proj.detach(), 16)
        if (mixed := mix_experts(x, weights, chosen, up, down)) is not None:
            return mixed
        return mixture(x, weights, chosen, self._one)

    def _one(self, x: Tensor, expert: int) -> Tensor:
        """One expert's output for the rows that go to it: (M, C) -> (M, C)."""
        gate, up = linear(x, self.gate_up_proj[expert]).chunk(2, dim=-1)  # (M, C) -> (M, F) twice
        return linear(gelu_times(gate, up), self.down_proj[expert])  # (M, F) -> (M, C)

    def _together(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """The same in two products for all experts; which of them have rows, only the device knows."""
        choices = chosen.flatten()  # (N·k,)
        order = choices.argsort(stable=True)  # expert by expert
        experts = torch.arange(len(self.down_proj), device=x.device)
        ends = torch.searchsorted(choices[order], experts, right=True)  # (E,) where each one's rows end
        gate, up = grouped_linear(x[order // chosen.shape[1]], self.gate_up_proj, ends).chunk(2, dim=-1)
        out = grouped_linear(gelu_times(gate, up), self.down_proj, ends)  # (N·k, F) -> (N·k, C)
        back = torch.empty_like(out)
        back[order] = out
        return (back.view(*chosen.shape, -1) * weights[..., None]).sum(1).to(x.dtype)  # (N, k, C) -> (N, C)
