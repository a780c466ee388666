"""What a quantisation makes of a tensor, and how many bytes that takes; known without torch."""

from math import prod

from gemcut.checkpoint.block_names import form_of
from gemcut.config import BlockForm, Quantization
from gemcut.kernels.block_layout import BLOCK_BYTES, VALUES, row_bytes

EVERYTHING = {
    form: Quantization(projections=form, embedding=form, per_layer_table=form) for form in BLOCK_BYTES
}


def form_in_blocks(name: str, shape: tuple[int, ...], quantization: Quantization) -> BlockForm | None:
    """The blocks that the tensor is to be in; None where it stays, as rows that are no multiple of 32 do."""
    return None if not shape or shape[-1] % VALUES else form_of(name, quantization)


def block_bytes(shape: tuple[int, ...], form: BlockForm) -> int:
    """Bytes of a tensor of that shape in blocks."""
    return prod(shape[:-1]) * row_bytes(shape[-1], form)
