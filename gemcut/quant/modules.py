"""Parts of a model whose weights are blocks, in the places of those with plain weights.

A weight is a buffer of uint8 rows (see `kernels.blocks`), as it lies in a file: on a CPU it stays mapped.

Letters: N rows, M rows of an expert, B bytes of a row of blocks, V rows of a table, E experts, k experts a
row, C model width, F an expert's width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gemcut.checkpoint.gguf_weights import row_bytes as gguf_row_bytes
from gemcut.config import BlockForm
from gemcut.kernels.block_layout import row_bytes
from gemcut.kernels.block_linear import block_linear
from gemcut.kernels.blocks import block_rows
from gemcut.kernels.gate import gelu_times
from gemcut.kernels.linear import linear
from gemcut.kernels.native_layer import Stored, mix_experts
from gemcut.model.embedding import EmbeddingTable, scaled
from gemcut.model.experts import Experts, mixture
from gemcut.model.projection import Linear
from gemcut.model.step import Step


class BlockLinear(nn.Module):
    """A `Projection` whose weight is (out, B)."""

    weight: Tensor

    def __init__(self, in_width: int, out_width: int, form: BlockForm) -> None:
        super().__init__()
        self.form = form
        self.register_buffer("weight", _empty((out_width, in_width), form))

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """(N, in) -> (N, out)."""
        return self.product(x)

    def product(self, x: Tensor) -> Tensor:
        """The same where there is no step: (N, in) -> (N, out)."""
        return block_linear(x, self.weight, self.form)

    def stored(self) -> Stored | None:
        """The weight."""
        return Stored(self.weight, 4 if self.form == "int4" else 8)


class BlockTable(nn.Module):
    """An `EmbeddingTable` whose rows are (V, B); it may lie elsewhere than the model, too."""

    weight: Tensor

    def __init__(self, rows: int, width: int, scale: float, form: BlockForm) -> None:
        super().__init__()
        self.scale = scale
        self.form = form
        self.register_buffer("weight", _empty((rows, width), form))

    def forward(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """(N,) int64 -> (N, width) in `dtype` on the ids' device."""
        rows = block_rows(ids.to(self.weight.device), self.weight, self.form, dtype)
        return scaled(rows.to(ids.device), self.scale)

    def product(self, x: Tensor) -> Tensor:
        """Each row of x with each of the table: (M, width) -> (M, V)."""
        return block_linear(x, self.weight, self.form)


class GgufTable(nn.Module):
    """An `EmbeddingTable` whose rows (V, B) are of another of GGUF's types; the gguf package reads them."""

    weight: Tensor

    def __init__(self, rows: int, num_bytes: int, scale: float, kind: int) -> None:
        super().__init__()
        self.scale = scale
        self.kind = kind
        self.register_buffer("weight", torch.empty(rows, num_bytes, dtype=torch.uint8, device="meta"))

    def forward(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """(N,) int64 -> (N, width) in `dtype` on the ids' device."""
        import gguf  # here: other models need none of it

        rows = self.weight.index_select(0, ids.to(self.weight.device)).cpu()
        values = gguf.quants.dequantize(rows.numpy(), gguf.GGMLQuantizationType(self.kind))
        return scaled(torch.from_numpy(values).to(ids.device, dtype), self.scale)


class BlockExperts(nn.Module):
    """`Experts` of which one weight or both are blocks: [gate; up] (E, 2F, B) and down (E, C, B)."""

    gate_up_proj: Tensor
    down_proj: Tensor

    def __init__(self, plain: Experts, forms: Mapping[str, BlockForm]) -> None:
        super().__init__()
        self.forms = dict(forms)
        for part in ("gate_up_proj", "down_proj"):
            weight = plain.get_parameter(part)
            if part in forms:
                self.register_buffer(part, _empty(tuple(weight.shape), forms[part]))
            else:
                self.register_parameter(part, nn.Parameter(weight.detach()))

    def forward(self, x: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """(N, C) -> (N, C): the weighted sum of the chosen experts' outputs.  weights, chosen: (N, k)."""
        mixed = mix_experts(x, weights, chosen, self._stored("gate_up_proj"), self._stored("down_proj"))
        return mixture(x, weights, chosen, self._one) if mixed is None else mixed

    def _stored(self, part: str) -> Stored:
        weight: Tensor = getattr(self, part)
        return Stored(weight.detach(), {None: 16, "int8": 8, "int4": 4}[self.forms.get(part)])

    def _one(self, x: Tensor, expert: int) -> Tensor:
        """One expert's output for the rows that go to it: (M, C) -> (M, C)."""
        gate, up = self._product(x, "gate_up_proj", expert).chunk(2, dim=-1)  # (M, C) -> (M, F) twice
        return self._product(gelu_times(gate, up), "down_proj", expert)  # (M, F) -> (M, C)

    def _product(self, x: Tensor, part: str, expert: int) -> Tensor:
        weight: Tensor = getattr(self, part)[expert]
        form = self.forms.get(part)
        return linear(x, weight) if form is None else block_linear(x, weight, form)


def use_blocks(model: nn.Module, forms: Mapping[str, BlockForm]) -> None:
    """Give a model on the meta device parts with blocks in the places of those that hold these tensors.

    forms: by the tensors' names.  Names stay what they were; a weight's dtype becomes uint8.
    """
    of_experts: dict[str, dict[str, BlockForm]] = {}
    for name, form in forms.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        if isinstance(module, Linear):
            out_width, in_width = module.weight.shape
            model.set_submodule(owner, BlockLinear(in_width, out_width, form))
        elif isinstance(module, EmbeddingTable):
            rows, width = module.weight.shape
            model.set_submodule(owner, BlockTable(rows, width, module.scale, form))
        else:
            assert isinstance(module, Experts), f"{name} is of a {type(module).__name__}, which has no blocks"
            of_experts.setdefault(owner, {})[leaf] = form
    for owner, parts in of_experts.items():
        experts = model.get_submodule(owner)
        assert isinstance(experts, Experts)
        model.set_submodule(owner, BlockExperts(experts, parts))


def use_gguf_table(model: nn.Module, name: str, kind: int) -> None:
    """Give a model on the meta device a table in the place of the one that holds this tensor.

    kind: the number of its rows' type in GGUF.
    """
    owner = name.rpartition(".")[0]
    table = model.get_submodule(owner)
    assert isinstance(table, EmbeddingTable)
    rows, width = table.weight.shape
    model.set_submodule(owner, GgufTable(rows, gguf_row_bytes(kind, width), table.scale, kind))


def _empty(shape: tuple[int, ...], form: BlockForm) -> Tensor:
    """Blocks for a weight of that shape, on the meta device: they come from a file."""
    return torch.empty(*shape[:-1], row_bytes(shape[-1], form), dtype=torch.uint8, device="meta")
