"""The text that nano learns from: the same for a seed, short enough, without what the cases hold out."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from recipes.nano.arithmetic import draw_pair, working
from recipes.nano.build_data import MAX_TOKENS, build_data, draw_rng
from recipes.nano.example import Example
from recipes.nano.facts import all_facts
from recipes.nano.lexicon import CITIES, COLORS, NAMES, NOUNS, PARAMETERS, VERBS, WORDS, Lexicon, in_split
from recipes.nano.mix import PHASES, TASKS
from recipes.nano.render import encode, segments

STOPS = {"<eos>", "<turn|>", "<|tool_response>"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small build."""
    out = tmp_path_factory.mktemp("nano")
    build_data(out, seed=7, scale=0.002, sample=1500)
    return out


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    """Its tokenizer."""
    return Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))


def draw(name: str, split: str, count: int, seed: int = 1) -> list[Example]:
    rng = random.Random(seed)
    return [TASKS[name](rng, split) for _ in range(count)]


def said_by_user(example: Example) -> list[str]:
    return [m["content"] for m in example.messages if m["role"] == "user"]


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    build_data(tmp_path, seed=7, scale=0.002, sample=1500)
    for phase in PHASES:
        first, second = (np.load(f / f"{phase.name}.npz") for f in (folder, tmp_path))
        assert all(np.array_equal(first[key], second[key]) for key in ("ids", "mask", "offsets"))
    names = ("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json")
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_another_seed_gives_other_examples() -> None:
    one, two = (TASKS["tools"](draw_rng(seed, "all", 0), "train") for seed in (1, 2))
    assert one != two


def test_examples_fit_and_end_with_a_stop_token_that_is_learnt(folder: Path, tokenizer: Tokenizer) -> None:
    for phase in PHASES:
        data = np.load(folder / f"{phase.name}.npz")
        ids, mask, offsets = data["ids"], data["mask"], data["offsets"]
        assert (ids.dtype, mask.dtype, offsets.dtype) == (np.uint16, np.uint8, np.int64)
        assert np.diff(offsets).max() <= MAX_TOKENS
        assert len(ids) == len(mask) == offsets[-1]
        assert (ids[offsets[:-1]] == tokenizer.token_to_id("<bos>")).all()
        assert {tokenizer.id_to_token(int(i)) for i in ids[offsets[1:] - 1]} <= STOPS
        assert mask[offsets[1:] - 1].all()
        assert not mask[offsets[:-1]].any()


def test_shares_name_tasks_and_every_task_is_used() -> None:
    assert {name for phase in PHASES for name in phase.shares} == set(TASKS)


def test_no_word_of_the_held_out_lists_is_in_the_training_text() -> None:
    listed = {w.lower() for w in (*VERBS, *NOUNS, *PARAMETERS, *NAMES, *CITIES, *COLORS, *WORDS)}
    held_out = {word for word in listed if in_split(word, "held_out")}
    assert len(held_out) > 300
    said: set[str] = set()
    for name in TASKS:
        for example in draw(name, "train", 300):
            said.update(re.findall("[a-z]+", "".join(text for text, _ in segments(example)).lower()))
    assert not held_out & said


def test_invented_words_of_the_two_splits_never_meet() -> None:
    words = {
        split: {Lexicon(random.Random(3), split).invented() for _ in range(3000)}
        for split in ("train", "held_out")
    }
    lexicon = {split: Lexicon(random.Random(3), split) for split in ("train", "held_out")}
    words = {split: {lexicon[split].invented() for _ in range(3000)} for split in words}
    assert len(words["held_out"]) > 1000
    assert not words["train"] & words["held_out"]


def test_held_out_tools_have_names_and_parameters_that_training_never_declares() -> None:
    def names(split: str) -> set[str]:
        found = set()
        for example in draw("tools", split, 400):
            for tool in example.tools:
                found |= {tool["function"]["name"], *tool["function"]["parameters"]["properties"]}
        return found

    assert not names("train") & names("held_out")


@pytest.mark.parametrize(
    "name", ["facts", "small_talk", "refuse", "tools", "json", "no_tool", "tool_answers"]
)
def test_held_out_questions_are_worded_in_their_own_way(name: str) -> None:
    def plain(examples: list[Example]) -> set[str]:
        return {re.sub(r"[^a-z0-9 ]", "", said_by_user(e)[0].lower()).strip() for e in examples}

    assert not plain(draw(name, "train", 3000)) & plain(draw(name, "held_out", 300))


def test_operands_of_the_two_splits_never_meet() -> None:
    rng = random.Random(5)
    train = {draw_pair(rng, "train", 2) for _ in range(20_000)}
    held_out = {draw_pair(rng, "held_out", 2) for _ in range(2_000)}
    assert not train & held_out


def test_sixty_facts_each_with_twelve_wordings_and_three_held_out() -> None:
    facts = all_facts()
    assert len(facts) >= 60
    assert len({fact.answer for fact in facts}) == len(facts)
    for fact in facts:
        assert len(set(fact.held_out)) >= 3
        assert not {w.lower() for w in fact.train} & {w.lower() for w in fact.held_out}


@pytest.mark.parametrize(
    ("a", "sign", "b", "text"),
    [
        (345, "+", 278, "345+278: 5+8+0=13,4+7+1=12,3+2+1=06: 0623: 623"),
        (345, "-", 278, "345-278: 5-8-0=17,4-7-1=16,3-2-1=00: 067: 67"),
        (9, "-", 12, "009<012: 012-009: 2-9-0=13,1-0-1=00,0-0-0=00: 003: 3: -3"),
    ],
)
def test_working_goes_digit_by_digit(a: int, sign: str, b: int, text: str) -> None:
    assert working(a, sign, b) == text


def test_the_mask_covers_what_the_model_says_and_nothing_else(tokenizer: Tokenizer) -> None:
    for name in TASKS:
        for example in draw(name, "train", 20):
            ids, mask = encode(tokenizer, [example])[0]
            learnt = tokenizer.decode(
                [int(i) for i, m in zip(ids, mask, strict=True) if m], skip_special_tokens=False
            )
            assert example.messages[-1]["content"] in learnt
            assert "<|turn>" not in learnt
            assert "<|tool>" not in learnt
