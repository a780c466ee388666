"""The decoder against transformers', on random weights in small shapes, in float32."""

import functools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from gemcut.config import TextConfig
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache, next_step, whole_sequences
from tests.parity import tiny
from tests.parity.tiny import ODD, TINY, greedy

TOLERANCE = 2e-4
Way = Callable[[Gemma4, Tensor, TextConfig], Tensor]
LENGTH = 80  # more than three windows of 24
pair = functools.cache(tiny.pair)
every_config = pytest.mark.parametrize("text", [*TINY.values(), *ODD.values()], ids=[*TINY, *ODD])


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


def token_ids(batch: int, length: int, text: TextConfig) -> Tensor:
    return torch.randint(5, text.vocab_size, (batch, length), generator=torch.Generator().manual_seed(1))


def logits_of_sequences(model: Gemma4, sequences: Sequence[Tensor], text: TextConfig) -> Tensor:
    """All logits (N, V) of sequences that are packed into one step."""
    step = whole_sequences([len(ids) for ids in sequences], text, torch.device("cpu"))
    return model.logits(model(model.embed(torch.cat(list(sequences))), step))


def logits_in_pieces(model: Gemma4, ids: Tensor, sizes: Sequence[int], text: TextConfig) -> Tensor:
    """All logits (T, V) of one sequence that is fed through a cache in pieces."""
    cache = PlainCache(text, len(ids), torch.device("cpu"))
    parts = [model(model.embed(part), next_step(cache, len(part), None)) for part in ids.split(list(sizes))]
    return model.logits(torch.cat(parts))


@every_config
def test_logits_equal_transformers(text: TextConfig) -> None:
    ours, theirs = pair(text)
    ids = token_ids(2, LENGTH, text)
    want = theirs(ids).logits
    torch.testing.assert_close(
        logits_of_sequences(ours, list(ids), text).view_as(want), want, atol=TOLERANCE, rtol=0
    )


@every_config
def test_sequences_of_unequal_lengths_do_not_see_each_other(text: TextConfig) -> None:
    ours, theirs = pair(text)
    sequences = [
        ids[:length] for ids, length in zip(token_ids(3, LENGTH, text), (33, LENGTH, 1), strict=True)
    ]
    want = torch.cat([theirs(ids[None]).logits[0] for ids in sequences])
    torch.testing.assert_close(logits_of_sequences(ours, sequences, text), want, atol=TOLERANCE, rtol=0)


@every_config
@pytest.mark.parametrize("sizes", [[1] * LENGTH, [50] + [1] * 30, [5, 1, 1, 33, 1, 29, 10]], ids=str)
def test_decoding_through_the_cache_equals_the_whole_forward(text: TextConfig, sizes: list[int]) -> None:
    ours, theirs = pair(text)
    ids = token_ids(1, LENGTH, text)
    got = logits_in_pieces(ours, ids[0], sizes, text)
    torch.testing.assert_close(got, theirs(ids).logits[0], atol=TOLERANCE, rtol=0)


@every_config
@pytest.mark.parametrize("length", [1, 20, LENGTH])
def test_prefill_that_wants_the_last_row_only_gives_that_row(text: TextConfig, length: int) -> None:
    ours, _ = pair(text)
    ids = token_ids(1, length, text)[0]
    cache = PlainCache(text, length, torch.device("cpu"))
    last = ours.logits(ours(ours.embed(ids), next_step(cache, length, torch.tensor([length - 1]))))
    want = logits_of_sequences(ours, [ids], text)[-1:]
    torch.testing.assert_close(last, want, atol=TOLERANCE, rtol=0)


@every_config
def test_64_greedy_tokens_equal_those_of_transformers(text: TextConfig) -> None:
    ours, theirs = pair(text)
    prompt = token_ids(1, 30, text)
    theirs.generation_config.eos_token_id = None  # go on to the end
    want = theirs.generate(prompt, max_new_tokens=64, do_sample=False, attention_mask=torch.ones_like(prompt))
    got = greedy(ours, prompt[0].tolist(), 64)
    assert got == want[0, 30:].tolist()


def all_at_once(model: Gemma4, ids: Tensor, text: TextConfig) -> Tensor:
    return logits_of_sequences(model, [ids], text)


def one_at_a_time(model: Gemma4, ids: Tensor, text: TextConfig) -> Tensor:
    return logits_in_pieces(model, ids, [1] * len(ids), text)


@pytest.mark.parametrize("way", [all_at_once, one_at_a_time])
@pytest.mark.parametrize("name", TINY)
def test_bfloat16_is_as_close_to_float32_as_transformers_is(name: str, way: Way) -> None:
    text = TINY[name]
    errors = []
    for seed in range(4):
        _, exact = pair(text, seed)
        ours, theirs = pair(text, seed, torch.bfloat16)
        ids = token_ids(1, 100, text)
        want = exact(ids).logits[0]
        results = (way(ours, ids[0], text), theirs(ids).logits[0].float())
        errors.append([(result - want).square().mean() for result in results])
    ours_rms, theirs_rms = torch.tensor(errors).mean(0).sqrt().tolist()
    assert ours_rms <= 1.1 * theirs_rms


def test_the_cache_of_a_sliding_layer_holds_no_more_than_the_window() -> None:
    text = TINY["e2b"]
    ours, _ = pair(text)
    cache = PlainCache(text, 1000, torch.device("cpu"))
    for _ in range(3):
        ours(ours.embed(token_ids(1, 300, text)[0]), next_step(cache, 300, torch.tensor([299])))
    sliding, full = (
        3 * 24 * 1 * 16,
        1 * 1000 * 1 * 32,
    )  # layers x tokens x heads x width, of those that own K and V
    assert cache.cache_bytes <= 2 * 4 * (sliding + full)
