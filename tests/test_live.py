"""Replies under way: the same whatever number of tokens is there at once, and no mark in anybody's text."""

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemcut.engine.naive import Token
from gemcut.engine.stop_conditions import StopConditions
from gemcut.engine.token_stream import TokenStream
from gemcut.live import LiveReply
from gemcut.prompt.assemble import Prompt
from gemcut.prompt.tokenizer import TEXT_TOKENS, Tokenizer
from gemcut.reply import Clock, Delta, ReplyReader

NANO = Path(__file__).resolve().parents[1] / "gemcut/nano"
MARKS = [text for name, text in TEXT_TOKENS.items() if name != "unk"]
PIECES = [
    *MARKS,
    "<|channel>thought\n",
    "call:",
    "get_weather{",
    "city:",
    "}",
    "Paris",
    "é",
    "🙂",
    "STOP",
    " ",
    "a",
]


@cache  # reading the vocabulary takes longer than a test
def nano_tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(NANO)


@pytest.fixture
def tokenizer() -> Tokenizer:
    return nano_tokenizer()


def read(
    tokenizer: Tokenizer, prompt: Sequence[int], ids: Sequence[int], sizes: Sequence[int]
) -> list[Delta]:
    """The pieces of a reply of these ids, so many of which are there each time somebody looks."""
    ended = StopConditions(stop_ids=[tokenizer.special.turn_close, tokenizer.special.eos])
    for number, token_id in enumerate(ids, start=1):
        ended.push(token_id)
        if ended.over:
            ids = ids[:number]
            break
    stops = StopConditions([tokenizer.special.turn_close, tokenizer.special.eos], ["STOP"])
    stream = TokenStream((0, 0), lambda key: None)
    reader = ReplyReader(tokenizer, prompt, stops, Clock())
    reply = LiveReply(Prompt(tuple(prompt)), stream, reader)
    deltas: list[Delta] = []
    left = list(ids)
    for size in (*sizes, len(ids)):
        for token_id in left[:size]:
            stream.put(Token(token_id, None))
        del left[:size]
        if not left:
            stream.put(None)
        deltas += reply.take()
    assert reply.ended
    return deltas


def told(deltas: Sequence[Delta]) -> list[tuple[object, ...]]:
    """What the pieces say, those of one kind joined; when each came does not count."""
    said: list[tuple[object, ...]] = []
    for kind, group in groupby(deltas, key=lambda delta: delta.kind):
        pieces = list(group)
        if kind == "tool_call":
            said += [(kind, str(piece.tool_call)) for piece in pieces]
        elif kind == "finish":
            said += [(kind, piece.finish and piece.finish.reason) for piece in pieces]
        else:
            said.append((kind, "".join(piece.text for piece in pieces)))
    return said


@settings(max_examples=300, deadline=None)
@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=40),
    raw=st.lists(st.integers(0, 1970), max_size=20),
    tools=st.sampled_from(["", "<|tool>declaration:get_weather{}<tool|>"]),
    tail=st.sampled_from(["", "<|channel>thought\n", "<|channel>", "<|tool_call>call:f{"]),
    sizes=st.lists(st.integers(0, 7), max_size=20),
)
def test_random_splits_of_random_tokens_give_one_result(
    pieces: list[str], raw: list[int], tools: str, tail: str, sizes: list[int]
) -> None:
    tokenizer = nano_tokenizer()
    prompt = tokenizer.encode(f"<bos>{tools}<|turn>model\n{tail}", special=True)
    ids = [*(i for piece in pieces for i in tokenizer.encode(piece, special=True)), *raw]
    at_once = read(tokenizer, prompt, ids, [])
    assert told(read(tokenizer, prompt, ids, sizes)) == told(at_once)
    assert told(read(tokenizer, prompt, ids, [1] * len(ids))) == told(at_once)
    if not tools:
        assert {delta.kind for delta in at_once} <= {"text", "thought", "finish"}
    shown = "".join(delta.text for delta in at_once if delta.kind in ("text", "thought"))
    raw_text = tokenizer.decode(ids)  # without control tokens
    for mark in MARKS:
        assert mark not in shown or mark in raw_text
    assert "STOP" not in "".join(delta.text for delta in at_once if delta.kind == "text")


def test_a_fault_of_the_request_is_raised_where_it_is_read(tokenizer: Tokenizer) -> None:
    stream = TokenStream((0, 0), lambda key: None)
    reader = ReplyReader(tokenizer, [2], StopConditions(), Clock())
    reply = LiveReply(Prompt((2,)), stream, reader)
    stream.put(Token(5, None))
    stream.put(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        reply.take()


def test_who_closes_a_reply_cancels_it_once(tokenizer: Tokenizer) -> None:
    cancelled: list[object] = []
    stream = TokenStream((7, 1), cancelled.append)
    reply = LiveReply(Prompt((2,)), stream, ReplyReader(tokenizer, [2], StopConditions(), Clock()))
    reply.close()
    reply.close()
    assert (cancelled, reply.take(), reply.ended) == ([(7, 1)], [], True)


def test_the_bell_rings_with_each_thing_that_is_there() -> None:
    rung: list[int] = []
    stream = TokenStream((0, 0), lambda key: None, lambda: rung.append(1))
    stream.put(Token(5, None))
    stream.put(None)
    assert len(rung) == 2
    assert [token.id for token in stream.take()] == [5]
    assert (stream.take(), stream.ended) == ([], True)
