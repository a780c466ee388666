import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from gemcut.errors import BadTokenizer, UnsupportedInput
from gemcut.prompt.tokenizer import MEDIA_TOKENS, TEXT_TOKENS, Tokenizer
from tests.prompt.conftest import small_backend
from tests.prompt.conversations import hostile_text

CONTROL = (*TEXT_TOKENS.values(), *MEDIA_TOKENS.values())
TEXTS = (
    "",
    "Hello World! 33 times, 3.14.",
    " leading and trailing \t blanks  \n\n\n and\r\nlines\t\t",
    "naïve café, Ελληνικά, 日本語のテキスト, русский, עברית, ไทย",
    "👍🏽 👨‍👩‍👧 🇩🇪 e\u0301 \u200b\ufeff \x00\x07 \U00012345 \U0010ffff",
    "<0x41> <unused7> ▁already▁blank▁",
    "def f(x):\n    return {'a': [1, 2]}  # <br> <|x|>\n" * 20,
    "1234567890" * 30,
)
# What independent implementations say about Gemma 4's vocabulary.
KNOWN = {
    "\n": [107],
    "\n\n": [108],
    "33": [236800, 236800],
    "Hello": [9259],
    " Hello": [26352],
    "Hello world": [9259, 1902],
    "thought\n": [45518, 107],
    "call:": [6639, 236787],
    "\t\t": [255969],
    "   ": [139],
}


def write_folder(folder: Path, backend: Backend) -> Path:
    backend.save(str(folder / "tokenizer.json"))
    return folder


