"""Weights in GGUF files: used where they lie, or made anew with a note."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

from gemcut.api import Gemma
from gemcut.checkpoint import gguf_weights, gguf_write
from gemcut.checkpoint.block_names import PER_LAYER_TABLE
from gemcut.checkpoint.gguf_header import read_gguf_header
from gemcut.checkpoint.gguf_weights import GgufWeights, open_gguf_weights
from gemcut.checkpoint.gguf_write import GgufEntry, write_gguf
from gemcut.errors import BadConfig, BadWeightFile, GemcutError, WeightMismatch
from gemcut.kernels.blocks import to_blocks
from gemcut.load import load_model
from gemcut.opened import open_checkpoint
from gemcut.quant.export import Exporting
from tests.quant.models import BIG, EDGE, EXPERTS, IDS, assert_same_logits, logits, write_model

WIDE = replace(BIG, hidden_size=256, intermediate_size=256)
PER_LAYER = replace(EDGE, hidden_size_per_layer_input=64)  # rows of 256 values
EMBEDDING = "model.language_model.embed_tokens.weight"
LAYER = "model.language_model.layers.0."

Edit = Callable[[dict[str, tuple[GgufEntry, Tensor]]], None]


def rewritten(
    folder: Path, out: Path, edit: Edit, kind: Any = "F32", pairs: Mapping[str, Any] | None = None
) -> Path:
    """The model as a GGUF file, after somebody changed its tensors."""
    work = Exporting(source=open_checkpoint(folder), kind=kind)
    entries = {
        entry.name: (entry, tensor) for entry, tensor in zip(work.entries(), work.pieces(), strict=True)
    }
    edit(entries)
    extra = {} if pairs is None else pairs
    written = [entry for entry, _ in entries.values()]
    write_gguf(out, {**work.pairs(), **extra}, written, [tensor for _, tensor in entries.values()])
    return out


def opened(file: Path) -> GgufWeights:
    return open_gguf_weights(read_gguf_header(file))


def random_blocks(kind: gguf.GGMLQuantizationType, rows: int, width: int) -> Tensor:
    """Rows of blocks with random numbers and modest scales."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(int(kind))
    blocks = generator.integers(0, 256, (rows, width // values, size), dtype=np.uint8)
    scale = np.array([2**-10], np.float16).view(np.uint8)
    places = {12: (0, 2), 14: (208,), 6: (0,)}[int(kind)]
    for place in places:
        blocks[..., place : place + 2] = scale
    return torch.from_numpy(blocks.reshape(rows, -1))


def of_kind(monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, str]) -> Edit:
    """Makes tensors, by GGUF's names, random ones of another type."""

    def edit(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        for name, kind_name in changes.items():
            kind = gguf.GGMLQuantizationType[kind_name]
            monkeypatch.setitem(gguf_write.KINDS, kind_name, int(kind))  # type: ignore[arg-type]
            entry, _ = entries[name]
            tensor = random_blocks(kind, *entry.shape)
            entries[name] = replace(entry, kind=kind_name, num_bytes=tensor.nbytes), tensor  # type: ignore[arg-type]

    return edit


OTHERS = {
    "blk.0.ffn_gate.weight": "Q4_K",
    "token_embd.weight": "Q6_K",
    "blk.0.ffn_up.weight": "Q5_0",
    "blk.1.ffn_up.weight": "Q5_0",
}


def test_other_types_are_requantised_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "plain", WIDE)
    file = rewritten(folder, tmp_path / "x.gguf", of_kind(monkeypatch, OTHERS))
    weights = opened(file)
    assert weights.notes == (
        "tensors requantised, not without loss: 1 of Q4_K to int4, 2 of Q5_0 to int8, 1 of Q6_K to int8;"
        " files of Q4_0 and Q8_0 are used as they are",
    )
    gemma = Gemma.load(str(file), device="cpu")
    assert gemma.notes == weights.notes
    model = dict(gemma.model.named_buffers())
    reader = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    names = {
        "blk.0.ffn_gate.weight": (f"{LAYER}mlp.gate_proj.weight", "int4"),
        "token_embd.weight": (EMBEDDING, "int8"),
        "blk.0.ffn_up.weight": (f"{LAYER}mlp.up_proj.weight", "int8"),
    }
    for theirs, (ours, form) in names.items():
        values = torch.from_numpy(gguf.quants.dequantize(reader[theirs].data, reader[theirs].tensor_type))
        assert model[ours].equal(to_blocks(values, form))  # type: ignore[arg-type]
        assert torch.cat(list(weights.pieces(ours))).equal(values)
    assert gemma.logits(IDS).isfinite().all()
    gemma.close()


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K", "Q5_0"])
def test_a_per_layer_table_of_another_type_stays_in_the_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To put E2B's into blocks would take minutes at each start, and 2.5 GB of memory."""
    folder, table = write_model(tmp_path / "plain", PER_LAYER), "per_layer_token_embd.weight"
    file = rewritten(folder, tmp_path / "x.gguf", of_kind(monkeypatch, {table: kind}))
    (theirs,) = (tensor for tensor in gguf.GGUFReader(file).tensors if tensor.name == table)
    values = torch.from_numpy(np.array(gguf.quants.dequantize(theirs.data, theirs.tensor_type)))

    def widened(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        entries[table] = entries[table][0], values

    wide = rewritten(folder, tmp_path / "wide.gguf", widened)
    assert_same_logits(logits(file), logits(wide))
    assert opened(file).notes == ()
    ours, theirs_opened = open_checkpoint(file), open_checkpoint(wide)
    assert ours.num_values(PER_LAYER_TABLE) == theirs_opened.num_values(PER_LAYER_TABLE)
    gemma = Gemma.load(str(file), device="cpu")
    stored = dict(gemma.model.named_buffers())[PER_LAYER_TABLE]
    assert stored.equal(torch.from_numpy(np.array(theirs.data)))
    gemma.close()


def test_a_per_layer_table_of_another_width_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "per_layer_token_embd.weight"

    def wider(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        entry, tensor = entries[table]
        entries[table] = replace(entry, shape=(entry.shape[0], 512)), tensor
        of_kind(monkeypatch, {table: "Q4_K"})(entries)

    file = rewritten(write_model(tmp_path / "plain", PER_LAYER), tmp_path / "x.gguf", wider)
    with pytest.raises(
        WeightMismatch, match=r"values in .*per_layer.weight, and the model's is \[382, 256\]"
    ):
        Gemma.load(str(file), device="cpu")


def test_they_are_requantised_some_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """31B's embedding in Q6_K would take 5.6 GB at once."""
    file = rewritten(write_model(tmp_path / "plain", WIDE), tmp_path / "x.gguf", of_kind(monkeypatch, OTHERS))
    whole = Gemma.load(str(file), device="cpu")
    monkeypatch.setattr(gguf_weights, "PIECE_VALUES", 3 * 256 + 5)
    assert {len(piece) for piece in opened(file).pieces(EMBEDDING)} == {3, 1}  # 382 rows
    apart = Gemma.load(str(file), device="cpu")
    buffers = dict(apart.model.named_buffers())
    assert all(buffer.equal(buffers[name]) for name, buffer in whole.model.named_buffers())
    whole.close()
    apart.close()


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
def test_blocks_are_used_where_they_lie(kind: str, tmp_path: Path) -> None:
    file = rewritten(write_model(tmp_path / "plain", EDGE), tmp_path / "x.gguf", lambda _: None, kind)
    weights = opened(file)
    assert weights.notes == ()
    assert not weights.made
    reader = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    theirs = torch.from_numpy(np.array(reader["token_embd.weight"].data))
    assert weights.mapped(EMBEDDING).equal(theirs)
    assert weights.blocks[EMBEDDING] == ("int4" if kind == "Q4_0" else "int8")


def test_fused_q_k_and_v_are_cut_apart(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", EDGE)

    def fuse(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        for layer in (0, 1):
            parts = [entries.pop(f"blk.{layer}.attn_{part}.weight") for part in "qkv"]
            rows = sum(entry.shape[0] for entry, _ in parts)
            whole = torch.cat([tensor for _, tensor in parts])
            name = f"blk.{layer}.attn_qkv.weight"
            entry = replace(parts[0][0], name=name, shape=(rows, EDGE.hidden_size), num_bytes=whole.nbytes)
            entries[name] = entry, whole

    for kind in ("F32", "Q4_0"):
        apart = rewritten(folder, tmp_path / f"apart-{kind}.gguf", lambda _: None, kind)
        fused = rewritten(folder, tmp_path / f"fused-{kind}.gguf", fuse, kind)
        assert_same_logits(logits(fused), logits(apart))


@pytest.mark.parametrize(
    ("tensors", "dtype"),
    [
        (lambda t: t.bfloat16().to(t.dtype), "bfloat16"),
        (lambda t: t.half().to(t.dtype), "float32"),  # never float16: activations may not fit
        (lambda t: t, "float32"),
    ],
)
def test_the_dtype_is_the_narrowest_that_loses_nothing(
    tensors: Callable[[Tensor], Tensor], dtype: str, tmp_path: Path
) -> None:
    def edit(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        for name, (entry, tensor) in entries.items():
            if name != "rope_freqs.weight":
                entries[name] = entry, tensors(tensor)

    file = rewritten(write_model(tmp_path / "plain", EDGE), tmp_path / "x.gguf", edit)
    assert open_checkpoint(file).config.dtype == dtype


def test_matrices_in_f16_that_were_bfloat16_are_bfloat16_again(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", EDGE, torch.bfloat16)
    file = rewritten(folder, tmp_path / "x.gguf", lambda _: None, "F16")
    assert open_checkpoint(file).config.dtype == "bfloat16"
    assert_same_logits(logits(file), logits(folder))


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_a_large_tensor_s_first_values_say_what_it_was(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_weights, "MOST_COMPARED", 100)
    file = rewritten(write_model(tmp_path / "plain", EDGE), tmp_path / "x.gguf", lambda _: None, kind)
    assert open_checkpoint(file).config.dtype == "float32"  # norms are not rounded


def test_weights_of_layers_that_share_are_ignored(tmp_path: Path) -> None:
    """llama.cpp's converter writes them where the hub has them."""

    def edit(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        for part in ("attn_k", "attn_v", "attn_k_norm"):
            entry, tensor = entries[f"blk.1.{part}.weight"]
            entries[f"blk.3.{part}.weight"] = replace(entry, name=f"blk.3.{part}.weight"), tensor

    folder = write_model(tmp_path / "plain", EDGE)
    plain = rewritten(folder, tmp_path / "plain.gguf", lambda _: None)
    more = rewritten(folder, tmp_path / "more.gguf", edit)
    assert_same_logits(logits(more), logits(plain))


def test_the_share_that_is_rotated_is_in_a_tensor(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", EXPERTS)
    assert opened(rewritten(folder, tmp_path / "x.gguf", lambda _: None)).rotated == 0.25

    def odd(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        entry, tensor = entries["rope_freqs.weight"]
        entries["rope_freqs.weight"] = entry, tensor.clamp(max=2.0)

    with pytest.raises(BadWeightFile, match="which is not Gemma 4's rotation"):
        opened(rewritten(folder, tmp_path / "y.gguf", odd))

    def short(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        entry, tensor = entries["rope_freqs.weight"]
        entries["rope_freqs.weight"] = replace(entry, shape=(4,), num_bytes=16), tensor[:4]

    for number, edit in enumerate((short, lambda entries: entries.pop("rope_freqs.weight"))):
        with pytest.raises(BadWeightFile, match="has no rope_freqs.weight with a number for each pair"):
            opened(rewritten(folder, tmp_path / f"{number}.gguf", edit))


def renamed(old: str, new: str) -> Edit:
    def edit(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        entry, tensor = entries.pop(old)
        entries[new] = replace(entry, name=new), tensor

    return edit


def test_tensors_that_do_not_belong_are_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    with pytest.raises(
        WeightMismatch, match="1 tensors that gemcut does not know, v.patch_embd.weight first"
    ):
        opened(rewritten(folder, tmp_path / "x.gguf", renamed("blk.0.ffn_up.weight", "v.patch_embd.weight")))
    with pytest.raises(WeightMismatch, match="has an output head of its own"):
        opened(rewritten(folder, tmp_path / "y.gguf", renamed("blk.0.ffn_up.weight", "output.weight")))
    lacking = rewritten(folder, tmp_path / "z.gguf", renamed("blk.0.ffn_up.weight", "blk.0.inp_gate.weight"))
    with pytest.raises(WeightMismatch, match=r"it lacks .*layers.0.mlp.up_proj.weight; it has, unknown"):
        Gemma.load(str(lacking), device="cpu")


def test_a_type_that_nobody_reads_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gguf_write.KINDS, "odd", 99)  # type: ignore[arg-type]

    def edit(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        entry, tensor = entries["token_embd.weight"]
        entries["token_embd.weight"] = replace(entry, kind="odd"), tensor  # type: ignore[arg-type]

    with pytest.raises(BadWeightFile, match="has a tensor of type 99, which gemcut does not read"):
        opened(rewritten(write_model(tmp_path / "plain", BIG), tmp_path / "x.gguf", edit))


def test_a_truncated_file_says_where_it_ends(tmp_path: Path) -> None:
    file = rewritten(write_model(tmp_path / "plain", BIG), tmp_path / "x.gguf", lambda _: None)
    contents = file.read_bytes()
    file.write_bytes(contents[:-4096])
    with pytest.raises(BadWeightFile, match=f"is truncated: it has {len(contents) - 4096} bytes"):
        opened(file)


def test_a_part_of_a_split_file_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", BIG)
    file = rewritten(folder, tmp_path / "x.gguf", lambda _: None, pairs={"split.count": 2})
    with pytest.raises(BadConfig, match="one of 2 parts; join them first, with: llama-gguf-split --merge"):
        open_checkpoint(file)


@pytest.mark.parametrize("heads", [(2,), np.int32(-1), "two", 2**30])
def test_fused_q_k_and_v_that_cannot_be_told_apart_are_an_error(heads: Any, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", EDGE)
    fused = renamed("blk.1.attn_q.weight", "blk.1.attn_qkv.weight")
    pairs = {"gemma4.attention.head_count_kv": heads}
    file = rewritten(folder, tmp_path / "x.gguf", fused, pairs=pairs)
    with pytest.raises(BadWeightFile, match=r"q, k and v of layer 1 in one tensor of shape \[64, 64\]"):
        opened(file)


def test_a_tensor_that_comes_fused_and_apart_is_named(tmp_path: Path) -> None:
    def edit(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        entry, tensor = entries["blk.0.attn_q.weight"]
        name = "blk.0.attn_qkv.weight"
        entries[name] = (
            replace(entry, name=name, shape=(64, 64), num_bytes=2 * entry.num_bytes),
            torch.cat((tensor, tensor)),
        )

    file = rewritten(write_model(tmp_path / "plain", EDGE), tmp_path / "x.gguf", edit)
    with pytest.raises(WeightMismatch, match="1 tensors that gemcut does not know, blk.0.attn_qkv.weight"):
        opened(file)


def test_a_norm_in_blocks_is_no_norm(tmp_path: Path) -> None:
    def edit(entries: dict[str, tuple[GgufEntry, Tensor]]) -> None:
        entry, tensor = entries["blk.0.attn_norm.weight"]
        blocks = to_blocks(tensor, "int8")
        entries["blk.0.attn_norm.weight"] = replace(entry, kind="Q8_0", num_bytes=blocks.nbytes), blocks

    file = rewritten(write_model(tmp_path / "plain", BIG), tmp_path / "x.gguf", edit)
    with pytest.raises(WeightMismatch, match=r"input_layernorm.weight \[68\] in blocks of 32"):
        Gemma.load(str(file), device="cpu")


def test_a_damaged_byte_before_the_weights_never_raises_anything_else(tmp_path: Path) -> None:
    """In the model's numbers, and in the tensors' names, shapes, types and places."""
    text = replace(EDGE, layer_types=EDGE.layer_types[:2], num_kv_shared_layers=0)
    file = rewritten(write_model(tmp_path / "plain", text), tmp_path / "x.gguf", lambda _: None)
    contents, rng = file.read_bytes(), random.Random(0)
    end = min(tensor.start for tensor in read_gguf_header(file).tensors.values())
    places = [
        *range(contents.index(b"gemma4.block_count"), contents.index(b"tokenizer.ggml.model")),
        *range(contents.index(b"rope_freqs.weight"), end),
    ]
    refused = 0
    for place in rng.sample(places, 400):
        damaged = bytearray(contents)
        damaged[place] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            source = open_checkpoint(file)
            load_model(source, source.config, torch.device("cpu"), torch.float32)
        except GemcutError:
            refused += 1
    assert refused > 300
