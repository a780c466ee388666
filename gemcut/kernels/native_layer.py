"""A decoder layer's work on a few rows, before and after attention: native code, a call each.

In decode a layer's dozen products take less time than the calls around them would.
Letters: N rows, C model width, P per-layer width, H query heads, K key/value heads, D head width.
"""

import ctypes
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gemcut.kernels.block_layout import BLOCK_BYTES, VALUES
from gemcut.kernels.native import MOST_ROWS, POINTER, Native, native_for

LONG = ctypes.c_int64


@dataclass(frozen=True)
class Stored:
    """A weight as native code reads it: (out, in) of bfloat16, or (out, bytes of a row) of int8 or int4.

    bits: 16, 8, 4.
    """

    weight: Tensor
    bits: int


@dataclass(frozen=True)
class LayerWeights:
    """All that a layer multiplies with; None where it has no such part.  Norms are (C,) or (D,)."""

    q: Stored
    k: Stored | None
    v: Stored | None
    o: Stored
    gate: Stored
    up: Stored
    down: Stored
    per_layer_gate: Stored | None
    per_layer: Stored | None
    input_norm: Tensor
    q_norm: Tensor
    k_norm: Tensor | None
    after_attention: Tensor
    before_feed_forward: Tensor
    after_feed_forward: Tensor
    after_per_layer: Tensor | None
    scalar: Tensor


class _Matrix(ctypes.Structure):
    """`Matrix` of layer.cpp."""

    _fields_ = [("of", POINTER), *((name, LONG) for name in ("out", "inner", "bits"))]


class _Layer(ctypes.Structure):
    """`Layer` of layer.cpp, whose order the fields of LayerWeights have."""

    _fields_ = [
        *(
            (field.name, POINTER if "Tensor" in str(field.type) else _Matrix)
            for field in fields(LayerWeights)
        ),
        *((name, LONG) for name in ("heads", "kv_heads", "head_width")),
        ("eps", ctypes.c_float),
    ]


class NativeLayer:
    """A layer's weights where native code finds them, which are kept from being freed."""

    def __init__(
        self, native: Native, weights: LayerWeights, heads: int, kv_heads: int, head_width: int, eps: float
    ) -> None:
        given = {field.name: getattr(weights, field.name) for field in fields(weights)}
        described = {
            name: _matrix(value) if isinstance(value, Stored) else value.data_ptr()
            for name, value in given.items()
            if value is not None
        }
        self.weights = weights
        self._library = native.library
        self._heads, self._kv_heads, self._head_width = heads, kv_heads, head_width
        self._owns_kv = weights.k is not None
        self._struct = _Layer(**described, heads=heads, kv_heads=kv_heads, head_width=head_width, eps=eps)
        self._pointer = ctypes.addressof(self._struct)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """A copy of a model finds its own weights."""
        return type(None), ()

    def before(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """(N, C), (N, 1, D) twice -> queries (N, H, D); keys and values (N, K, D) where the layer has its own."""
        rows = x.shape[0]
        x, cos, sin = x.contiguous(), cos.contiguous(), sin.contiguous()
        q = torch.empty(rows, self._heads, self._head_width, dtype=torch.bfloat16)
        k = v = None
        pointers: tuple[int | None, int | None] = (None, None)
        if self._owns_kv:
            k, v = (q.new_empty(rows, self._kv_heads, self._head_width) for _ in range(2))
            pointers = k.data_ptr(), v.data_ptr()
        self._library.before_attention(
            self._pointer, x.data_ptr(), cos.data_ptr(), sin.data_ptr(), q.data_ptr(), *pointers,
            rows, torch.get_num_threads(),
        )  # fmt: skip
        return q, None if k is None or v is None else (k, v)

    def after(self, attended: Tensor, x: Tensor, per_layer: Tensor | None) -> Tensor:
        """(N, H·D), (N, C), (N, P) -> (N, C): all that follows attention."""
        attended, x = attended.contiguous(), x.contiguous()
        per_layer = None if per_layer is None else per_layer.contiguous()
        y = torch.empty_like(x)
        self._library.after_attention(
            self._pointer, attended.data_ptr(), x.data_ptr(), None if per_layer is None else per_layer.data_ptr(),
            y.data_ptr(), x.shape[0], torch.get_num_threads(),
        )  # fmt: skip
        return y


def native_for_layer(x: Tensor) -> Native | None:
    """The native kernels where they serve whole layers: a few rows (N, C)."""
    return native_for(x) if x.shape[0] <= MOST_ROWS else None


def readable(stored: Stored | None) -> bool:
    """Whether that is a weight which native code can read."""
    if stored is None:
        return False
    weight, dtype = stored.weight, torch.bfloat16 if stored.bits == 16 else torch.uint8
    return weight.dtype == dtype and weight.device.type == "cpu" and weight.is_contiguous()


def _matrix(stored: Stored) -> _Matrix:
    out, width = stored.weight.shape
    if stored.bits != 16:
        width = width // BLOCK_BYTES["int4" if stored.bits == 4 else "int8"] * VALUES
    return _Matrix(stored.weight.data_ptr(), out, width, stored.bits)
