"""Weights that are counted from the config, against tensors: on disk, and in the hub's lists."""

import json
import re
from math import prod
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gemcut.config import Quantization, TextConfig
from gemcut.family import FAMILIES, Parameters, Size, family
from gemcut.fit.weights import PRECISIONS, Precision, count_weights, size_weights
from gemcut.model.layer_plan import unused_tensors
from gemcut.opened import open_checkpoint
from gemcut.quant.quantize import Quantizing
from tests.quant.models import TEXTS, config_of, write_model

LISTS = {
    "e2b": "gemma-4-E2B-it",
    "e4b": "gemma-4-E4B-it",
    "12b": "gemma-4-12B-it",
    "26b": "gemma-4-26B-A4B-it",
    "31b": "gemma-4-31B-it",
}
STAYS = re.compile(r"norm|scal|router|per_layer_model_projection")
BITS_OF_32: dict[Precision, int] = {"bf16": 512, "int8": 272, "int4": 144}


def size_of(text: TextConfig) -> Size:
    """A size of which nothing is known but its decoder."""
    return Size(text=text, parameters=Parameters(**dict.fromkeys(Parameters.__dataclass_fields__, 0)))


def listed_bytes(shared: Path, name: str, precision: Precision) -> dict[str, int]:
    """Bytes of each part, tensor by tensor of the hub's list."""
    unused = unused_tensors(family(name).size.text)
    total = {"text": 0, "table": 0, "media": 0}
    for line in (shared / f"facts/checkpoint_keys/{LISTS[name]}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            tensor, shape, _ = line.split("\t")
            part = (
                "table" if "per_layer.weight" in tensor else "text" if "language_model" in tensor else "media"
            )
            stays = part == "media" or STAYS.search(tensor)
            if tensor not in unused:
                total[part] += prod(json.loads(shape)) * (512 if stays else BITS_OF_32[precision]) // 256
    return total


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", LISTS)
def test_the_bytes_are_those_of_the_hubs_tensors(name: str, precision: Precision, shared: Path) -> None:
    weights = size_weights(family(name).size, precision)
    counted = {"text": weights.text_bytes, "table": weights.table_bytes, "media": weights.media_bytes}
    assert counted == listed_bytes(shared, name, precision)


@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_are_those_on_disk(text: str, tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", TEXTS[text], dtype=torch.bfloat16)
    folders = {"bf16": plain}
    for form in ("int8", "int4"):
        scheme = Quantization(projections=form, embedding=form, per_layer_table=form)
        work = Quantizing(source=open_checkpoint(plain), quantization=scheme)
        work.write(tmp_path / form, work.tensors(), overwrite=False)
        folders[form] = tmp_path / form
    for precision in PRECISIONS:
        weights = size_weights(size_of(config_of(TEXTS[text]).text), precision)
        stored = sum(tensor.nbytes for tensor in load_file(folders[precision] / "model.safetensors").values())
        assert weights.text_bytes + weights.table_bytes == stored


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)
def test_a_token_reads_the_active_weights(row: object) -> None:
    size = row.size  # type: ignore[attr-defined]
    assert size_weights(size, "bf16").token_bytes == {"bf16": 2 * size.active_parameters}
    assert size_weights(size, "bf16").text_bytes == size.load_bytes


def test_of_e2b_a_prompt_needs_15_layers_for_all_tokens_and_the_rest_for_the_last() -> None:
    size = family("e2b").size
    weights = size_weights(size, "int4")
    total = sum(weights.last_bytes.values()) + sum(weights.prompt_bytes.values())
    assert total == sum(weights.token_bytes.values()) == weights.text_bytes
    head = size.parameters.embedding * 144 // 256
    assert weights.last_bytes["int4"] > 2 * head
    feed_forwards = 15 * 3 * 1536 * 6144  # and a third more: attention, and what makes per-layer inputs
    assert 1.3 < sum(weights.prompt_values.values()) / feed_forwards < 1.4


def test_of_26b_a_prompts_token_is_multiplied_with_8_of_128_experts_and_a_prompt_reads_them_all() -> None:
    size = family("26b").size
    weights = size_weights(size, "bf16")
    assert weights.prompt_values["bf16"] < size.active_parameters
    assert weights.prompt_bytes["bf16"] > 2 * size.parameters.experts


@pytest.mark.parametrize("name", ["e2b", "26b"])
def test_the_more_tokens_a_step_has_the_more_experts_are_read(name: str) -> None:
    weights = size_weights(family(name).size, "int4")
    one, two, many = (sum(weights.step_bytes(rows).values()) for rows in (1, 2, 100_000))
    assert one == pytest.approx(sum(weights.token_bytes.values()))
    assert many == pytest.approx(weights.text_bytes)
    of_two = 1 - (1 - 8 / 128) ** 2 - 8 / 128  # of the experts, beside those of one
    assert two - one == pytest.approx(of_two * sum(weights.expert_bytes.values()), abs=1)


def test_a_token_of_a_reply_is_multiplied_with_all_that_it_reads() -> None:
    for name in ("e2b", "26b"):
        size = family(name).size
        assert sum(size_weights(size, "int8").token_values.values()) == size.active_parameters


def test_plain_numbers_count_as_wide_as_they_are() -> None:
    text = family("e2b").size.text
    assert count_weights(text, {}, 4).text_bytes == 2 * count_weights(text, {}, 2).text_bytes


def test_the_int4_sizes_are_those_that_google_publishes_for_q4_0() -> None:
    """ai.google.dev gives what has to be loaded, sight and sound included, to a tenth."""
    published = {"12b": 6.7, "26b": 14.4, "31b": 17.5}
    for name, gigabytes in published.items():
        assert size_weights(family(name).size, "int4").text_bytes / 1e9 == pytest.approx(gigabytes, rel=0.02)
