"""Pieces of completions → text_completion chunks, and these → the completion they add up to."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from gemcut.engine.logprobs import TokenLogprobs
from gemcut.live import LiveReply
from gemcut.prompt.tokenizer import Tokenizer
from gemcut.reply import Delta, Finish
from gemcut.server.logprobs import LEAST
from gemcut.server.models import Served
from gemcut.server.refusal import Refusal
from gemcut.server.sse import DONE, Event

LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


class CompletionChunks:
    """The events of what follows raw prompts, as `endpoint.Answer` has it.

    prompts: what is repeated before each; None where that is not wanted.
    """

    end = DONE

    def __init__(
        self,
        served: Served,
        replies: Sequence[LiveReply],
        prompts: Sequence[str | list[int]] | None,
        usage: bool,
        logprobs: bool,
    ) -> None:
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": served.name,
        }
        self._tokenizer: Tokenizer = served.gemma.tokenizer
        self._replies = replies
        self._usage = usage
        self._logprobs = logprobs
        self._finished: dict[int, Finish] = {}
        self._lengths = [0] * len(replies)  # characters of each that the logprobs have come to
        self._echo = prompts
        self._is_begun = [prompts is None] * len(replies)

    def start(self) -> list[Event]:
        """Nothing: what is repeated of a prompt comes with the first piece, when its scores are there."""
        return []

    def push(self, number: int, delta: Delta) -> list[Event]:
        """A piece of one of them."""
        events = [] if self._is_begun[number] else [self._begin(number)]
        told = self._told(number, delta.logprobs)
        if delta.finish is None:
            return [*events, self._chunk(number, delta.text, told)]
        self._finished[number] = delta.finish
        return [*events, self._chunk(number, "", told, delta.finish.reason)]

    def finish(self) -> list[Event]:
        """How many tokens there were, where that is wanted."""
        return [Event({**self._head, "choices": [], "usage": self._sum()})] if self._usage else []

    def failed(self, refusal: Refusal) -> list[Event]:
        """An error in the middle of a stream."""
        return [Event(refusal.body("openai", ""))]

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        """The completion that the chunks add up to."""
        choices: dict[int, dict[str, Any]] = {}
        for event in events:
            for more in event.data["choices"]:
                choice = choices.setdefault(more["index"], {**more, "text": "", "logprobs": None})
                _add(choice, more)
        ordered = [choices[number] for number in sorted(choices)]
        return {**self._head, "choices": ordered, "usage": self._sum()}

    def _begin(self, number: int) -> Event:
        """The prompt, and its tokens' log probabilities: the first has none."""
        self._is_begun[number] = True
        assert self._echo is not None
        reply = self._replies[number]
        prompt = self._echo[number * len(self._echo) // len(self._replies)]
        text = prompt if isinstance(prompt, str) else self._tokenizer.decode(prompt)
        told = None
        if self._logprobs:
            first = TokenLogprobs(reply.prompt_ids[0], 0.0, ())
            told = self._told(number, (first, *reply.prompt_logprobs))
            assert told is not None
            told["token_logprobs"][0] = told["top_logprobs"][0] = None
        return self._chunk(number, text, told)

    def _told(self, number: int, tokens: Sequence[TokenLogprobs]) -> dict[str, Any] | None:
        if not tokens or not self._logprobs:
            return None
        told: dict[str, Any] = {name: [] for name in LISTS}
        for item in tokens:
            text = self._text(item.token_id)
            told["tokens"].append(text)
            told["token_logprobs"].append(max(item.logprob, LEAST))
            told["top_logprobs"].append({self._text(i): max(logprob, LEAST) for i, logprob in item.top})
            told["text_offset"].append(self._lengths[number])
            self._lengths[number] += 0 if self._tokenizer.is_control(item.token_id) else len(text)
        return told

    def _text(self, token_id: int) -> str:
        return self._tokenizer.token_bytes(token_id).decode(errors="replace")

    def _chunk(
        self, number: int, text: str, told: dict[str, Any] | None = None, reason: str | None = None
    ) -> Event:
        choice = {"index": number, "text": text, "logprobs": told, "finish_reason": reason}
        return Event({**self._head, "choices": [choice]})

    def _sum(self) -> dict[str, Any]:
        """Each prompt counts once, however many samples it has."""
        prompts = {id(self._replies[n].prompt_ids): finish.usage for n, finish in self._finished.items()}
        read = sum(usage.prompt_tokens for usage in prompts.values())
        made = sum(finish.usage.completion_tokens for finish in self._finished.values())
        return {
            "prompt_tokens": read,
            "completion_tokens": made,
            "total_tokens": read + made,
            "prompt_tokens_details": {"cached_tokens": sum(u.cached_tokens for u in prompts.values())},
        }


def _add(choice: dict[str, Any], more: dict[str, Any]) -> None:
    choice["text"] += more["text"]
    choice["finish_reason"] = more["finish_reason"]
    if more["logprobs"] is not None:
        before = choice["logprobs"] or {name: [] for name in LISTS}
        choice["logprobs"] = {name: before[name] + more["logprobs"][name] for name in LISTS}
