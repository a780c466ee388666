"""`Gemma` on a tiny random model: it answers with letters and blanks until the context is full."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gemcut import Gemma, SamplingParams
from gemcut.api import _deltas
from gemcut.engine.stop_strings import StopStrings
from gemcut.errors import BadSampling, EmptyPrompt, PromptError, PromptTooLong
from gemcut.prompt import media
from gemcut.prompt.messages import ToolCall
from gemcut.prompt.parse import TextDelta, ToolCallParsed
from tests.media.makers import as_bytes, noise
from tests.tiny_model import CONTEXT, write_tiny_model

GREEDY = SamplingParams(temperature=0, max_tokens=12)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Gemma:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return Gemma.load(str(folder), device="cpu")


def test_reply_is_what_the_stream_adds_up_to(gemma: Gemma) -> None:
    deltas = list(gemma.stream("Hi", sampling=GREEDY))
    reply = gemma.reply("Hi", sampling=GREEDY)
    assert reply.text == "".join(delta.text for delta in deltas if delta.kind == "text")
    assert [delta.kind for delta in deltas].index("finish") == len(deltas) - 1
    assert reply.usage.prompt_tokens == len(gemma.prompt("Hi").token_ids)
    assert (reply.usage.completion_tokens, reply.finish_reason) == (12, "length")


def test_reply_equals_the_argmax_of_the_logits(gemma: Gemma) -> None:
    prompt = gemma.prompt("Hi")
    completion = gemma.complete(prompt, sampling=GREEDY)
    logits = gemma.logits([*prompt.token_ids, *completion.token_ids])
    assert logits.dtype == torch.float32
    for place, token_id in enumerate(completion.token_ids, start=len(prompt.token_ids) - 1):
        logprobs = logits[place].log_softmax(-1)
        best = completion.logprobs[place - len(prompt.token_ids) + 1]
        assert float(logprobs[token_id]) == pytest.approx(best, abs=1e-3)


def test_a_stop_text_ends_the_reply_and_is_no_part_of_it(gemma: Gemma) -> None:
    free = gemma.reply("Hi", sampling=GREEDY).text
    stop = free[3:6]
    reply = gemma.reply("Hi", sampling=SamplingParams(temperature=0, max_tokens=12, stop=stop))
    assert reply.text == free[: free.index(stop)]
    assert reply.finish_reason == "stop"


def test_a_full_context_ends_the_reply(gemma: Gemma) -> None:
    ids = [gemma.tokenizer.special.bos] + [7] * (CONTEXT - 4)
    completion = gemma.complete(ids, sampling=SamplingParams(temperature=0))
    assert len(completion.token_ids) == 3
    assert completion.finish_reason == "length"


def test_raw_text_gets_its_bos_once(gemma: Gemma) -> None:
    with_bos = gemma.complete("<bos>abc", sampling=GREEDY)
    assert gemma.complete("abc", sampling=GREEDY) == with_bos


def test_the_same_seed_gives_the_same_reply_and_none_gives_another(gemma: Gemma) -> None:
    def say(seed: int | None) -> str:
        return gemma.reply("Hi", sampling=SamplingParams(temperature=3.0, seed=seed, max_tokens=24)).text

    assert say(1) == say(1)
    assert len({say(1), say(2), say(None), say(None)}) == 4


def test_errors_come_before_the_first_piece(gemma: Gemma) -> None:
    with pytest.raises(EmptyPrompt):
        gemma.stream("")
    with pytest.raises(PromptTooLong, match=f"context holds {CONTEXT}"):
        gemma.stream("a" * CONTEXT)
    with pytest.raises(BadSampling, match="top_k would be ignored"):  # this model's own choice is greedy
        gemma.stream("Hi", sampling=SamplingParams(top_k=5))


def test_logits_take_a_prompt_that_fills_the_context_and_refuse_a_longer_one(gemma: Gemma) -> None:
    assert len(gemma.logits([7] * CONTEXT)) == CONTEXT
    with pytest.raises(
        PromptTooLong, match=f"has {CONTEXT + 1} tokens and this model's context holds {CONTEXT}"
    ):
        gemma.logits([7] * (CONTEXT + 1))


@pytest.mark.parametrize("token_id", [-1, 10**9])
def test_an_id_that_the_model_does_not_have_is_refused(gemma: Gemma, token_id: int) -> None:
    """On a GPU, looking it up would end the process."""
    with pytest.raises(PromptError, match=f"token id {token_id} and this model's ids end at"):
        gemma.complete([7, token_id])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_every_dtype_generates(gemma: Gemma, dtype: str) -> None:
    other = Gemma.load(str(gemma._loaded.folder), device="cpu", dtype=dtype)
    made = other.complete("Hi there", sampling=GREEDY)
    want = gemma.logits(other.tokenizer.encode("<bos>Hi there", special=True))[-1].log_softmax(-1)
    assert made.logprobs[0] == pytest.approx(float(want[made.token_ids[0]]), abs=0.1)


def test_text_held_for_a_stop_comes_before_the_call_that_follows_it() -> None:
    events = [TextDelta("one tw"), ToolCallParsed(ToolCall("look", {})), TextDelta("o")]
    kinds = [(delta.kind, delta.text) for delta in _deltas(events, StopStrings(["two"]))]
    assert kinds == [("text", "one "), ("text", "tw"), ("tool_call", ""), ("text", "o")]


def test_threads_may_share_a_model(gemma: Gemma) -> None:
    from concurrent.futures import ThreadPoolExecutor

    questions = ["Hi", "Hello there", "x", "yes or no"]
    alone = [gemma.reply(question, sampling=GREEDY).text for question in questions]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda question: gemma.reply(question, sampling=GREEDY).text, questions))
    assert together == alone


def test_a_picture_of_an_earlier_turn_is_neither_decoded_nor_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(tmp_path, senses=True)
    gemma = Gemma.load(str(tmp_path), device="cpu")
    decoded: list[str] = []
    load_image = media.load_image
    monkeypatch.setattr(
        media, "load_image", lambda source, name: decoded.append(name) or load_image(source, name)
    )
    picture = {"type": "image", "image": as_bytes(noise(96, 48), "PNG"), "tokens": 70}
    said: list[dict[str, Any]] = [{"role": "user", "content": [picture, {"type": "text", "text": "What?"}]}]
    first = gemma.reply(said, sampling=GREEDY)
    said += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "And now?"}]
    second = gemma.reply(said, sampling=GREEDY)
    assert second.usage.prompt_tokens > first.usage.prompt_tokens > 50
    assert decoded == ["message 0, part 0"]
    assert gemma._encoder.num_encoded == 1
    assert Gemma.load(str(tmp_path), device="cpu").reply(said, sampling=GREEDY).text == second.text
