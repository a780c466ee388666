"""config.json of a drafter (the hub's "assistant" models), read and written."""

from pathlib import Path
from typing import Any

from gemcut.checkpoint.config_file import CONFIG_FILE
from gemcut.checkpoint.section import Section
from gemcut.checkpoint.text_section import ignore_marks, read_text, text_json
from gemcut.config import ClustersConfig, DrafterConfig, TextConfig


def read_drafter_config(folder: Path) -> DrafterConfig:
    """The numbers of the drafter in a folder, from its config.json.

    Raises CheckpointNotFound without the file, BadConfig for a key that is unknown, missing or unusable.
    """
    top = Section.read(folder / CONFIG_FILE)
    unified = top.one_of("model_type", "gemma4_assistant", "gemma4_unified_assistant") != "gemma4_assistant"
    top.expect(tie_word_embeddings=(True,), quantization_config=(None,))
    section = top.child("text_config")
    section.one_of("model_type", "gemma4_unified_text" if unified else "gemma4_text")
    text = read_text(section, unified=unified)
    _check_layers(section, text)
    section.close()
    config = DrafterConfig(
        text=text,
        backbone_hidden_size=top.integer("backbone_hidden_size"),
        clusters=_read_clusters(top, text.vocab_size),
        dtype=top.one_of("dtype", "bfloat16", "float16", "float32"),
    )
    top.ignore("audio_token_id", "boa_token_id", "eoa_token_id", "image_token_id", "boi_token_id")
    top.ignore(
        "eoi_token_id", "video_token_id", "eos_token_id", "bos_token_id", "pad_token_id"
    )  # the target's
    ignore_marks(top)
    top.close()
    return config


def _check_layers(section: Section, text: TextConfig) -> None:
    """A drafter's layers are plain ones that all read another model's K and V."""
    if text.num_kv_shared_layers != text.num_hidden_layers:
        section.fail(
            "num_kv_shared_layers",
            f"is {text.num_kv_shared_layers}, and all {text.num_hidden_layers} layers of a drafter share",
        )
    plain = {
        "hidden_size_per_layer_input": text.hidden_size_per_layer_input == 0,
        "enable_moe_block": text.experts is None,
        "use_double_wide_mlp": not text.use_double_wide_mlp,
        "final_logit_softcapping": text.final_logit_softcapping is None,
    }
    for key, fits in plain.items():
        if not fits:
            section.fail(key, "is set, and drafters have no such part")


def _read_clusters(top: Section, vocab_size: int) -> ClustersConfig | None:
    if not top.flag("use_ordered_embeddings"):
        top.ignore("num_centroids", "centroid_intermediate_top_k")
        return None
    clusters = ClustersConfig(
        num_centroids=top.integer("num_centroids"),
        centroid_intermediate_top_k=top.integer("centroid_intermediate_top_k"),
    )
    if vocab_size % clusters.num_centroids:
        top.fail(
            "num_centroids",
            f"is {clusters.num_centroids} and must divide the vocabulary of {vocab_size} tokens",
        )
    if clusters.centroid_intermediate_top_k > clusters.num_centroids:
        top.fail(
            "centroid_intermediate_top_k",
            f"is {clusters.centroid_intermediate_top_k} and there are {clusters.num_centroids} clusters",
        )
    return clusters


def drafter_config_json(config: DrafterConfig) -> dict[str, Any]:
    """What config.json of a drafter says, in the hub's layout."""
    clusters = config.clusters
    numbers = {} if clusters is None else vars(clusters)
    return {
        "architectures": ["Gemma4AssistantForCausalLM"],
        "model_type": "gemma4_assistant",
        "dtype": config.dtype,
        "backbone_hidden_size": config.backbone_hidden_size,
        "use_ordered_embeddings": clusters is not None,
        **numbers,
        "tie_word_embeddings": True,
        "text_config": text_json(config.text, "gemma4_text"),
    }
