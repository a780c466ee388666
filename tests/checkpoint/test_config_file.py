"""config.json and generation_config.json, the hub's, transformers' and ours."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gemcut.checkpoint.config_file import (
    config_json,
    generation_config_json,
    read_config,
    read_generation_config,
)
from gemcut.config import GenerationConfig, ModelConfig
from gemcut.errors import BadConfig, CheckpointNotFound
from tests.checkpoint.models import EDGE, MODELS, TEXT_ONLY, UNIFIED

REPOSITORIES = ("gemma-4-E2B-it", "gemma-4-E4B-it", "gemma-4-12B-it", "gemma-4-26B-A4B-it", "gemma-4-31B-it")
GEMMA = GenerationConfig(
    stop_ids=(1, 106, 50),
    suppress_ids=(),
    do_sample=True,
    temperature=1.0,
    top_k=64,
    top_p=0.95,
    min_p=0.0,
    repetition_penalty=1.0,
)
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
each_repository = pytest.mark.parametrize("repository", REPOSITORIES)


def write(folder: Path, values: dict[str, Any], file: str = "config.json") -> Path:
    (folder / file).write_text(json.dumps(values))
    return folder


def theirs_of(values: dict[str, Any]) -> Any:
    """The config of transformers with these values."""
    import transformers

    kind = (
        transformers.Gemma4UnifiedConfig if "unified" in values["model_type"] else transformers.Gemma4Config
    )
    return kind(**{key: value for key, value in copy.deepcopy(values).items() if key != "model_type"})


def without(keys: set[str], values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


@each_model
def test_what_we_write_reads_back(model: ModelConfig, tmp_path: Path) -> None:
    assert read_config(write(tmp_path, config_json(model))) == model


@each_model
def test_what_transformers_writes_back_means_the_same(model: ModelConfig, tmp_path: Path) -> None:
    theirs_of(config_json(model)).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert "global_head_dim" not in values["text_config"]
    assert read_config(tmp_path) == model


@each_repository
def test_the_hubs_file_and_what_transformers_makes_of_it_mean_the_same(
    repository: str, shared: Path, tmp_path: Path
) -> None:
    shutil.copy(shared / f"facts/configs/{repository}.config.json", tmp_path / "config.json")
    config = read_config(tmp_path)
    theirs_of(json.loads((tmp_path / "config.json").read_text())).save_pretrained(tmp_path)
    assert read_config(tmp_path) == config
    assert config.dtype == "bfloat16"
    assert config.soft_tokens_per_image == 280
    assert (config.vision is not None, config.audio is not None) == (
        True,
        repository[8:11] in ("E2B", "E4B", "12B"),
    )


@each_repository
def test_transformers_reads_our_file_as_it_reads_the_hubs(
    repository: str, shared: Path, tmp_path: Path
) -> None:
    from transformers import AutoConfig

    shutil.copy(shared / f"facts/configs/{repository}.config.json", tmp_path / "config.json")
    hubs = AutoConfig.from_pretrained(tmp_path).to_dict()
    write(tmp_path, config_json(read_config(tmp_path)))
    ours = AutoConfig.from_pretrained(tmp_path).to_dict()
    unread = {"default_output_length", "expert_intermediate_size", "dtype", "transformers_version"}
    for section in ("text_config", "vision_config", "audio_config"):
        of_hub, of_ours = hubs.pop(section), ours.pop(section)
        assert (of_hub is None) == (of_ours is None)
        if of_hub is not None:
            if section == "vision_config":
                of_hub.pop("global_head_dim", None)  # equal to head_dim, and unread
            assert without(unread, of_ours) == without(unread, of_hub)
    elsewhere = {"eos_token_id", "eoa_token_id", "vision_soft_tokens_per_image"}
    assert without(unread | elsewhere, ours) == without(unread | elsewhere, hubs)


@pytest.mark.parametrize("model", [TEXT_ONLY, UNIFIED], ids=["gemma4_text", "gemma4_unified_text"])
def test_a_decoder_saved_alone_is_a_model_without_media(model: ModelConfig, tmp_path: Path) -> None:
    theirs = theirs_of(config_json(model)).text_config
    theirs.dtype = "float16"
    theirs.save_pretrained(tmp_path)
    config = read_config(tmp_path)
    assert config.text == model.text
    assert (config.vision, config.audio, config.dtype) == (None, None, "float16")
    assert (config.media_tokens.image, config.media_tokens.end_audio) == (258_880, 258_883)


def test_media_sections_may_be_absent_or_null(tmp_path: Path) -> None:
    values = config_json(TEXT_ONLY)
    assert values["vision_config"] is values["audio_config"] is None
    del values["vision_config"], values["audio_config"]
    assert read_config(write(tmp_path, values)) == TEXT_ONLY


def test_the_dtype_may_have_its_old_name(tmp_path: Path) -> None:
    values = config_json(TEXT_ONLY)
    values["torch_dtype"] = values.pop("dtype")
    assert read_config(write(tmp_path, values)) == TEXT_ONLY


def test_soft_tokens_are_the_hubs_where_transformers_left_them_out(tmp_path: Path) -> None:
    values = config_json(EDGE)
    del values["vision_soft_tokens_per_image"]
    assert read_config(write(tmp_path, values)).soft_tokens_per_image == 280


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gemma3"}, 'model_type is \'gemma3\', .*"gemma4" or "gemma4_unified"'),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"dtype": None}, "dtype is None"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        (
            {"quantization_config": {"quant_method": "awq"}},
            "quantization_config.quant_method is 'awq', which",
        ),
        ({"text_config": None}, "text_config is None and must be an object"),
        ({"vision_config": 3}, "vision_config is 3 and must be an object"),
        ({"zebra": 3}, "zebra is a key that gemcut does not know"),
    ],
)
def test_a_bad_value_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, config_json(EDGE) | change)
    with pytest.raises(BadConfig, match=f"^{tmp_path}/config.json: {message}"):
        read_config(tmp_path)


@pytest.mark.parametrize("section", ["text_config", "vision_config", "audio_config"])
def test_an_unknown_key_in_any_section_is_named(section: str, tmp_path: Path) -> None:
    values = config_json(EDGE)
    values[section]["zebra"] = 3
    write(tmp_path, values)
    with pytest.raises(BadConfig, match=rf"config.json: {section}\.zebra is a key that gemcut does not know"):
        read_config(tmp_path)


def test_a_decoder_of_another_kind_than_its_model_is_refused(tmp_path: Path) -> None:
    values = config_json(UNIFIED)
    values["text_config"]["model_type"] = "gemma4_text"
    write(tmp_path, values)
    with pytest.raises(BadConfig, match="text_config.model_type is 'gemma4_text'"):
        read_config(tmp_path)


def test_no_number_at_all_is_no_config(tmp_path: Path) -> None:
    write(tmp_path, {})
    with pytest.raises(BadConfig, match="config.json: model_type is missing"):
        read_config(tmp_path)


def test_a_folder_without_config_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=f"{tmp_path} has no config.json"):
        read_config(tmp_path)


@pytest.mark.parametrize("repository", ["", "gemma-4-12B-it."])
def test_the_hubs_generation_config_gives_three_stop_ids(
    repository: str, shared: Path, tmp_path: Path
) -> None:
    file = shared / f"facts/configs/{repository}generation_config.json"
    shutil.copy(file, tmp_path / "generation_config.json")
    suppressed = (258_883, 258_882) if repository else ()
    config = read_generation_config(tmp_path)
    assert config == GenerationConfig(
        stop_ids=(1, 106, 50),
        suppress_ids=suppressed,
        do_sample=True,
        temperature=1.0,
        top_k=64,
        top_p=0.95,
        min_p=0.0,
        repetition_penalty=1.0,
    )
    values = json.loads(file.read_text())
    del values["transformers_version"]
    assert generation_config_json(config, EDGE.text) == values


def test_without_the_file_the_stop_ids_are_the_configs_and_sampling_is_gemmas(tmp_path: Path) -> None:
    write(tmp_path, config_json(EDGE) | {"eos_token_id": [1, 106]})
    config = read_generation_config(tmp_path)
    assert config.stop_ids == (1, 106)
    assert (config.do_sample, config.temperature, config.top_k, config.top_p) == (True, 1.0, 64, 0.95)


def test_without_any_stop_ids_the_decoders_own_stops(tmp_path: Path) -> None:
    assert read_generation_config(write(tmp_path, config_json(EDGE))).stop_ids == (1,)


def test_a_file_that_transformers_derived_says_nothing_about_sampling(tmp_path: Path) -> None:
    write(tmp_path, config_json(EDGE))
    derived = {"_from_model_config": True, "eos_token_id": [1, 106], "bos_token_id": 2, "use_cache": True}
    write(tmp_path, derived, "generation_config.json")
    config = read_generation_config(tmp_path)
    assert (config.stop_ids, config.do_sample, config.top_k) == ((1, 106), True, 64)


def test_a_silent_file_means_greedy_as_the_format_says(tmp_path: Path) -> None:
    write(tmp_path, {"eos_token_id": 1}, "generation_config.json")
    config = read_generation_config(tmp_path)
    assert config == GenerationConfig(
        stop_ids=(1,),
        suppress_ids=(),
        do_sample=False,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        min_p=0.0,
        repetition_penalty=1.0,
    )


def test_what_we_write_of_sampling_reads_back(tmp_path: Path) -> None:
    write(tmp_path, generation_config_json(GEMMA, EDGE.text), "generation_config.json")
    assert read_generation_config(tmp_path) == GEMMA


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1}, "temperature is -1.0 and must be at least 0"),
        ({"min_p": 2}, "min_p is 2.0 and must be from 0 to 1"),
        ({"top_p": 1.5}, "top_p is 1.5 and must be at most 1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"do_sample": "yes"}, "do_sample is 'yes'"),
        ({"eos_token_id": "x"}, "eos_token_id is 'x'"),
        ({"num_beams": 4}, "num_beams is 4"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0"),
        ({"zebra": 4}, "zebra is a key that gemcut does not know"),
    ],
)
def test_bad_sampling_in_the_file_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, generation_config_json(GEMMA, EDGE.text) | change, "generation_config.json")
    with pytest.raises(BadConfig, match=f"generation_config.json: {message}"):
        read_generation_config(tmp_path)
