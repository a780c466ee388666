"""nano's drafter: what it learns from, that it learns, and that its training goes on where it was stopped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gemcut import Gemma, SamplingParams
from gemcut.load import load
from gemcut.model.gemma4 import Gemma4
from gemcut.train.examples import Examples, read_examples
from recipes.nano import drafter as stage
from recipes.nano.drafter import DrafterCommand, Lesson, lesson, loss, padded, rounds, start, train_drafter
from tests.parity.tiny import EDGE, fill, greedy, model_config
from tests.parity.tiny_drafter import drafted


@pytest.fixture(scope="module")
def model() -> Gemma4:
    built = Gemma4(model_config(EDGE)).requires_grad_(False)
    fill(built, seed=0)
    return built


def replies(model: Gemma4, lengths: list[int], wrong_at: int | None = None) -> Examples:
    """Texts of a prompt of 6 tokens and a greedy reply; `wrong_at`: the reply's token that is another."""
    rows, masks = [], []
    for number, length in enumerate(lengths):
        prompt = [20 + (number * 17 + place * 5) % 200 for place in range(6)]
        reply = greedy(model, prompt, length)
        if wrong_at is not None:
            reply[wrong_at] = (reply[wrong_at] + 1) % 320
        rows.append(np.array(prompt + reply))
        masks.append(np.array([0] * 6 + [1] * length, np.uint8))
    offsets = np.cumsum([0, *map(len, rows)])
    return Examples(np.concatenate(rows), np.concatenate(masks), offsets.astype(np.int64))


def read(model: Gemma4, examples: Examples) -> Lesson:
    return lesson(model, padded(examples, np.arange(len(examples))))


def test_it_drafts_from_every_token_of_a_reply(model: Gemma4) -> None:
    made = read(model, replies(model, [4, 7]))
    assert made.places.sum(1).tolist() == [4, 7]
    assert made.places[0].nonzero().flatten().tolist() == [6, 7, 8, 9]


def test_it_does_not_draft_from_a_token_that_nano_would_not_have_said(model: Gemma4) -> None:
    made = read(model, replies(model, [7], wrong_at=3))
    assert 9 not in made.places[0].nonzero().flatten().tolist()


def test_its_rounds_are_the_drafts_of_the_engine(model: Gemma4) -> None:
    """Behind each token of two replies of different lengths, in sliding layers across the window of 24."""
    drafter = start(stage.drafter_config(EDGE), seed=1)
    made = read(model, replies(model, [30, 12]))
    found = [(logits.argmax(-1), counts) for logits, _, counts in rounds(drafter, model, made)]
    places = [(0, place) for place in range(6, 36)] + [(1, place) for place in range(6, 36)]
    compared = 0
    with torch.no_grad():
        for row, (group, place) in enumerate(places):
            if not found[0][1][row]:
                continue
            ids = made.texts.ids[group, : place + 1]
            want = drafted(model, drafter, ids[:-1], int(ids[-1]), 1)
            assert int(found[0][0][row]) == want[0]
            compared += 1
    assert compared == 29 + 11  # nothing follows the last token


def test_a_row_counts_until_the_text_is_not_what_nano_says(model: Gemma4) -> None:
    drafter = start(stage.drafter_config(EDGE), seed=1)
    made = read(model, replies(model, [10], wrong_at=3))
    counted = [int(counts[0]) for _, _, counts in rounds(drafter, model, made)]
    assert counted == [1, 1, 1, 0, 0]  # from the first token: the wrong one is the third behind it


def test_it_learns(model: Gemma4) -> None:
    drafter = start(stage.drafter_config(EDGE), seed=1)
    batch = padded(replies(model, [12] * 8), np.arange(8))
    optimiser = torch.optim.AdamW(drafter.parameters(), lr=3e-3)
    first = loss(drafter, model, batch)
    for _ in range(40):
        optimiser.zero_grad()
        now = loss(drafter, model, batch)
        now.backward()
        optimiser.step()
    assert now.item() < 0.5 * first.item()


@pytest.fixture
def folder(nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a little of what the data stage writes."""
    monkeypatch.setattr(stage, "TEXTS", 4)
    monkeypatch.setattr(stage, "POOL", 2)
    monkeypatch.setattr(stage, "HELD_OUT", 4)
    gemma = Gemma.load(str(nano), device="cpu", dtype="float32")
    ids: list[int] = []
    mask: list[int] = []
    offsets = [0]
    for number in range(20):
        prompt = gemma.prompt(f"What is {number} + {number}?").token_ids
        reply = gemma.complete(prompt, sampling=SamplingParams(temperature=0, max_tokens=6)).token_ids
        ids += [*prompt, *reply]
        mask += [0] * len(prompt) + [1] * len(reply)
        offsets.append(len(ids))
    np.savez(tmp_path / "practice.npz", ids=np.array(ids), mask=np.array(mask, np.uint8), offsets=offsets)
    gemma.close()
    return tmp_path


def test_training_goes_on_where_it_was_stopped_and_its_drafter_loads(nano: Path, folder: Path) -> None:
    command = DrafterCommand(
        folder=folder, model=str(nano), minutes=1e6, seed=4, resume=False, package=False, steps=6
    )
    train_drafter(command)
    whole = torch.load(folder / "drafter.pt")
    train_drafter(replace(command, steps=3))
    train_drafter(replace(command, resume=True))
    again = torch.load(folder / "drafter.pt")
    assert again["step"] == whole["step"] == 6
    for name, tensor in whole["drafter"].items():
        torch.testing.assert_close(again["drafter"][name], tensor, atol=1e-5, rtol=0)
    with_it = Gemma.load(str(nano), device="cpu", dtype="float32", drafter=str(folder / "drafter"))
    without = Gemma.load(str(nano), device="cpu", dtype="float32")
    assert with_it.reply("What is 2 + 2?").text == without.reply("What is 2 + 2?").text
    with_it.close()
    without.close()


@pytest.mark.usefixtures("nano")
@torch.no_grad()
def test_the_packaged_drafter_is_the_packaged_nano_s(folder: Path) -> None:
    """After nano is trained anew its drafter guesses next to nothing, and has to be trained anew too."""
    loaded = load("nano", device="cpu", dtype="float32", offline=True, drafter="nano")
    assert loaded.drafter is not None
    said = lesson(loaded.model, padded(read_examples(folder / "practice.npz"), np.arange(20)))
    logits, wanted, counts = next(rounds(loaded.drafter, loaded.model, said))
    assert int(counts.sum()) > 40
    assert (logits.argmax(-1) == wanted)[counts].float().mean() > 0.5
