"""The towers as llama.cpp's second file: names, types and values."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gemcut.checkpoint.gguf_write import GgufKind
from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import VisionTowerConfig
from gemcut.errors import BadOption
from gemcut.model.gemma4 import Gemma4
from gemcut.opened import open_checkpoint
from gemcut.quant.export_media import ExportingMedia, media_name
from tests.checkpoint.models import EDGE, UNIFIED
from tests.quant.models import EDGE as TEXT
from tests.quant.models import write_model
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "senses"
    write_tiny_model(folder, senses=True)
    return folder


def exported(folder: Path, out: Path, kind: GgufKind | None = None) -> gguf.GGUFReader:
    work = ExportingMedia(source=open_checkpoint(folder), kind=kind)
    work.write(out, work.pieces(), overwrite=False)
    return gguf.GGUFReader(out)


def stored(folder: Path) -> dict[str, Tensor]:
    weights = open_checkpoint(folder).weights
    return {
        name: tensor.clone() for name, tensor in weights.stream(weights.tensors) if "language" not in name
    }


def test_every_tensor_of_the_towers_has_a_name_of_its_own() -> None:
    names = [name for name, _ in Gemma4(EDGE).named_parameters() if "language_model" not in name]
    assert len({media_name(name) for name in names}) == len(names) == 219


def test_names_are_those_of_llama_cpp() -> None:
    """As its converter printed them for this model."""
    audio = "model.audio_tower.layers.1."
    assert media_name(f"{audio}lconv1d.pre_layer_norm.weight") == "a.blk.1.conv_norm.weight"
    assert media_name(f"{audio}lconv1d.conv_norm.weight") == "a.blk.1.norm_conv.weight"
    assert media_name(f"{audio}feed_forward2.ffw_layer_1.linear.weight") == "a.blk.1.ffn_up_1.weight"
    assert media_name(f"{audio}self_attn.per_dim_scale") == "a.blk.1.per_dim_scale.weight"
    assert media_name(f"{audio}self_attn.post.input_max") == "a.blk.1.attn_out.input_max"
    vision = "model.vision_tower.encoder.layers.0."
    assert media_name(f"{vision}self_attn.q_proj.linear.weight") == "v.blk.0.attn_q.weight"
    assert media_name("model.vision_tower.std_scale") == "v.std_scale"
    assert media_name("model.embed_audio.embedding_projection.weight") == "mm.a.input_projection.weight"
    assert media_name("model.audio_tower.output_proj.bias") == "a.pre_encode.out.bias"


def test_values_come_back(folder: Path, tmp_path: Path) -> None:
    theirs = {tensor.name: tensor for tensor in exported(folder, tmp_path / "x.gguf").tensors}
    ours = stored(folder)
    assert len(theirs) == len(ours)
    for name, tensor in ours.items():
        found = theirs[media_name(name)]
        values = torch.from_numpy(np.array(found.data)).float()
        if name.endswith("per_dim_scale"):
            tensor = F.softplus(tensor)
        elif name.endswith("patch_embedder.input_proj.weight"):
            values = values.permute(0, 2, 3, 1)  # (D, channel, y, x) -> (D, y, x, channel)
        torch.testing.assert_close(values.reshape(tensor.shape), tensor.float(), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("kind", "matrices"), [("BF16", "BF16"), ("F16", "F16"), ("Q4_0", "F32"), (None, "F32")]
)
def test_matrices_have_the_type_that_was_asked_for(
    kind: GgufKind | None, matrices: str, folder: Path, tmp_path: Path
) -> None:
    reader = exported(folder, tmp_path / "x.gguf", kind)
    found = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    for name in ("v.blk.1.ffn_up.weight", "a.blk.0.conv_pw1.weight", "mm.input_projection.weight"):
        assert found[name] == matrices
    for name in (
        "v.position_embd.weight",
        "a.conv1d.1.weight",
        "a.blk.0.conv_dw.weight",
        "a.input_projection.weight",
    ):
        assert found[name] == "F32"
    assert found["v.patch_embd.weight"] == ("F16" if kind == "F16" else "F32")


def test_metadata_are_those_of_llama_cpp_s_converter(folder: Path, tmp_path: Path) -> None:
    fields = exported(folder, tmp_path / "x.gguf", "BF16").fields
    said = {name: field.contents() for name, field in fields.items() if not name.startswith("GGUF.")}
    assert said.pop("clip.vision.attention.layer_norm_epsilon") == pytest.approx(1e-6)
    assert said.pop("clip.audio.attention.layer_norm_epsilon") == pytest.approx(1e-6)
    assert said == {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.name": "senses",
        "general.file_type": 32,
        "general.quantization_version": 2,
        "clip.has_vision_encoder": True,
        "clip.use_gelu": True,
        "clip.vision.projector_type": "gemma4v",
        "clip.vision.projection_dim": 32,
        "clip.vision.image_size": 224,
        "clip.vision.patch_size": 16,
        "clip.vision.embedding_length": 48,
        "clip.vision.feed_forward_length": 64,
        "clip.vision.block_count": 2,
        "clip.vision.attention.head_count": 3,
        "clip.vision.image_mean": [0.0, 0.0, 0.0],
        "clip.vision.image_std": [1.0, 1.0, 1.0],
        "clip.has_audio_encoder": True,
        "clip.audio.projector_type": "gemma4a",
        "clip.audio.projection_dim": 32,
        "clip.audio.embedding_length": 64,
        "clip.audio.feed_forward_length": 256,
        "clip.audio.block_count": 2,
        "clip.audio.attention.head_count": 4,
        "clip.audio.num_mel_bins": 128,
    }


def test_a_model_without_towers_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="has nothing that sees or hears, .* leave out --mmproj"):
        ExportingMedia(source=open_checkpoint(write_model(tmp_path / "plain", TEXT)), kind=None)
    with pytest.raises(BadOption, match="no place for the tensor model.audio_tower.extra"):
        media_name("model.audio_tower.extra")


def test_what_llama_cpp_computes_otherwise_is_not_exported(folder: Path) -> None:
    source = open_checkpoint(folder)
    assert isinstance(source.config.vision, VisionTowerConfig)
    for change, message in (
        ({"pooling_kernel_size": 2}, "a pooling_kernel_size of 3, and .*/senses has 2; leave out --mmproj"),
        ({"rope_theta": 1e4}, "a rope_theta of 100.0, and .*/senses has 10000.0"),
    ):
        vision = replace(source.config.vision, **change)
        with pytest.raises(BadOption, match=f"llama.cpp computes with {message}"):
            ExportingMedia(source=replace(source, config=replace(source.config, vision=vision)), kind=None)


@pytest.fixture(scope="module")
def unified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small 12B: patches and frames go straight into the decoder."""
    folder = tmp_path_factory.mktemp("models") / "unified"
    generator = torch.Generator().manual_seed(0)
    tensors = [
        (name, torch.randn(parameter.shape, generator=generator).bfloat16())
        for name, parameter in Gemma4(UNIFIED).named_parameters()
    ]
    write_checkpoint(folder, UNIFIED, tensors, extra_files={})
    return folder


