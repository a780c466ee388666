"""What a size's weights take in a precision, counted tensor by tensor from the config, without torch."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    token_bytes: read for one token.  expert_bytes: of all experts, of which a token reads `expert_share`.
    token_values: numbers that a token of a reply is multiplied with.
    last_bytes: of a token's, what a prompt needs for its last token only.
    prompt_bytes: what all tokens of a prompt need, every expert.  prompt_values: numbers that each token of a
    prompt is multiplied with, its own experts only.
    """

    text_bytes: int
    table_bytes: int
    media_bytes: int
    token_bytes: PerForm
    expert_bytes: PerForm
    expert_share: float
    token_values: PerForm
    last_bytes: PerForm
    prompt_bytes: PerForm
    prompt_values: PerForm

    def step_bytes(self, rows: int) -> Mapping[Precision, float]:
        """Bytes that a step of so many tokens reads: the more, the more experts some of them choose."""
        more = 1 - (1 - self.expert_share) ** rows - self.expert_share
        return {
            form: num_bytes + more * self.expert_bytes.get(form, 0)
            for form, num_bytes in self.token_bytes.items()
        }


def size_weights(size: Size, precision: Precision) -> Weights:
    """The weights of a size, all that can be in that precision's blocks in them."""
    forms = {name: tensor_form(name, shape, precision) for name, shape in text_tensors(size.text).items()}
    media = size.parameters.vision + size.parameters.audio
    counted = count_weights(size.text, forms, BYTES_OF_BFLOAT16)
    return replace(counted, media_bytes=BYTES_OF_BFLOAT16 * media)


def count_weights(text: TextConfig, forms: Mapping[str, Precision], value_bytes: int) -> Weights:
    """The weights of a decoder whose tensors are in these forms; those that have none are plain numbers.

    value_bytes: of a plain number, 2 in bfloat16; in any other dtype they are counted under "bf16" too.
    """
    table_bytes, text_bytes = 0, 0
    token: Counter[Precision] = Counter()
    experts: Counter[Precision] = Counter()
    last: Counter[Precision] = Counter()
    prompt: Counter[Precision] = Counter()
    values: dict[bool, Counter[Precision]] = {True: Counter(), False: Counter()}  # for the last token only
    for name, shape in text_tensors(text).items():
        form = forms.get(name, "bf16")
        blocks = FORMS[form]
        num_bytes = value_bytes * prod(shape) if blocks is None else block_bytes(shape, blocks)
        if name == PER_LAYER_TABLE:
            table_bytes = num_bytes
            continue
        text_bytes += num_bytes
        chosen, all_experts = _experts(text, name)
        token[form] += num_bytes * chosen // all_experts
        if chosen < all_experts:
            experts[form] += num_bytes
        for_last = _for_last_token(text, name)
        (last if for_last else prompt)[form] += num_bytes
        values[for_last][form] += prod(shape) * chosen // all_experts
    mixture = text.experts
    return Weights(
        text_bytes=text_bytes,
        table_bytes=table_bytes,
        media_bytes=0,
        token_bytes=token,
        expert_bytes=experts,
        expert_share=1.0 if mixture is None else mixture.top_k_experts / mixture.num_experts,
        token_values=values[True] + values[False],
        last_bytes=last,
        prompt_bytes=prompt,
        prompt_values=values[False],
    )


def tensor_form(name: str, shape: tuple[int, ...], precision: Precision) -> Precision:
    """The form that a tensor has in a model of that precision."""
    blocks = FORMS[precision]
    form = None if blocks is None else form_in_blocks(name, shape, EVERYTHING[blocks])
    return "bf16" if form is None else form


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
