"""What a size's weights take in a precision, counted tensor by tensor from the config, without torch."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from gemcut.checkpoint.block_names import DECODER, EMBEDDING, PER_LAYER_TABLE
from gemcut.config import BlockForm, TextConfig
from gemcut.family import BYTES_OF_BFLOAT16, Size
from gemcut.model.text_tensors import text_tensors
from gemcut.quant.forms import EVERYTHING, block_bytes, form_in_blocks

Precision = Literal["bf16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("bf16", "int8", "int4")
FORMS: Mapping[Precision, BlockForm | None] = {"bf16": None, "int8": "int8", "int4": "int4"}

PerForm = Mapping[Precision, int]  # in a model of int4, norms and some matrices are in bf16


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Bytes of a size's weights, and how many of them a step needs.

    text_bytes: the decoder with its embedding.  table_bytes: the per-layer embeddings, of which a row a token
    is read.  media_bytes: what sees and hears, always in bfloat16.
    token_bytes: read for one token.  last_bytes: of these, what a prompt needs for its last token only.
    prompt_bytes: what all tokens of a prompt need, every expert.  prompt_values: numbers that each token of a
    prompt is multiplied with, its own experts only.
    """

    text_bytes: int
    table_bytes: int
    media_bytes: int
    token_bytes: PerForm
    last_bytes: PerForm
    prompt_bytes: PerForm
    prompt_values: PerForm


def size_weights(size: Size, precision: Precision) -> Weights:
    """The weights of a size, all that can be in that precision's blocks in them."""
    text, media = size.text, size.parameters.vision + size.parameters.audio
    table_bytes, text_bytes = 0, 0
    token: Counter[Precision] = Counter()
    last: Counter[Precision] = Counter()
    prompt: Counter[Precision] = Counter()
    values: Counter[Precision] = Counter()
    for name, shape in text_tensors(text).items():
        form, num_bytes = tensor_bytes(name, shape, precision)
        if name == PER_LAYER_TABLE:
            table_bytes = num_bytes
            continue
        text_bytes += num_bytes
        chosen, all_experts = _experts(text, name)
        token[form] += num_bytes * chosen // all_experts
        if _for_last_token(text, name):
            last[form] += num_bytes
        else:
            prompt[form] += num_bytes
            values[form] += prod(shape) * chosen // all_experts
    return Weights(
        text_bytes=text_bytes,
        table_bytes=table_bytes,
        media_bytes=BYTES_OF_BFLOAT16 * media,
        token_bytes=token,
        last_bytes=last,
        prompt_bytes=prompt,
        prompt_values=values,
    )


def tensor_bytes(name: str, shape: tuple[int, ...], precision: Precision) -> tuple[Precision, int]:
    """The form that a tensor has in a model of that precision, and its bytes."""
    blocks = FORMS[precision]
    form = None if blocks is None else form_in_blocks(name, shape, EVERYTHING[blocks])
    if form is None:
        return "bf16", BYTES_OF_BFLOAT16 * prod(shape)
    return form, block_bytes(shape, form)


def _experts(text: TextConfig, name: str) -> tuple[int, int]:
    """How many of a tensor's experts a token goes to, of how many."""
    if text.experts is None or ".experts." not in name:
        return 1, 1
    return text.experts.top_k_experts, text.experts.num_experts


def _for_last_token(text: TextConfig, name: str) -> bool:
    """Whether a prompt needs the tensor for its last token only: the head, layers that share K and V."""
    place = name.removeprefix(DECODER).split(".")
    if place[0] == "layers":
        return int(place[1]) >= text.first_shared_layer
    return name == EMBEDDING or place[0] == "norm"
