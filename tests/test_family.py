"""The rows of the sizes, against the hub's own files."""

import json
import math
import shutil
from pathlib import Path

import pytest

from gemcut.checkpoint.config_file import read_config
from gemcut.checkpoint.weights import WeightFiles
from gemcut.errors import UnknownModel
from gemcut.family import FAMILIES, Size, family

REPOSITORIES = {
    "e2b": "gemma-4-E2B-it",
    "e4b": "gemma-4-E4B-it",
    "12b": "gemma-4-12B-it",
    "26b": "gemma-4-26B-A4B-it",
    "31b": "gemma-4-31B-it",
}
each_size = pytest.mark.parametrize("name", REPOSITORIES)


def size_of(name: str) -> Size:
    return family(name).size


def part_of(tensor: str) -> str:
    if "embed_tokens_per_layer" in tensor:
        return "per_layer_table"
    if "language_model.embed_tokens." in tensor:
        return "embedding"
    if ".experts." in tensor:
        return "experts"
    if "language_model" in tensor:
        return "decoder"
    return "audio" if "audio" in tensor else "vision"


@each_size
def test_the_numbers_are_those_of_the_hubs_config(name: str, shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / f"facts/configs/{REPOSITORIES[name]}.config.json", tmp_path / "config.json")
    config = read_config(tmp_path)
    assert size_of(name).text == config.text
    takes = {"text", *(("image", "video") if config.vision else ()), *(("audio",) if config.audio else ())}
    assert set(family(name).takes) == takes


@each_size
def test_weights_are_counted_as_the_hub_has_them(name: str, shared: Path) -> None:
    parameters = size_of(name).parameters
    text = size_of(name).text
    counted = dict.fromkeys(
        ("embedding", "per_layer_table", "decoder", "experts", "vision", "audio", "unused"), 0
    )
    for line in (shared / f"facts/checkpoint_keys/{REPOSITORIES[name]}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            tensor, shape, dtype = line.split("\t")
            assert dtype == "BF16"
            pieces = tensor.split(".")
            shared_layer = (
                "layers" in pieces and int(pieces[pieces.index("layers") + 1]) >= text.first_shared_layer
            )
            kv = any(f".self_attn.{kind}." in tensor for kind in ("k_proj", "v_proj", "k_norm"))
            unused = "language_model" in tensor and shared_layer and kv
            counted["unused" if unused else part_of(tensor)] += math.prod(json.loads(shape))
    assert counted == {part: getattr(parameters, part) for part in counted}
    assert size_of(name).disk_bytes == 2 * sum(counted.values())


def test_totals_are_the_published_ones() -> None:
    totals = {name: size_of(name).parameters.total for name in REPOSITORIES}
    assert totals == {
        "e2b": 5_104_298_467,
        "e4b": 7_941_101_802,
        "12b": 11_959_730_224,
        "26b": 25_805_936_206,
        "31b": 31_273_088_876,
    }


def test_active_weights_leave_out_lookup_tables_and_idle_experts() -> None:
    billions = {name: round(size_of(name).active_parameters / 1e9, 2) for name in REPOSITORIES}
    assert billions == {"e2b": 2.28, "e4b": 4.64, "12b": 11.91, "26b": 3.82, "31b": 30.7}


def test_e2b_needs_less_memory_than_disk_because_its_table_stays_there() -> None:
    e2b = size_of("e2b")
    assert e2b.disk_bytes == 10_246_357_958
    assert e2b.load_bytes == 2 * (402_653_184 + 1_877_105_955)


def test_nano_has_no_hub_id_because_it_is_in_the_package() -> None:
    assert family("nano").hub_id is None


def test_names_and_hub_ids_are_unique() -> None:
    assert len({row.name for row in FAMILIES}) == len({row.hub_id for row in FAMILIES}) == len(FAMILIES) == 6


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("e4", "e4b"), ("E2B", "e2b"), ("gemma-4-31b", "31b"), ("gemma-4-26B-A4B-it", "26b"), ("nanoo", "nano")],
)
def test_an_unknown_name_lists_what_there_is_and_guesses(typed: str, meant: str) -> None:
    with pytest.raises(UnknownModel, match=f"nano, e2b, e4b, 12b, 26b, 31b.*did you mean '{meant}'"):
        family(typed)


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(UnknownModel, match="no model 'llama'") as caught:
        family("llama")
    assert "did you mean" not in str(caught.value)


def test_nano_s_row_is_its_packaged_model(nano: Path) -> None:
    config = read_config(nano)
    size = family("nano").size
    assert config.text == size.text
    counted = dict.fromkeys(("embedding", "per_layer_table", "decoder", "vision", "audio"), 0)
    for name, tensor in WeightFiles.open(nano).tensors.items():
        counted[part_of(name)] += math.prod(tensor.shape)
    parameters = size.parameters
    assert counted == {
        "embedding": parameters.embedding,
        "per_layer_table": parameters.per_layer_table,
        "decoder": parameters.decoder,
        "vision": parameters.vision,
        "audio": parameters.audio,
    }
    assert 4_000_000 <= parameters.total <= 7_000_000
    assert sum(file.stat().st_size for file in nano.iterdir()) <= 15_000_000