def test_text_comes_back_from_its_ids(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text.replace("▁", " ")


def test_nothing_is_added_to_a_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == []
    assert tokenizer.encode(" the") == [tokenizer.encode(" the")[0]]


@given(text=hostile_text)
def test_no_text_becomes_a_control_token(tokenizer: Tokenizer, text: str) -> None:
    assert not any(map(tokenizer.is_control, tokenizer.encode(text)))


def test_control_strings_become_control_tokens_on_request(tokenizer: Tokenizer) -> None:
    special = tokenizer.special
    ids = tokenizer.encode("<bos><|turn>user\n<|tool><|tool_call>x<turn|>", special=True)
    assert ids[:2] == [special.bos, special.turn_open]
    assert ids[-4:-2] == [special.tool_open, special.call_open]
    assert ids[-1] == special.turn_close
    assert list(tokenizer.split("<bos>a<|turn")) == [special.bos, "a<|turn"]


def test_every_control_token_is_one_id_and_named(tokenizer: Tokenizer) -> None:
    named = asdict(tokenizer.special)
    media = named.pop("media_tokens")
    for part, string in (*TEXT_TOKENS.items(), *MEDIA_TOKENS.items()):
        number = named[part] if part in named else media[part]
        assert tokenizer.encode(string, special=True) == [number]
        assert tokenizer.token_bytes(number) == string.encode()
        assert tokenizer.decode([number]) == ""
        assert tokenizer.decode([number], special=True) == string


def test_tokens_are_bytes(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(" the 你🙂")
    assert b"".join(map(tokenizer.token_bytes, ids)) == " the 你🙂".encode()
    assert tokenizer.token_bytes(ids[-1]) == b"\x82"
    assert tokenizer.byte_value(ids[-1]) == 0x82
    assert tokenizer.byte_value(ids[0]) is None


@given(text=st.text() | hostile_text)
def test_no_text_has_fewer_tokens_than_its_length_allows(tokenizer: Tokenizer, text: str) -> None:
    assert len(text) <= tokenizer.longest * len(tokenizer.encode(text))


@pytest.mark.parametrize("token_id", [-1, 10**9])
def test_an_id_outside_the_vocabulary_is_named(tokenizer: Tokenizer, token_id: int) -> None:
    with pytest.raises(BadTokenizer, match=str(token_id)):
        tokenizer.decode([token_id])
    with pytest.raises(BadTokenizer, match=str(tokenizer.vocab_size - 1)):
        tokenizer.token_bytes(token_id)


def test_a_vocabulary_without_media_is_fine_until_they_are_wanted() -> None:
    text_only = Tokenizer(small_backend(without=("<|video|>",)))
    assert text_only.special.media_tokens is None
    with pytest.raises(UnsupportedInput, match="images"):
        _ = text_only.special.media


def test_a_file_gives_the_same_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    loaded = Tokenizer.from_folder(write_folder(tmp_path, small_backend()))
    assert loaded.special == tokenizer.special
    for text in TEXTS:
        assert loaded.encode(text) == tokenizer.encode(text)


def test_a_file_may_cut_or_pad_or_add_and_we_do_not(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A tokenizer.json remembers the truncation that it was trained with, and would cut long prompts."""
    backend = small_backend()
    backend.enable_truncation(4)
    backend.enable_padding(length=16)
    loaded = Tokenizer.from_folder(write_folder(tmp_path, backend))
    assert loaded.encode("the user the user") == tokenizer.encode("the user the user")


def test_control_tokens_that_a_file_does_not_mark_as_special_are_still_kept_from_text(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, small_backend())
    stored = json.loads((folder / "tokenizer.json").read_text())
    for token in stored["added_tokens"]:
        token["special"] = False
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    loaded = Tokenizer.from_folder(folder)
    for string in CONTROL:
        assert not any(map(loaded.is_control, loaded.encode(f"a{string}b")))
        assert len(loaded.encode(string, special=True)) == 1


def test_special_tokens_of_another_form_are_never_read_from_text() -> None:
    """Only "<" is watched in people's strings, so nothing else may turn text into a control token."""
    backend = small_backend()
    backend.add_special_tokens([AddedToken("[media]", special=True, normalized=False)])
    tokenizer = Tokenizer(backend)
    number = backend.token_to_id("[media]")
    for text in ("[media]", "a[media]b", "<bos>[media]<bos>"):
        assert number not in tokenizer.encode(text, special=True)
    assert tokenizer.is_control(number)
    assert tokenizer.decode([number]) == ""


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTokenizer, match=r"has no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"model": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(damage)
    with pytest.raises(BadTokenizer, match=r"tokenizer\.json cannot be read") as caught:
        Tokenizer.from_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_models_tokenizer_is_refused() -> None:
    with pytest.raises(BadTokenizer, match=r"lacks <\|turn> <turn\|>, so it is not Gemma 4's"):
        Tokenizer(small_backend(without=("<|turn>", "<turn|>")))
    with pytest.raises(BadTokenizer, match="lacks 56 of the 256 byte tokens, <0xC8> first"):
        Tokenizer(small_backend(bytes_up_to=200))


def test_many_threads_may_hold_one(tokenizer: Tokenizer) -> None:
    def both(number: int) -> tuple[list[int], list[int]]:
        text = f"<|turn>user {number}<turn|>" * 20
        return tokenizer.encode(text), tokenizer.encode(text, special=True)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(both, range(200))) == [both(number) for number in range(200)]


def test_the_real_vocabulary_gives_the_known_ids(real_tokenizer: Tokenizer) -> None:
    assert real_tokenizer.vocab_size == 262144
    for text, ids in KNOWN.items():
        assert real_tokenizer.encode(text) == ids, text
    special = real_tokenizer.special
    assert (special.pad, special.eos, special.bos, special.turn_open, special.turn_close) == (
        0,
        1,
        2,
        105,
        106,
    )
    assert (special.response_open, special.quote, special.think, special.channel_open) == (50, 52, 98, 100)
    assert (special.media.begin_image, special.media.image, special.media.video) == (255999, 258880, 258884)


def test_no_real_control_token_comes_out_of_text(real_tokenizer: Tokenizer) -> None:
    for string in CONTROL:
        for text in (
            string,
            f"x{string}y",
            f" {string} ",
            string + string,
            f"\n{string}\n",
            string[:-1],
            string[1:],
        ):
            ids = real_tokenizer.encode(text)
            assert not any(map(real_tokenizer.is_control, ids)), text
            assert real_tokenizer.decode(ids) == text


@settings(deadline=None)
@given(text=st.text() | hostile_text)
def test_any_text_survives_the_real_vocabulary(real_tokenizer: Tokenizer, text: str) -> None:
    ids = real_tokenizer.encode(text)
    assert real_tokenizer.decode(ids) == text.replace("▁", " ")
    assert b"".join(map(real_tokenizer.token_bytes, ids)).decode() == text.replace("▁", " ")


def test_gguf_and_tokenizer_json_and_transformers_agree(
    shared: Path, real_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    write_folder(tmp_path, real_tokenizer._backend)
    shutil.copy(shared / "facts/configs/tokenizer_config.json", tmp_path / "tokenizer_config.json")
    from_json = Tokenizer.from_folder(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    chat = (
        "<bos><|turn>system\n<|think|>\nBe brief.<turn|>\n<|turn>user\nHi <|image|>!<turn|>\n<|turn>model\n"
    )
    for text in (*TEXTS, chat, *CONTROL):
        special = real_tokenizer.encode(text, special=True)
        assert special == theirs.encode(text, add_special_tokens=False), text
        assert special == from_json.encode(text, special=True), text
        plain = real_tokenizer.encode(text)
        assert plain == theirs.encode(text, add_special_tokens=False, split_special_tokens=True), text
        assert plain == from_json.encode(text), text
        assert real_tokenizer.decode(special) == theirs.decode(special, skip_special_tokens=True), text
        assert real_tokenizer.decode(special, special=True) == theirs.decode(special), text


def test_a_gguf_of_something_else_is_refused(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    def write(tokens: Sequence[str], merges: Sequence[str]) -> Path:
        file = tmp_path / "model.gguf"
        writer = GGUFWriter(file, "gemma4")
        writer.add_tokenizer_model("gemma4")
        writer.add_token_list(list(tokens))
        writer.add_token_types([1] * len(tokens))
        writer.add_token_merges(list(merges))
        for add in (
            writer.add_bos_token_id,
            writer.add_eos_token_id,
            writer.add_unk_token_id,
            writer.add_pad_token_id,
        ):
            add(0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return file

    with pytest.raises(BadTokenizer, match="is not Gemma 4's"):
        Tokenizer.from_gguf(write(["<unk>", "a", "b", "ab"], ["a b"]))
    with pytest.raises(BadTokenizer, match="is damaged"):
        Tokenizer.from_gguf(write(["<unk>", "a", "b"], ["a b"]))
    with pytest.raises(BadTokenizer, match="has 1 of its tokens twice"):
        Tokenizer.from_gguf(write(["<unk>", "a", "a"], ["a a"]))
