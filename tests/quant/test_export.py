"""A model as a GGUF file: read back, it is the same."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gemcut.api import Gemma
from gemcut.checkpoint.gguf_write import GgufKind
from gemcut.config import Quantization
from gemcut.errors import BadOption, BadTokenizer, BadWeightFile, WeightMismatch
from gemcut.kernels.blocks import to_blocks
from gemcut.opened import open_checkpoint
from gemcut.quant import export
from gemcut.quant.export import Exporting, model_name
from gemcut.quant.quantize import Quantizing
from tests.quant.models import BIG, EDGE, TEXTS, assert_same_logits, logits, write_model

ORDINARY, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6


def exported(folder: Path, out: Path, kind: GgufKind | None = None) -> Path:
    work = Exporting(source=open_checkpoint(folder), kind=kind)
    work.write(out, work.pieces(), overwrite=False)
    return out


def quantized(folder: Path, out: Path, quantization: Quantization) -> Path:
    work = Quantizing(source=open_checkpoint(folder), quantization=quantization)
    work.write(out, work.tensors(), overwrite=False)
    return out


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_plain_model_comes_back_unchanged(text: str, dtype: torch.dtype, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", TEXTS[text], dtype)
    file = exported(folder, tmp_path / "x.gguf")
    assert_same_logits(logits(file), logits(folder))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("kind", "form"), [("Q4_0", "int4"), ("Q8_0", "int8")])
def test_a_type_of_blocks_is_what_quantize_makes(
    text: str, kind: GgufKind, form: str, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "plain", TEXTS[text])
    everything = Quantization(projections=form, embedding=form, per_layer_table=form)  # type: ignore[arg-type]
    blocks = quantized(folder, tmp_path / "blocks", everything)
    file = exported(folder, tmp_path / "x.gguf", kind)
    assert_same_logits(logits(file), logits(blocks))
    again = exported(blocks, tmp_path / "y.gguf")
    assert_same_logits(logits(again), logits(blocks))
    assert {t.name: t.tensor_type for t in gguf.GGUFReader(again).tensors} == {
        t.name: t.tensor_type for t in gguf.GGUFReader(file).tensors
    }


@pytest.mark.parametrize(("kind", "dtype"), [("BF16", "bfloat16"), ("F16", "float16"), ("F32", "float32")])
def test_a_plain_type_is_a_rounding(kind: GgufKind, dtype: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", EDGE)
    tensors = {t.name: t for t in gguf.GGUFReader(exported(folder, tmp_path / "x.gguf", kind)).tensors}
    name = "model.language_model.layers.2.mlp.up_proj.weight"
    ((_, plain),) = open_checkpoint(folder).weights.stream([name])
    theirs = gguf.quants.dequantize(
        tensors["blk.2.ffn_up.weight"].data, tensors["blk.2.ffn_up.weight"].tensor_type
    )
    np.testing.assert_array_equal(theirs, plain.to(getattr(torch, dtype)).float().numpy())


def test_blocks_of_another_type_are_made_of_their_values(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    choice = Quantization(projections="int8", embedding="int8", per_layer_table="int8")
    blocks = quantized(folder, tmp_path / "blocks", choice)
    tensors = {t.name: t for t in gguf.GGUFReader(exported(blocks, tmp_path / "x.gguf", "Q4_0")).tensors}
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    ((_, stored),) = open_checkpoint(blocks).weights.stream([name])
    values = gguf.quants.dequantize(stored.numpy(), gguf.GGMLQuantizationType.Q8_0)
    ours = to_blocks(torch.from_numpy(values), "int4").numpy()
    np.testing.assert_array_equal(np.array(tensors["blk.0.ffn_up.weight"].data), ours)


def test_how_many_rows_are_changed_at_a_time_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 E2B's per-layer table has 9 GB."""
    folder = write_model(tmp_path / "plain", TEXTS["experts"], torch.bfloat16)
    choice = Quantization(projections="int8", embedding=None, per_layer_table=None)
    for number, source in enumerate((folder, quantized(folder, tmp_path / "blocks", choice))):
        whole = exported(source, tmp_path / f"whole-{number}.gguf", "Q4_0")
        monkeypatch.setattr(export, "PIECE_VALUES", 2000)
        pieces = Exporting(source=open_checkpoint(source), kind="Q4_0").pieces()
        assert max(piece.shape[-1] * len(piece) for piece in pieces if piece.ndim > 1) <= 2000
        assert exported(source, tmp_path / f"p-{number}.gguf", "Q4_0").read_bytes() == whole.read_bytes()
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Q4_0", "mlp.up_proj.weight has values that are no numbers, or too large for int4"),
        ("F16", "mlp.up_proj.weight has values that float16 does not hold; export it as bf16"),
    ],
)
@pytest.mark.parametrize("bad", [torch.nan, 1e9])
def test_a_weight_that_the_type_does_not_hold_is_an_error(
    kind: GgufKind, message: str, bad: float, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.language_model.layers.1.mlp.up_proj.weight"][5, 7] = bad
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(BadWeightFile, match=f"layers.1.{message}"):
        exported(folder, tmp_path / "x.gguf", kind)
    assert not (tmp_path / "x.gguf").exists()


def test_what_is_not_as_was_asked_for_is_said(tmp_path: Path) -> None:
    narrow = open_checkpoint(write_model(tmp_path / "narrow", TEXTS["narrow"]))
    (note,) = Exporting(source=narrow, kind="Q4_0").notes
    assert note == "7 matrices stay as they are: their rows are no multiple of 32"
    assert Exporting(source=narrow, kind="BF16").notes == Exporting(source=narrow, kind=None).notes == ()
    plain = write_model(tmp_path / "plain", BIG)
    choice = Quantization(projections="int8", embedding=None, per_layer_table=None)
    blocks = open_checkpoint(quantized(plain, tmp_path / "blocks", choice))
    (note,) = Exporting(source=blocks, kind="Q4_0").notes
    assert note == "26 matrices were rounded to blocks before; the original model loses less"
    assert Exporting(source=blocks, kind="Q8_0").notes == Exporting(source=blocks, kind=None).notes == ()


def test_norms_scalars_and_routers_are_float32_as_llama_cpp_wants_them(tmp_path: Path) -> None:
    file = exported(
        write_model(tmp_path / "plain", TEXTS["experts"], torch.bfloat16), tmp_path / "x.gguf", "Q4_0"
    )
    kinds = {
        t.name: t.tensor_type.name for t in gguf.GGUFReader(file).tensors if t.name.startswith(("blk.0", "r"))
    }
    plain = {name for name, kind in kinds.items() if kind == "F32"}
    assert {"rope_freqs.weight", "blk.0.ffn_gate_inp.weight", "blk.0.ffn_gate_inp.scale"} < plain
    assert {"blk.0.ffn_down_exps.scale", "blk.0.layer_output_scale.weight", "blk.0.attn_norm.weight"} < plain
    assert {name for name, kind in kinds.items() if kind == "Q4_0"} == {
        f"blk.0.{part}.weight"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    } | {"blk.0.ffn_gate_up_exps.weight", "blk.0.ffn_down_exps.weight"}


def test_tokens_template_and_sampling_come_back(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", EDGE)
    ours = Gemma.load(str(exported(folder, tmp_path / "x.gguf")), device="cpu")
    theirs = Gemma.load(str(folder), device="cpu")
    for text in ("the other\n thing", "<|turn>user", "höher", "", " a  b"):
        assert ours.tokenizer.encode(text) == theirs.tokenizer.encode(text)
        assert ours.tokenizer.encode(text, special=True) == theirs.tokenizer.encode(text, special=True)
    assert ours.prompt("Hello there") == theirs.prompt("Hello there")
    assert ours._loaded.generation == theirs._loaded.generation
    assert ours.config.media_tokens == theirs.config.media_tokens
    assert ours.config.text == theirs.config.text
    ours.close()
    theirs.close()


def test_metadata_name_tokens_as_llama_cpp_s_converter_does(tmp_path: Path) -> None:
    fields = gguf.GGUFReader(exported(write_model(tmp_path / "plain", EDGE), tmp_path / "x.gguf")).fields
    said = {name: fields[name].contents() for name in fields if not name.startswith("GGUF.")}
    assert said["general.architecture"] == said["tokenizer.ggml.model"] == "gemma4"
    assert (said["general.type"], said["general.name"]) == ("model", "plain")
    assert said["general.file_type"] == gguf.LlamaFileType.ALL_F32
    assert said["general.quantization_version"] == gguf.GGML_QUANT_VERSION
    kinds = dict(zip(said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"], strict=True))
    assert (kinds["<|turn>"], kinds["<|channel>"], kinds["<0x41>"], kinds["the"]) == (
        CONTROL, USER_DEFINED, BYTE, ORDINARY,
    )  # fmt: skip
    assert said["tokenizer.ggml.merges"] == ["t h", "th e"]
    assert said["tokenizer.ggml.scores"] == [-1000.0] * len(kinds)
    assert (said["tokenizer.ggml.add_bos_token"], said["tokenizer.ggml.add_space_prefix"]) == (True, False)
    ids = [said[f"tokenizer.ggml.{name}_token_id"] for name in ("padding", "eos", "bos", "unknown")]
    assert ids == [0, 1, 2, 3]
    assert "tokenizer.ggml.mask_token_id" not in said  # this vocabulary has none; Gemma 4's has
    assert "<|turn>model" in said["tokenizer.chat_template"]


@pytest.mark.parametrize(("kind", "number"), [("Q4_0", 2), ("Q8_0", 7), ("BF16", 32), ("F16", 1)])
def test_the_file_s_type_is_told(kind: GgufKind, number: int, tmp_path: Path) -> None:
    work = Exporting(source=open_checkpoint(write_model(tmp_path / "plain", BIG)), kind=kind)
    assert work.pairs()["general.file_type"] == number
    assert gguf.LlamaFileType(number).name.endswith(kind)


def test_of_several_types_the_one_of_most_values_is_told(tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", EDGE, torch.bfloat16)
    choice = Quantization(projections="int4", embedding=None, per_layer_table=None)
    blocks = quantized(plain, tmp_path / "blocks", choice)
    assert Exporting(source=open_checkpoint(blocks), kind=None).pairs()["general.file_type"] == 2
    choice = Quantization(projections=None, embedding="int4", per_layer_table=None)
    blocks = quantized(plain, tmp_path / "others", choice)
    assert Exporting(source=open_checkpoint(blocks), kind=None).pairs()["general.file_type"] == 32


def test_a_model_of_the_hub_is_called_what_the_hub_calls_it(tmp_path: Path) -> None:
    """Its folder in the cache is called by a hash."""
    cached = tmp_path / "models--google--gemma-4-E2B-it" / "snapshots" / "0a1b2c3d"
    cached.mkdir(parents=True)
    assert model_name(cached) == "gemma-4-E2B-it"
    assert model_name(tmp_path / "mine") == "mine"


def test_more_tokens_at_which_to_stop_come_along(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    generation = folder / "generation_config.json"
    said = json.loads(generation.read_text())
    generation.write_text(json.dumps(said | {"eos_token_id": [1, 5, 12, 40, 41], "suppress_tokens": [7]}))
    file = open_checkpoint(exported(folder, tmp_path / "x.gguf"))
    assert file.generation == open_checkpoint(folder).generation
    generation.write_text(json.dumps(said | {"eos_token_id": [1, 5, 12, 40, 41, 42]}))
    with pytest.raises(BadOption, match="stops at 6 tokens, and a GGUF file has no place for more than 2"):
        exported(folder, tmp_path / "y.gguf")


def test_a_vocabulary_shorter_than_the_embedding_is_filled_up(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    del tokenizer["model"]["vocab"]["the"]
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:1]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    file = exported(folder, tmp_path / "x.gguf")
    fields = gguf.GGUFReader(file).fields
    assert (
        fields["tokenizer.ggml.tokens"].contents()[-1]
        == f"[PAD{len(fields['tokenizer.ggml.tokens'].data) - 1}]"
    )
    assert_same_logits(logits(file), logits(folder))


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    file = exported(folder, tmp_path / "x.gguf")
    with pytest.raises(BadOption, match="x.gguf is there already; name another file"):
        exported(folder, file)
    with pytest.raises(BadOption, match="x.gguf is a GGUF file already"):
        exported(file, tmp_path / "y.gguf")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(BadTokenizer, match="joins nothing, and llama.cpp needs its merges"):
        exported(folder, tmp_path / "y.gguf")
    assert not (tmp_path / "y.gguf").exists()


def test_tokens_that_the_model_has_no_rows_for_are_an_error(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    generation = folder / "generation_config.json"
    generation.write_text(generation.read_text().replace("12]", "12, 382]"))
    with pytest.raises(BadTokenizer, match="names the token 382 and the model's ids end at 381"):
        exported(folder, tmp_path / "y.gguf")


def test_a_checkpoint_that_is_not_whole_is_not_exported(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.language_model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightMismatch, match=r"lacks .*layers.1.mlp.up_proj.weight, of shape \[96, 64\]"):
        exported(folder, tmp_path / "y.gguf")


def test_nano_comes_back_unchanged(nano: Path, tmp_path: Path) -> None:
    file = exported(nano, tmp_path / "nano.gguf")
    ours, theirs = (Gemma.load(str(place), device="cpu", dtype="float32") for place in (file, nano))
    prompt = theirs.prompt("What is 274 + 389?", think=True)
    assert ours.prompt("What is 274 + 389?", think=True) == prompt
    assert_same_logits(ours.logits(prompt), theirs.logits(prompt))
    assert ours._loaded.generation.stop_ids == theirs._loaded.generation.stop_ids
    ours.close()
    theirs.close()
