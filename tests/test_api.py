"""`Gemma` on a tiny random model: it answers with letters and blanks until the context is full."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gemcut import Gemma, SamplingParams
from gemcut.engine.options import EngineOptions
from gemcut.engine.stop_conditions import StopConditions
from gemcut.errors import (
    BadOption,
    BadSampling,
    BatchFailed,
    EmptyPrompt,
    EngineFailed,
    PromptError,
    PromptTooLong,
)
from gemcut.many import Question
from gemcut.prompt import media
from gemcut.prompt.messages import ToolCall
from gemcut.prompt.parse import TextDelta, ToolCallParsed
from gemcut.reply import deltas_of
from tests.media.makers import as_bytes, noise
from tests.tiny_model import CONTEXT, write_tiny_model

GREEDY = SamplingParams(temperature=0, max_tokens=12)
SCORED = SamplingParams(temperature=0, max_tokens=12, logprobs=2)


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
    completion = gemma.complete(prompt, sampling=SCORED)
    logits = gemma.logits([*prompt.token_ids, *completion.token_ids])
    assert logits.dtype == torch.float32
    for place, token_id in enumerate(completion.token_ids, start=len(prompt.token_ids) - 1):
        logprobs = logits[place].log_softmax(-1)
        made = completion.logprobs[place - len(prompt.token_ids) + 1]
        assert made.token_id == token_id
        assert float(logprobs[token_id]) == pytest.approx(made.logprob, abs=1e-3)


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


def test_logprobs_come_with_the_pieces_and_count_every_token(gemma: Gemma) -> None:
    assert gemma.reply("Hi", sampling=GREEDY).logprobs == ()
    deltas = list(gemma.stream("Hi", sampling=SCORED))
    reply = gemma.reply("Hi", sampling=SCORED)
    assert reply.logprobs == tuple(item for delta in deltas for item in delta.logprobs)
    assert len(reply.logprobs) == reply.usage.completion_tokens == 12
    text = gemma.tokenizer.decode([item.token_id for item in reply.logprobs])
    assert (text, [len(item.top) for item in reply.logprobs]) == (reply.text, [2] * 12)


def test_a_prompt_s_logprobs_are_those_of_its_logits(gemma: Gemma) -> None:
    completion = gemma.complete(
        "abcd", sampling=SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=1)
    )
    ids = gemma.tokenizer.encode("<bos>abcd", special=True)
    logprobs = gemma.logits(ids).log_softmax(-1)
    assert [item.token_id for item in completion.prompt_logprobs] == ids[1:]
    for place, item in enumerate(completion.prompt_logprobs):
        assert item.logprob == pytest.approx(float(logprobs[place, ids[place + 1]]), abs=1e-3)
        assert item.top[0][0] == int(logprobs[place].argmax())


def test_n_replies_are_n_different_ones_and_the_first_is_that_of_n_1(gemma: Gemma) -> None:
    one = SamplingParams(temperature=3.0, seed=1, max_tokens=24)
    three = replace(one, n=3)
    reply = gemma.reply("Hi", sampling=three)
    assert reply.text == gemma.reply("Hi", sampling=one).text
    assert len({reply.text, *(other.text for other in reply.others)}) == 3
    completion = gemma.complete("Hi", sampling=three)
    assert completion.text == gemma.complete("Hi", sampling=one).text
    assert len({completion.text, *(other.text for other in completion.others)}) == 3


def test_each_of_n_replies_follows_the_schema_and_the_first_is_that_of_n_1(gemma: Gemma) -> None:
    choices = ["red", "green", "blue", "grey"]
    one = SamplingParams(temperature=5.0, seed=1)
    reply = gemma.reply("Hi", schema={"enum": choices}, sampling=replace(one, n=6))
    made = [json.loads(each.text) for each in (reply, *reply.others)]
    assert set(made) <= set(choices)
    assert len(set(made)) > 1
    assert reply.text == gemma.reply("Hi", schema={"enum": choices}, sampling=one).text


def test_where_the_schema_leaves_nothing_to_say_min_tokens_give_way(gemma: Gemma) -> None:
    reply = gemma.reply("Hi", schema={"const": 7}, sampling=replace(GREEDY, min_tokens=20, max_tokens=30))
    assert (reply.text, reply.finish_reason) == ("7", "stop")
    assert reply.usage.completion_tokens < 20


def test_a_budget_for_thoughts_holds_in_a_raw_prompt_too(gemma: Gemma) -> None:
    prompt = gemma.tokenizer.encode("<bos>Hi<|channel>thought\n", special=True)
    params = replace(GREEDY, max_thought_tokens=2, min_tokens=4, max_tokens=4)
    assert gemma.complete(prompt, sampling=params).token_ids.index(gemma.tokenizer.special.channel_close) <= 2


def test_a_stop_id_of_the_user_s_ends_the_text_before_it(gemma: Gemma) -> None:
    free = gemma.complete("Hi", sampling=GREEDY)
    stop = free.token_ids[4]
    params = replace(GREEDY, stop_token_ids=[stop])
    end = free.token_ids.index(stop)
    want = gemma.tokenizer.decode(free.token_ids[:end])
    made = gemma.complete("Hi", sampling=params)
    assert (made.text, made.token_ids, made.finish_reason) == (want, free.token_ids[: end + 1], "stop")
    free_reply = gemma.reply("Hi", sampling=SCORED)
    stop = free_reply.logprobs[5].token_id
    reply = gemma.reply("Hi", sampling=replace(GREEDY, stop_token_ids=[stop]))
    assert free_reply.text.startswith(reply.text)
    assert gemma.tokenizer.decode([stop]) not in reply.text
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2}, "n is 2 and a stream is one reply"),
        ({"n": 2, "temperature": None}, "n is 2"),
        ({"prompt_logprobs": 1}, "prompt_logprobs are no part of a chat's reply"),
        ({"logit_bias": {10**6: 5}}, "logit_bias has the token id 1000000 and this model's ids end at"),
        ({"stop_token_ids": [10**6]}, "stop_token_ids has the token id 1000000"),
    ],
)
def test_what_a_stream_cannot_keep_is_refused(gemma: Gemma, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSampling, match=message):
        gemma.stream("Hi", sampling=SamplingParams(**{"temperature": 1.0} | options))


def test_n_replies_are_refused_where_the_model_s_own_choice_is_greedy(gemma: Gemma) -> None:
    with pytest.raises(BadSampling, match="so the 2 replies would be equal"):
        gemma.reply("Hi", sampling=SamplingParams(n=2))


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
    made = other.complete("Hi there", sampling=SCORED)
    want = gemma.logits(other.tokenizer.encode("<bos>Hi there", special=True))[-1].log_softmax(-1)
    assert made.logprobs[0].logprob == pytest.approx(float(want[made.token_ids[0]]), abs=0.1)


def test_text_held_for_a_stop_comes_before_the_call_that_follows_it() -> None:
    events = [TextDelta("one tw"), ToolCallParsed(ToolCall("look", {})), TextDelta("o")]
    stops = StopConditions(stop_texts=["two"])
    stops.push(5)
    kinds = [(delta.kind, delta.text) for delta in deltas_of(events, stops)]
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
    assert gemma._generator.encoder.num_encoded == 1
    assert Gemma.load(str(tmp_path), device="cpu").reply(said, sampling=GREEDY).text == second.text


def test_a_batch_gives_the_replies_in_order_and_tells_what_failed(gemma: Gemma) -> None:
    questions = [f"Hi {number}" for number in range(9)]
    replies = gemma.batch(questions, progress=False, sampling=GREEDY)
    assert [reply.text for reply in replies] == [gemma.reply(q, sampling=GREEDY).text for q in questions]
    with pytest.raises(
        BatchFailed, match="1 of 3 questions failed, the first at place 1: the prompt"
    ) as caught:
        gemma.batch(["Hi 0", "long " * CONTEXT, "Hi 2"], sampling=GREEDY)
    assert [None if r is None else r.text for r in caught.value.replies] == [
        replies[0].text,
        None,
        replies[2].text,
    ]
    assert isinstance(caught.value.errors[1], PromptTooLong)


def test_an_option_that_a_batch_does_not_have_is_refused(gemma: Gemma) -> None:
    with pytest.raises(TypeError, match="'temprature' is no option of a reply; there are think"):
        gemma.batch(["Hi"], temprature=0)  # type: ignore[call-arg]


def test_a_model_that_was_closed_says_so_and_starts_nothing(gemma: Gemma) -> None:
    closed = Gemma(gemma._loaded)
    closed.close()
    with pytest.raises(EngineFailed, match="the model was closed; load it anew"):
        closed.reply("Hi")


def test_who_stops_reading_a_batch_ends_what_is_under_way(gemma: Gemma) -> None:
    endless = SamplingParams(temperature=0, max_tokens=CONTEXT - 100)
    made = gemma.replies(Question("Hi", {"sampling": endless}) for _ in range(1000))
    assert next(made)[0] < 2 * gemma._generator.limits.max_running
    made.close()
    assert gemma.reply("Hi", sampling=GREEDY).usage.completion_tokens == 12


def test_a_stream_that_is_not_read_to_its_end_is_over_when_it_is_closed(gemma: Gemma) -> None:
    stream = gemma.stream("Hi", sampling=SamplingParams(temperature=0))
    next(stream)
    stream.close()
    assert gemma.reply("Hi", sampling=GREEDY).usage.completion_tokens == 12


def test_an_engine_of_its_own_size_says_what_fits(gemma: Gemma) -> None:
    small = Gemma(
        gemma._loaded, EngineOptions(cache_bytes=200_000, page_tokens=4, step_tokens=8, max_running=2)
    )
    assert small.memory.cache_bytes <= 200_000
    assert small.reply("Hi", sampling=GREEDY).text == gemma.reply("Hi", sampling=GREEDY).text
    with pytest.raises(BadOption, match="the shortest request needs"):
        Gemma(gemma._loaded, EngineOptions(cache_bytes=1000)).reply("Hi")
    with pytest.raises(BadOption, match="page_tokens is 0"):
        EngineOptions(page_tokens=0)
    small.close()
    with pytest.raises(EngineFailed, match="closed"):
        small.reply("Hi")


def test_a_beginning_that_was_read_before_is_not_read_again(gemma: Gemma) -> None:
    """Across turns, and across users who share a system prompt; the replies are those without."""
    system = {"role": "system", "content": "Be brief. " * 12}

    def talk(*texts: str) -> list[dict[str, str]]:
        roles = ("user", "assistant")
        return [system, *({"role": roles[i % 2], "content": text} for i, text in enumerate(texts))]

    first = gemma.reply(talk("Hi"), sampling=GREEDY)
    turn = gemma.reply(talk("Hi", first.text, "And now?"), sampling=GREEDY)
    user = gemma.reply(talk("Who?"), sampling=GREEDY)
    read_once = len(gemma.prompt([system]).token_ids) - 16
    assert first.usage.cached_tokens == 0
    assert turn.usage.cached_tokens > first.usage.prompt_tokens - 16
    assert read_once - 16 < user.usage.cached_tokens <= read_once + 16
    for texts, reply in ((("Hi", first.text, "And now?"), turn), (("Who?",), user)):
        fresh = Gemma(gemma._loaded)
        assert fresh.reply(talk(*texts), sampling=GREEDY).text == reply.text
        fresh.close()
