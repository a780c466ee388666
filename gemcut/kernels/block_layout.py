"""How weights lie in blocks, in numbers: 32 values of a row, and one scale; see `kernels.blocks`."""

from gemcut.config import BlockForm

VALUES = 32  # of a block
SCALE_BYTES = 2
BLOCK_BYTES: dict[BlockForm, int] = {"int4": SCALE_BYTES + VALUES // 2, "int8": SCALE_BYTES + VALUES}


def row_bytes(width: int, form: BlockForm) -> int:
    """Bytes of a row of `width` values, a multiple of 32."""
    assert width % VALUES == 0, width
    return width // VALUES * BLOCK_BYTES[form]
