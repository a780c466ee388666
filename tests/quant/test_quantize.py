"""A checkpoint put into blocks: what it holds, what it computes, and what is left when it is killed."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gemcut.api import Gemma
from gemcut.checkpoint.config_file import CONFIG_FILE
from gemcut.checkpoint.find import find_checkpoint
from gemcut.checkpoint.quantization_section import read_quantization
from gemcut.config import BlockForm, Quantization
from gemcut.errors import BadOption, BadWeightFile, CheckpointNotFound, WeightMismatch
from gemcut.kernels.block_layout import VALUES
from gemcut.kernels.blocks import from_blocks, to_blocks
from gemcut.opened import open_checkpoint
from gemcut.quant.quantize import Quantizing
from tests.quant.models import BIG, EDGE, TEXTS, logits, write_model

WEIGHTS = "model.safetensors"
TABLE = "model.language_model.embed_tokens_per_layer.weight"
EMBEDDING = "model.language_model.embed_tokens.weight"
FORMS: tuple[BlockForm, ...] = ("int4", "int8")


def everything(form: BlockForm) -> Quantization:
    return Quantization(projections=form, embedding=form, per_layer_table=form)


def quantized(plain: Path, out: Path, quantization: Quantization) -> Path:
    work = Quantizing(source=open_checkpoint(plain), quantization=quantization)
    work.write(out, work.tensors(), overwrite=False)
    return out


def rounded(plain: Path, out: Path, quantization: Quantization) -> Path:
    """The plain model, with the values in it that the blocks stand for."""
    work = Quantizing(source=open_checkpoint(plain), quantization=quantization)
    out.mkdir()
    for file in plain.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    tensors = load_file(plain / WEIGHTS)
    for name, tensor in tensors.items():
        form = work.form(name)
        if form is not None:
            tensors[name] = from_blocks(to_blocks(tensor, form), form, torch.float32)
    save_file(tensors, out / WEIGHTS)
    return out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", TEXTS)
def test_it_computes_what_the_values_of_its_blocks_compute(
    text: str, form: BlockForm, tmp_path: Path
) -> None:
    plain = write_model(tmp_path / "plain", TEXTS[text])
    blocks = quantized(plain, tmp_path / "blocks", everything(form))
    ours = logits(blocks, "float64")  # native code, which rounds rows too, is for narrower dtypes
    theirs = logits(rounded(plain, tmp_path / "rounded", everything(form)), "float64")
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    far = (ours - logits(plain, "float64")).abs().max()
    assert 0 < far < (20 if form == "int4" else 2)


def test_it_answers_through_the_engine(tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", EDGE)
    gemma = Gemma.load(str(quantized(plain, tmp_path / "blocks", everything("int4"))), device="cpu")
    reply = gemma.reply("hello")
    assert reply.usage.completion_tokens > 0
    gemma.close()


def test_matrices_become_blocks_and_everything_else_stays(tmp_path: Path) -> None:
    out = quantized(write_model(tmp_path / "plain", EDGE), tmp_path / "blocks", everything("int4"))
    before, after = load_file(tmp_path / "plain" / WEIGHTS), load_file(out / WEIGHTS)
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        plain = before[name]
        stays = plain.ndim == 1 or name.endswith("per_layer_model_projection.weight")
        assert tensor.equal(plain if stays else to_blocks(plain, "int4")), name


def test_routers_and_rows_that_are_no_multiple_of_32_stay(tmp_path: Path) -> None:
    out = quantized(write_model(tmp_path / "plain", TEXTS["odd experts"]), tmp_path / "q", everything("int8"))
    kept = {
        name
        for name, tensor in load_file(out / WEIGHTS).items()
        if tensor.ndim > 1 and tensor.dtype.is_floating_point
    }
    assert {name.split(".", 4)[4] for name in kept} == {"router.proj.weight", "experts.down_proj"}


@pytest.mark.parametrize(
    ("choice", "forms"),
    [
        (Quantization(projections="int4", embedding="int8", per_layer_table=None), (18, 34, None)),
        (Quantization(projections=None, embedding=None, per_layer_table="int4"), (None, None, 18)),
    ],
)
def test_each_part_is_quantised_by_its_own_choice(
    choice: Quantization, forms: tuple[int | None, ...], tmp_path: Path
) -> None:
    out = quantized(write_model(tmp_path / "plain", EDGE), tmp_path / "blocks", choice)
    stored = load_file(out / WEIGHTS)
    names = "model.language_model.layers.0.mlp.up_proj.weight", EMBEDDING, TABLE
    widths = 64, 64, 128
    for name, width, form in zip(names, widths, forms, strict=True):
        assert stored[name].shape[1] == (width if form is None else width // VALUES * form)
    assert read_quantization(out / CONFIG_FILE) == choice
    assert logits(out).isfinite().all()


def test_blocks_stay_mapped_and_the_memory_is_theirs(tmp_path: Path) -> None:
    out = quantized(write_model(tmp_path / "plain", BIG), tmp_path / "blocks", everything("int4"))
    gemma = Gemma.load(str(out), device="cpu")
    names = dict(gemma.model.named_buffers())
    parameters = [tensor for tensor in gemma.model.parameters() if tensor.ndim > 1]
    assert EMBEDDING in names
    assert parameters == []
    gemma.close()


def test_what_belongs_to_the_model_comes_along(tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", BIG)
    out = quantized(plain, tmp_path / "blocks", everything("int8"))
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (out / name).read_bytes() == (plain / name).read_bytes()


def test_stop_ids_that_only_config_json_has_are_kept(tmp_path: Path) -> None:
    """Ours has no place for several: the hub has them there and in generation_config.json."""
    plain = write_model(tmp_path / "plain", BIG)
    config = json.loads((plain / CONFIG_FILE).read_text())
    (plain / CONFIG_FILE).write_text(json.dumps(config | {"eos_token_id": [1, 5]}))
    for number, contents in enumerate((None, {"_from_model_config": True}, {"do_sample": True})):
        (plain / "generation_config.json").unlink(missing_ok=True)
        if contents is not None:
            (plain / "generation_config.json").write_text(json.dumps(contents))
        out = quantized(plain, tmp_path / f"blocks-{number}", everything("int8"))
        assert open_checkpoint(out).generation == open_checkpoint(plain).generation
        assert open_checkpoint(out).generation.stop_ids == (1, 5)


def test_what_does_not_fit_into_blocks_is_known(tmp_path: Path) -> None:
    source = open_checkpoint(write_model(tmp_path / "plain", TEXTS["odd experts"]))
    kept = Quantizing(source=source, quantization=everything("int4")).kept
    assert [name.split(".", 3)[3] for name in kept] == [f"{n}.experts.down_proj" for n in range(4)]
    assert Quantizing(source=source, quantization=replace(everything("int4"), projections=None)).kept == []


@pytest.mark.parametrize("name", [EMBEDDING, "model.language_model.norm.weight"])
def test_a_checkpoint_that_is_not_whole_is_not_quantised(name: str, tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", BIG)
    tensors = load_file(plain / WEIGHTS)
    whole = tensors.pop(name)
    save_file(tensors, plain / WEIGHTS)
    with pytest.raises(WeightMismatch, match=f"plain lacks {name}, of shape"):
        quantized(plain, tmp_path / "blocks", everything("int4"))
    save_file(tensors | {name: whole[:32].clone()}, plain / WEIGHTS)
    with pytest.raises(WeightMismatch, match=rf"plain has {name} \[32.* for \["):
        quantized(plain, tmp_path / "blocks", everything("int4"))


def test_bytes_are_counted_before_they_are_written(tmp_path: Path) -> None:
    work = Quantizing(
        source=open_checkpoint(write_model(tmp_path / "plain", EDGE)), quantization=everything("int4")
    )
    assert work.num_bytes == sum(tensor.nbytes for _, tensor in work.tensors())


KILLED = """
import os, signal, sys
from pathlib import Path
from gemcut.opened import open_checkpoint
from gemcut.quant import quantize
from tests.quant.test_quantize import everything

