"""nano's vocabulary: Gemma 4's kind, and one form for each word."""

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from recipes.nano.build_data import sample_for_tokenizer
from recipes.nano.lexicon import Lexicon
from recipes.nano.tokenizer import NAMED, VIDEO, VOCABULARY_SIZE, build, save


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build(sample_for_tokenizer(4, 2000), 4)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text, add_special_tokens=False).tokens


def test_it_has_the_special_tokens_at_their_places(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == VOCABULARY_SIZE
    first = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    assert [tokenizer.token_to_id(token) for token in first] == [0, 1, 2, 3, 4]
    for token in (*NAMED.values(), VIDEO):
        assert pieces(tokenizer, token) == [token]


def test_a_word_has_one_form_everywhere(tokenizer: Tokenizer) -> None:
    words = [w for s in ("train", "held_out") for w in (Lexicon(random.Random(2), s).words(300))]
    same = 0
    for word in words:
        alone = pieces(tokenizer, word)
        forms = [
            pieces(tokenizer, f"{mark}{word}")[-len(alone) :]
            for mark in ('"', "_", ":", "\n", "(", '<|"|>', "7")
        ]
        assert all(form == alone for form in forms), word
        same += pieces(tokenizer, f"x, {word}")[-len(alone) :] == alone
    assert (
        same / len(words) > 0.95
    )  # a blank joins a few fixed words, and may meet a word that begins like one


@pytest.mark.parametrize(
    "text",
    [
        "What is Gemma 4?",
        "  two  blanks   and\n\n\nlines\t.",
        "Grüße, 你好, 🙂, ñandú",
        '{"a": [1, 2.5], "b": "x_y"}',
        "CamelCase snake_case UPPER 0123456789",
        "a▁b",
    ],
)
def test_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    back = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
    assert back == text.replace("▁", " ")


def test_digits_are_single_and_no_letter_joins_them(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "1234") == ["1", "2", "3", "4"]
    assert pieces(tokenizer, "lamp12x")[-3:] == ["1", "2", "x"]


def test_unseen_words_take_few_pieces(tokenizer: Tokenizer) -> None:
    words = Lexicon(random.Random(9), "held_out").words(1000)
    mean = sum(len(pieces(tokenizer, word)) for word in words) / len(words)
    assert mean < 3.2


def test_the_files_are_of_gemma_4s_form(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save(tokenizer, tmp_path)
    file = json.loads((tmp_path / "tokenizer.json").read_text())
    assert file["normalizer"] == {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    assert file["pre_tokenizer"]["behavior"] == "MergedWithPrevious"
    assert file["model"]["type"] == "BPE"
    assert file["model"]["byte_fallback"]
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["eot_token"] == "<turn|>"
    assert config["extra_special_tokens"] == [VIDEO]
