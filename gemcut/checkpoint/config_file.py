"""config.json and generation_config.json: read as the hub and as transformers 5 write them, and written.

Every key is understood, or known to change nothing, or an error: see `Section`.
"""

from pathlib import Path
from typing import Any

from gemcut.checkpoint.media_section import (
    audio_frames_json,
    audio_tower_json,
    media_tokens_json,
    read_audio_frames,
    read_audio_tower,
    read_media_tokens,
    read_vision_patches,
    read_vision_tower,
    vision_patches_json,
    vision_tower_json,
)
from gemcut.checkpoint.quantization_section import KEY, quantization_json, read_quantization_section
from gemcut.checkpoint.section import Section
from gemcut.checkpoint.text_section import ignore_marks, read_text, text_json
from gemcut.config import (
    AudioFrameConfig,
    AudioTowerConfig,
    GenerationConfig,
    MediaTokens,
    ModelConfig,
    QuantizedConfig,
    TextConfig,
    VisionPatchConfig,
    VisionTowerConfig,
)

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"

# What the hub's files say for every size; a decoder that was saved alone leaves them out.
SOFT_TOKENS_PER_IMAGE = 280
MEDIA_TOKENS = MediaTokens(
    image=258_880,
    begin_image=255_999,
    end_image=258_882,
    audio=258_881,
    begin_audio=256_000,
    end_audio=258_883,
    video=258_884,
)


def read_config(folder: Path) -> ModelConfig:
    """The numbers of the model in a folder, from its config.json.

    Reads whole models (model_type gemma4, gemma4_unified), with or without vision and audio sections, and
    decoders that were saved alone (gemma4_text, gemma4_unified_text).
    Raises CheckpointNotFound without the file, BadConfig for a key that is unknown, missing or unusable.
    """
    top = Section.read(folder / CONFIG_FILE)
    model_type = top.one_of("model_type", "gemma4", "gemma4_unified", "gemma4_text", "gemma4_unified_text")
    unified = model_type.startswith("gemma4_unified")
    dtype = top.one_of(
        "dtype" if top.has("dtype") or not top.has("torch_dtype") else "torch_dtype",
        "bfloat16",
        "float16",
        "float32",
    )
    top.expect(tie_word_embeddings=(True,))
    read_quantization_section(top)  # `read_quantization` gives it; here it is only checked
    if model_type.endswith("_text"):
        config = ModelConfig(
            text=read_text(top, unified=unified),
            vision=None,
            audio=None,
            media_tokens=MEDIA_TOKENS,
            soft_tokens_per_image=SOFT_TOKENS_PER_IMAGE,
            dtype=dtype,
        )
    else:
        config = _read_whole(top, unified, dtype)
    if config.text.num_kv_shared_layers == config.text.num_hidden_layers:
        top.fail("num_kv_shared_layers", "leaves no layer with K and V of its own, as in a drafter")
    ignore_marks(top)
    top.close()
    return config


def _read_whole(top: Section, unified: bool, dtype: Any) -> ModelConfig:
    soft_tokens = _read_soft_tokens(top)
    text = top.child("text_config")
    text.one_of("model_type", "gemma4_unified_text" if unified else "gemma4_text")
    vision: VisionTowerConfig | VisionPatchConfig | None = None
    audio: AudioTowerConfig | AudioFrameConfig | None = None
    if top.has("vision_config"):
        section = top.child("vision_config")
        vision = read_vision_patches(section, soft_tokens) if unified else read_vision_tower(section)
    if top.has("audio_config"):
        section = top.child("audio_config")
        audio = read_audio_frames(section) if unified else read_audio_tower(section)
    config = ModelConfig(
        text=read_text(text, unified=unified),
        vision=vision,
        audio=audio,
        media_tokens=read_media_tokens(top),
        soft_tokens_per_image=soft_tokens,
        dtype=dtype,
    )
    text.close()
    top.ignore("vision_config", "audio_config")  # null where they are still there
    top.ignore("eos_token_id")  # read_generation_config reads it
    top.ignore("bos_token_id", "pad_token_id")  # copies of the text section's that trainers leave here
    return config


def _read_soft_tokens(top: Section) -> int:
    key = "vision_soft_tokens_per_image"
    return top.integer(key) if top.has(key) else SOFT_TOKENS_PER_IMAGE