def until_half(tensors):
    for number, item in enumerate(tensors):
        if number == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

quantize.SHARD_BYTES = 4096
work = quantize.Quantizing(source=open_checkpoint(Path(sys.argv[1])), quantization=everything("int4"))
work.write(Path(sys.argv[2]), until_half(work.tensors()), overwrite=False)
"""


def test_killed_half_way_it_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    plain, out = write_model(tmp_path / "plain", EDGE), tmp_path / "blocks"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(plain), str(out)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(out.rglob("*.safetensors")) + list(out.rglob("shard-*"))  # it had begun
    with pytest.raises(CheckpointNotFound):
        find_checkpoint(str(out), offline=True)
    quantized(plain, out, everything("int4"))
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    assert logits(out).isfinite().all()


def test_what_is_in_blocks_is_not_quantised_again(tmp_path: Path) -> None:
    out = quantized(write_model(tmp_path / "plain", BIG), tmp_path / "blocks", everything("int8"))
    with pytest.raises(BadOption, match="is in blocks already; start from the original model"):
        quantized(out, tmp_path / "again", everything("int4"))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e9])
def test_a_weight_that_is_no_number_is_an_error(bad: float, tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", BIG)
    tensors = load_file(plain / WEIGHTS)
    tensors[EMBEDDING][7, 7] = bad
    save_file(tensors, plain / WEIGHTS)
    with pytest.raises(BadWeightFile, match=f"{EMBEDDING} has values that are no numbers"):
        quantized(plain, tmp_path / "blocks", everything("int4"))


def test_blocks_of_another_size_are_an_error(tmp_path: Path) -> None:
    out = quantized(write_model(tmp_path / "plain", BIG), tmp_path / "blocks", everything("int8"))
    config = out / CONFIG_FILE
    config.write_text(config.read_text().replace('"embedding": "int8"', '"embedding": "int4"'))
    with pytest.raises(WeightMismatch, match=r"embed_tokens.weight \[382, 68\] for \[382, 36\]"):
        logits(out)
