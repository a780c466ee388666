"""The vocabulary in a GGUF file."""

import time
from pathlib import Path
from typing import Any

import gguf
import pytest

from gemcut.checkpoint.gguf_vocab import GgufVocab, read_gguf_vocab
from gemcut.errors import BadTokenizer, BadWeightFile, CheckpointNotFound

TOKENS = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", "a", "▁a", "\n", "<0x00>"]
KINDS = [3, 3, 3, 3, 1, 1, 1, 1, 6]
EXPECTED = GgufVocab(
    tokens=tuple(TOKENS),
    kinds=tuple(KINDS),
    merges=(("▁", "a"), ("\n", "\n")),
    bos_id=2,
    eos_id=1,
    unknown_id=3,
    pad_id=0,
    chat_template="{{ bos_token }}",
)


def write(folder: Path, **changes: Any) -> Path:
    """A GGUF file as the gguf package writes it; a change of None leaves the entry out."""
    entries = {
        "tokenizer_model": "gemma4",
        "token_list": TOKENS,
        "token_types": KINDS,
        "token_merges": ["▁ a", "\n \n"],
        "bos_token_id": 2,
        "eos_token_id": 1,
        "unk_token_id": 3,
        "pad_token_id": 0,
        "chat_template": "{{ bos_token }}",
    } | changes
    file = folder / "vocab.gguf"
    writer = gguf.GGUFWriter(file, "gemma4")
    for number, add in enumerate(
        (writer.add_uint8, writer.add_int8, writer.add_uint16, writer.add_int16, writer.add_uint32)
    ):
        add(f"other.{number}", number)
    for number, add in enumerate((writer.add_int32, writer.add_uint64, writer.add_int64, writer.add_bool)):
        add(f"more.{number}", number)
    writer.add_float32("other.float", 0.5)
    writer.add_float64("other.double", 0.5)
    writer.add_array("other.list", [1.5, 2.5])
    for name, value in entries.items():
        if value is not None:
            getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return file


def test_the_vocabulary_is_what_the_gguf_package_wrote(tmp_path: Path) -> None:
    assert read_gguf_vocab(write(tmp_path)) == EXPECTED


def test_a_chat_template_may_be_absent(tmp_path: Path) -> None:
    assert read_gguf_vocab(write(tmp_path, chat_template=None)).chat_template is None


def test_gemma_4s_vocabulary_is_read_in_seconds(shared: Path) -> None:
    """The gguf package's reader takes half a minute for it."""
    start = time.process_time()
    vocabulary = read_gguf_vocab(shared / "data/gemma-4-vocab.gguf")
    assert time.process_time() - start < 10
    assert (len(vocabulary.tokens), len(vocabulary.kinds), len(vocabulary.merges)) == (
        262_144,
        262_144,
        514_906,
    )
    ids = {
        2: "<bos>",
        50: "<|tool_response>",
        106: "<turn|>",
        107: "\n",
        9259: "Hello",
        236_743: "▁",
        258_880: "<|image|>",
    }
    assert {number: vocabulary.tokens[number] for number in ids} == ids
    assert (vocabulary.bos_id, vocabulary.eos_id, vocabulary.unknown_id, vocabulary.pad_id) == (2, 1, 3, 0)
    assert vocabulary.kinds[106] in (3, 4)
    assert vocabulary.merges[-1] == ("▁द", "िलाई")
    assert vocabulary.chat_template is not None
    assert "<|turn>" in vocabulary.chat_template


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer_model": "llama"}, "has the vocabulary of a 'llama' model"),
        ({"tokenizer_model": None}, "has no tokenizer.ggml.model"),
        ({"token_list": None}, "has no tokenizer.ggml.tokens"),
        ({"token_types": None}, "has no tokenizer.ggml.token_type"),
        ({"token_merges": None}, "has no tokenizer.ggml.merges"),
        ({"pad_token_id": None}, "has no tokenizer.ggml.padding_token_id"),
        ({"token_types": [1, 1]}, "has 9 tokens and 2 types of them"),
        ({"bos_token_id": 9}, "has 9 for its bos token and 9 tokens"),
        ({"token_merges": ["ab"]}, "has the merge 'ab', which is no pair"),
        ({"token_merges": ["a b c"]}, "has the merge 'a b c', which is no pair"),
        ({"token_merges": [1, 2]}, "has a tokenizer.ggml.merges that cannot be used"),
    ],
)
def test_a_file_without_gemmas_vocabulary_says_what_is_missing(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = write(tmp_path, **change)
    with pytest.raises(BadTokenizer, match=f"^{file} {message}"):
        read_gguf_vocab(file)


def test_a_file_of_another_format_says_how_it_begins(tmp_path: Path) -> None:
    for contents in (b"", b"GGUF", b"PK\3\4 a zip file and no GGUF at all"):
        (tmp_path / "x.gguf").write_bytes(contents)
        with pytest.raises(BadWeightFile, match="is no GGUF file"):
            read_gguf_vocab(tmp_path / "x.gguf")


def test_a_version_that_we_cannot_read_is_named(tmp_path: Path) -> None:
    contents = bytearray(write(tmp_path).read_bytes())
    contents[4] = 1
    (tmp_path / "x.gguf").write_bytes(contents)
    with pytest.raises(BadWeightFile, match="is GGUF of version 1; gemcut reads 2 and 3"):
        read_gguf_vocab(tmp_path / "x.gguf")


def test_a_truncated_file_is_an_error_wherever_it_ends(tmp_path: Path) -> None:
    contents = write(tmp_path).read_bytes()
    for length in range(24, len(contents) - 1):
        (tmp_path / "x.gguf").write_bytes(contents[:length])
        with pytest.raises(BadWeightFile, match="is truncated or damaged"):
            read_gguf_vocab(tmp_path / "x.gguf")


def test_a_damaged_byte_never_raises_anything_else(tmp_path: Path) -> None:
    contents = write(tmp_path).read_bytes()
    for place in range(24, len(contents)):
        (tmp_path / "x.gguf").write_bytes(contents[:place] + b"\xff" + contents[place + 1 :])
        try:
            read_gguf_vocab(tmp_path / "x.gguf")
        except (BadWeightFile, BadTokenizer):
            continue


def test_a_path_without_a_file_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.gguf", tmp_path):
        with pytest.raises(CheckpointNotFound, match="is no file; give the path of a GGUF file"):
            read_gguf_vocab(path)