def config_json(config: ModelConfig) -> dict[str, Any]:
    """What config.json of a model says, in the hub's layout: `read_config` and transformers read it.

    A model without the 12B's kind of vision or audio input is written as gemma4: the decoders do not differ.
    """
    unified = isinstance(config.vision, VisionPatchConfig) or isinstance(config.audio, AudioFrameConfig)
    assert not (unified and isinstance(config.vision, VisionTowerConfig)), "a tower beside the 12B's frames"
    assert not (unified and isinstance(config.audio, AudioTowerConfig)), "a tower beside the 12B's patches"
    vision = audio = None
    if isinstance(config.vision, VisionPatchConfig):
        vision = vision_patches_json(config.vision, config.soft_tokens_per_image)
    elif config.vision is not None:
        vision = vision_tower_json(config.vision)
    if isinstance(config.audio, AudioFrameConfig):
        audio = audio_frames_json(config.audio)
    elif config.audio is not None:
        audio = audio_tower_json(config.audio)
    return {
        "architectures": [f"Gemma4{'Unified' if unified else ''}ForConditionalGeneration"],
        "model_type": "gemma4_unified" if unified else "gemma4",
        "dtype": config.dtype,
        "tie_word_embeddings": True,
        "vision_soft_tokens_per_image": config.soft_tokens_per_image,
        **media_tokens_json(config.media_tokens),
        "text_config": text_json(config.text, "gemma4_unified_text" if unified else "gemma4_text"),
        "vision_config": vision,
        "audio_config": audio,
    }


def quantized_config_json(config: QuantizedConfig) -> dict[str, Any]:
    """What config.json says of a model with weights in blocks: only gemcut reads such a checkpoint."""
    return config_json(config.model) | {KEY: quantization_json(config.quantization)}


def read_generation_config(folder: Path) -> GenerationConfig:
    """When to stop and how to sample, from generation_config.json.

    Without the file, or with one that transformers derived from config.json, the stop ids are config.json's
    eos_token_id and sampling is that of every Gemma 4: temperature 1, top-k 64, top-p 0.95.
    Raises BadConfig, and CheckpointNotFound where config.json is needed and missing.
    """
    file = folder / GENERATION_FILE
    if not file.exists():
        return _gemma_sampling(_read_stop_ids(folder))
    top = Section.read(file)
    top.ignore("bos_token_id", "pad_token_id", "transformers_version", "use_cache", "cache_implementation")
    top.ignore(
        "output_attentions", "output_hidden_states", "max_length", "max_new_tokens"
    )  # lengths are the caller's
    top.expect(num_beams=(None, 1), typical_p=(None, 1, 1.0))
    top.expect(no_repeat_ngram_size=(None, 0), num_return_sequences=(None, 1))
    stop_ids = top.integers("eos_token_id") if top.has("eos_token_id") else _read_stop_ids(folder)
    top.ignore("eos_token_id")
    if top.has("_from_model_config") and top.flag("_from_model_config"):
        config = _gemma_sampling(stop_ids)
    else:
        config = GenerationConfig(  # where the file is silent: what the format means by silence
            stop_ids=stop_ids,
            suppress_ids=top.integers("suppress_tokens") if top.has("suppress_tokens") else (),
            do_sample=top.flag("do_sample") if top.has("do_sample") else False,
            temperature=top.number("temperature") if top.has("temperature") else 1.0,
            top_k=top.integer("top_k", at_least=0) if top.has("top_k") else 50,
            top_p=top.positive("top_p") if top.has("top_p") else 1.0,
            min_p=top.number("min_p") if top.has("min_p") else 0.0,
            repetition_penalty=top.positive("repetition_penalty") if top.has("repetition_penalty") else 1.0,
        )
        if config.temperature < 0:
            top.fail("temperature", f"is {config.temperature} and must be at least 0")
        if config.top_p > 1:
            top.fail("top_p", f"is {config.top_p} and must be at most 1")
        if not 0 <= config.min_p <= 1:
            top.fail("min_p", f"is {config.min_p} and must be from 0 to 1")
    top.ignore("suppress_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p")
    top.ignore("repetition_penalty", "_from_model_config")
    top.close()
    return config


def generation_config_json(config: GenerationConfig, text: TextConfig) -> dict[str, Any]:
    """What generation_config.json says: `read_generation_config` and transformers read it."""
    suppressed = {"suppress_tokens": list(config.suppress_ids)} if config.suppress_ids else {}
    min_p = {"min_p": config.min_p} if config.min_p else {}
    penalty = {"repetition_penalty": config.repetition_penalty} if config.repetition_penalty != 1 else {}
    return {
        **min_p,
        **penalty,
        "bos_token_id": text.bos_token_id,
        "do_sample": config.do_sample,
        "eos_token_id": list(config.stop_ids),
        "pad_token_id": text.pad_token_id,
        **suppressed,
        "temperature": config.temperature,
        "top_k": config.top_k,
        "top_p": config.top_p,
    }


def _read_stop_ids(folder: Path) -> tuple[int, ...]:
    top = Section.read(folder / CONFIG_FILE)
    if top.has("eos_token_id"):
        return top.integers("eos_token_id")
    return top.child("text_config").integers("eos_token_id")


def _gemma_sampling(stop_ids: tuple[int, ...]) -> GenerationConfig:
    return GenerationConfig(
        stop_ids=stop_ids,
        suppress_ids=(),
        do_sample=True,
        temperature=1.0,
        top_k=64,
        top_p=0.95,
        min_p=0.0,
        repetition_penalty=1.0,
    )