def test_the_12b_s_tensors_are_as_llama_cpp_s_converter_makes_them(unified: Path, tmp_path: Path) -> None:
    """What its `modify_tensors` does, written down again: columns (y, x, channel) become (channel, y, x)."""
    theirs = {tensor.name: tensor for tensor in exported(unified, tmp_path / "x.gguf").tensors}
    ours = {name.removeprefix("model."): tensor for name, tensor in stored(unified).items()}
    side = 48
    i = torch.arange(side * side * 3)
    perm = (i % (side * side)) // side * side * 3 + i % side * 3 + i // (side * side)
    expected = {
        "v.patch_embd.weight": ours["vision_embedder.patch_dense.weight"][:, perm],
        "v.patch_embd.bias": ours["vision_embedder.patch_dense.bias"],
        "v.patch_norm.1.weight": ours["vision_embedder.patch_ln1.weight"][perm],
        "v.patch_norm.1.bias": ours["vision_embedder.patch_ln1.bias"][perm],
        "v.patch_norm.2.weight": ours["vision_embedder.patch_ln2.weight"],
        "v.patch_norm.2.bias": ours["vision_embedder.patch_ln2.bias"],
        "v.patch_norm.3.weight": ours["vision_embedder.pos_norm.weight"],
        "v.patch_norm.3.bias": ours["vision_embedder.pos_norm.bias"],
        "v.position_embd.weight": ours["vision_embedder.pos_embedding"].permute(1, 0, 2),
        "mm.input_projection.weight": ours["embed_vision.embedding_projection.weight"],
        "mm.a.input_projection.weight": ours["embed_audio.embedding_projection.weight"],
    }
    assert theirs.keys() == expected.keys()
    for name, tensor in expected.items():
        found = theirs[name]
        values = torch.from_numpy(np.array(gguf.quants.dequantize(found.data, found.tensor_type)))
        torch.testing.assert_close(values.reshape(tensor.shape), tensor.float(), atol=0, rtol=0)
    matrices = {name for name, tensor in theirs.items() if tensor.tensor_type.name == "BF16"}
    assert matrices == {"mm.input_projection.weight", "mm.a.input_projection.weight"}


def test_the_12b_s_metadata_are_those_of_llama_cpp_s_converter(unified: Path) -> None:
    pairs = ExportingMedia(source=open_checkpoint(unified), kind=None).pairs()
    for part, projector, width in (("vision", "gemma4uv", 32), ("audio", "gemma4ua", 640)):
        assert pairs[f"clip.{part}.projector_type"] == projector
        assert pairs[f"clip.{part}.embedding_length"] == width
        for key in ("feed_forward_length", "block_count", "attention.head_count"):
            assert pairs[f"clip.{part}.{key}"] == 0
    assert pairs["clip.vision.patch_size"] == 16
    assert pairs["clip.audio.num_mel_bins"] == 128
