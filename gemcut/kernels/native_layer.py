"""A decoder layer's work on a few rows, before and after attention, and its experts': a native call each.

In decode a layer's dozen products take less time than the calls around them would.
Letters: N rows, C model width, P per-layer width, H query heads, K key/value heads, D head width.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gemcut.kernels.block_layout import BLOCK_BYTES, VALUES
from gemcut.kernels.linear import native_rows
from gemcut.kernels.native import MOST_ROWS, POINTER, Native, native_for

LONG = ctypes.c_int64
MATRICES = ("q", "k", "v", "o", "gate", "up", "down", "per_layer_gate", "per_layer")
VECTORS = (
    *("input_norm", "q_norm", "k_norm", "after_attention", "before_feed_forward", "after_feed_forward"),
    *("after_per_layer", "scalar"),
)


@dataclass(frozen=True)
class Stored:
    """A weight as native code reads it: (out, in) of bfloat16, or (out, bytes of a row) of int8 or int4.

    bits: 16, 8, 4.
    """

    weight: Tensor
    bits: int

    @property
    def width(self) -> int:
        """In."""
        width = self.weight.shape[-1]
        if self.bits == 16:
            return width
        return width // BLOCK_BYTES["int4" if self.bits == 4 else "int8"] * VALUES


class _Matrix(ctypes.Structure):
    """`Matrix` of layer.cpp."""

    _fields_ = [("of", POINTER), *((name, LONG) for name in ("out", "inner", "bits"))]


class _Layer(ctypes.Structure):
    """`Layer` of layer.cpp."""

    _fields_ = [
        *((name, _Matrix) for name in MATRICES),
        *((name, POINTER) for name in VECTORS),
        *((name, LONG) for name in ("heads", "kv_heads", "head_width")),
        ("eps", ctypes.c_float),
    ]


class NativeLayer:
    """A layer's weights where native code finds them, which are kept from being freed.

    matrices, vectors: by the names in MATRICES and VECTORS; those that the layer does not have are left out.
    """

    def __init__(
        self,
        native: Native,
        matrices: Mapping[str, Stored],
        vectors: Mapping[str, Tensor],
        spec: tuple[int, int, int],
        eps: float,
    ) -> None:
        self._heads, self._kv_heads, self._head_width = spec
        self._owns_kv, self._per_layer = "k" in matrices, "per_layer" in matrices
        in_blocks = all(stored.bits != 16 for stored in matrices.values())
        self.most_rows = MOST_ROWS if in_blocks else native_rows()
        self._widths = matrices["q"].width, matrices["o"].width
        self._library = native.library
        self._kept = matrices, vectors
        self._struct = _Layer(
            **{name: _matrix(stored) for name, stored in matrices.items()},
            **{name: vector.data_ptr() for name, vector in vectors.items()},
            **{"heads": self._heads, "kv_heads": self._kv_heads, "head_width": self._head_width, "eps": eps},
        )
        self._pointer = ctypes.addressof(self._struct)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """A copy of a model finds its own weights."""
        return type(None), ()

    def before(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """(N, C), (N, 1, D) twice -> q (N, H, D), and k and v (N, K, D) of layers with their own."""
        rows = x.shape[0]
        x, cos, sin = x.contiguous(), cos.contiguous(), sin.contiguous()
        assert x.shape[1] == self._widths[0], x.shape
        assert cos.shape == sin.shape == (rows, 1, self._head_width), (cos.shape, sin.shape)
        assert x.dtype == cos.dtype == sin.dtype == torch.bfloat16, (x.dtype, cos.dtype, sin.dtype)
        q = torch.empty(rows, self._heads, self._head_width, dtype=torch.bfloat16)
        k = v = None
        pointers: tuple[int | None, int | None] = (None, None)
        if self._owns_kv:
            k, v = (q.new_empty(rows, self._kv_heads, self._head_width) for _ in range(2))
            pointers = k.data_ptr(), v.data_ptr()
        operands = x.data_ptr(), cos.data_ptr(), sin.data_ptr(), q.data_ptr(), *pointers
        self._library.before_attention(self._pointer, *operands, rows, torch.get_num_threads())
        return q, None if k is None or v is None else (k, v)

    def after(self, attended: Tensor, x: Tensor, per_layer: Tensor | None) -> Tensor:
        """(N, H·D), (N, C), (N, P) -> (N, C): all that follows attention."""
        attended, x = attended.contiguous(), x.contiguous()
        per_layer = None if per_layer is None else per_layer.contiguous()
        assert attended.shape == (len(x), self._widths[1]), (attended.shape, x.shape)
        assert attended.dtype == x.dtype == torch.bfloat16, (attended.dtype, x.dtype)
        assert self._per_layer == (per_layer is not None), "per-layer inputs are for models that have them"
        assert per_layer is None or per_layer.dtype == torch.bfloat16, per_layer
        y = torch.empty_like(x)
        given = attended.data_ptr(), x.data_ptr(), None if per_layer is None else per_layer.data_ptr()
        rows, threads = x.shape[0], torch.get_num_threads()
        self._library.after_attention(self._pointer, *given, y.data_ptr(), rows, threads)
        return y

    def is_of(self, scalar: Tensor) -> bool:
        """Whether the layer's weights are still where they were: models are moved as a whole."""
        return bool(self._struct.scalar == scalar.data_ptr())


def mix_experts(x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Stored, down: Stored) -> Tensor | None:
    """The weighted sum of the chosen experts' outputs for one row, (1, C) -> (1, C).

    weights, chosen: (1, k).  gate_up: (E, 2F, ...).  down: (E, C, ...).  None where there is no native form.
    """
    native = native_for(x) if x.shape[0] == 1 else None
    if native is None or not (readable(gate_up.weight, gate_up.bits) and readable(down.weight, down.bits)):
        return None
    x, chosen, weights = x.contiguous(), chosen.contiguous(), weights.float().contiguous()
    assert chosen.dtype == torch.int64, chosen.dtype
    y = torch.empty_like(x)
    matrices = [_matrix(Stored(stored.weight[0], stored.bits)) for stored in (gate_up, down)]
    assert x.shape[1] == matrices[0].inner == matrices[1].out, x.shape
    assert matrices[0].out == 2 * matrices[1].inner, (gate_up.weight.shape, down.weight.shape)
    parts = [
        (ctypes.addressof(matrix), stored.weight.stride(0) * stored.weight.element_size())
        for matrix, stored in zip(matrices, (gate_up, down), strict=True)
    ]
    native.library.mix_experts(
        *(x.data_ptr(), *parts[0], *parts[1], chosen.data_ptr(), weights.data_ptr(), chosen.numel()),
        *(y.data_ptr(), torch.get_num_threads()),
    )
    return y


def native_for_layer(x: Tensor) -> Native | None:
    """The native kernels where they may serve whole layers: a few rows (N, C)."""
    return native_for(x) if x.shape[0] <= MOST_ROWS else None


def readable(weight: Tensor, bits: int) -> bool:
    """Whether native code can read a weight."""
    right = weight.dtype == (torch.bfloat16 if bits == 16 else torch.uint8)
    return right and weight.device.type == "cpu" and weight.is_contiguous()


def _matrix(stored: Stored) -> _Matrix:
    return _Matrix(stored.weight.data_ptr(), len(stored.weight), stored.width, stored.bits)
