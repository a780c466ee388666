"""How weights follow their gradients: Muon for the matrices of the layers, AdamW for everything else.

Muon (Jordan and others, 2024) makes the update of a matrix orthogonal, so that all its directions learn at
one speed.  torch has it too, in bfloat16, which many CPUs multiply slowly; this is float32, and takes all
matrices of a shape at once.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gemcut.errors import BadTraining

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # from the authors: steepest at zero, ends within 0.7 and 1.2


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Peak learning rates and what else an optimiser wants to know.

    matrices: of Muon, in the size that suits AdamW.  embeddings: of the token and per-layer tables.
    others: of norms and scalars.  decay: how much of the learning rate is taken off matrices at each step.
    slowed: a part of parameters' names, and the share of these rates at which such parameters learn.
    """

    matrices: float
    embeddings: float
    others: float
    decay: float
    slowed: tuple[str, float] = ("", 1.0)
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.98)

    def check(self) -> None:
        """Raises BadTraining where a number is out of its range."""
        for name in ("matrices", "embeddings", "others", "decay"):
            if not 0 <= (value := getattr(self, name)) < 10:
                raise BadTraining(f"the rate {name}={value} is out of range; give a number from 0 to 10")
        for name, value in (("momentum", self.momentum), ("beta", self.betas[0]), ("beta", self.betas[1])):
            if not 0 <= value < 1:
                raise BadTraining(f"{name}={value} is out of range; give a number from 0 to below 1")
        if not 0 < self.slowed[1] <= 1:
            raise BadTraining(f"slowed={self.slowed} is out of range; give a share above 0, at most 1")

    def share_of(self, name: str) -> float:
        """The share of the rates at which the parameter of this name learns."""
        part, share = self.slowed
        return share if part in name else 1.0


class Optimiser:
    """Updates the parameters of a model that ask for gradients."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], rates: Rates) -> None:
        self.rates = rates
        by_shape: dict[tuple[torch.Size, float], list[nn.Parameter]] = defaultdict(list)
        by_rate: dict[float, list[nn.Parameter]] = defaultdict(list)
        for name, parameter in parameters:
            if not parameter.requires_grad:
                continue
            share = rates.share_of(name)
            if "embed_tokens" in name:
                by_rate[rates.embeddings * share].append(parameter)
            elif parameter.ndim == 2:
                by_shape[parameter.shape, share].append(parameter)
            else:
                by_rate[rates.others * share].append(parameter)
        self.matrices = list(by_shape.values())
        self.shares = [share for _, share in by_shape]
        self.momenta = [
            torch.zeros(len(group), *group[0].shape, device=group[0].device) for group in self.matrices
        ]
        wide = [{"params": listed, "peak": rate} for rate, listed in by_rate.items() or [(0.0, [])]]
        self.adam = torch.optim.AdamW(wide, betas=rates.betas, weight_decay=0.0, fused=True)

    def step(self, factor: float) -> None:
        """One update with `factor` times the peak learning rates; gradients are cleared."""
        for group in self.adam.param_groups:
            group["lr"] = group["peak"] * factor
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        for parameters, momentum, share in zip(self.matrices, self.momenta, self.shares, strict=True):
            if any(parameter.grad is not None for parameter in parameters):  # else no part of this loss
                self._step_matrices(parameters, momentum, self.rates.matrices * share * factor)

    @torch.no_grad()
    def _step_matrices(self, parameters: list[nn.Parameter], momentum: Tensor, rate: float) -> None:
        """parameters: n of one shape (a, b).  momentum: (n, a, b)."""
        gradient = torch.stack([_gradient(parameter) for parameter in parameters])  # (n, a, b)
        momentum.lerp_(gradient, 1 - self.rates.momentum)
        update = orthogonal(gradient.lerp_(momentum, self.rates.momentum))
        size = 0.2 * max(update.shape[1:]) ** 0.5  # the root mean square of AdamW's usual update is 0.2
        for parameter, one in zip(parameters, update, strict=True):
            parameter.mul_(1 - rate * self.rates.decay).add_(one, alpha=-rate * size)
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, besides weights and rates."""
        return {"momenta": self.momenta, "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from another optimiser's state."""
        for momentum, saved in zip(self.momenta, state["momenta"], strict=True):
            momentum.copy_(saved)
        self.adam.load_state_dict(state["adam"])


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """The orthogonal matrices nearest to these, roughly: all singular values come to lie around 1.

    matrices: (n, a, b).  Returns (n, a, b).  Newton-Schulz iteration in float32.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
