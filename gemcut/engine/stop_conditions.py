"""When a reply is over."""

from collections.abc import Sequence
from typing import Literal

from gemcut.engine.stop_strings import StopStrings

FinishReason = Literal["stop", "length", "tool_calls"]


class StopConditions:
    """When one reply is over: at a stop id, where a stop text is complete, or with its last permitted token.

    Whoever makes tokens calls `push` with each; whoever makes text of them calls `show` with what each added,
    before the next token. Neither ids nor texts stop anything among the first min_tokens tokens.
    max_tokens: None for no limit.
    """

    def __init__(
        self,
        stop_ids: Sequence[int] = (),
        stop_texts: Sequence[str] = (),
        min_tokens: int = 0,
        max_tokens: int | None = None,
    ) -> None:
        self._stop_ids = frozenset(stop_ids)
        self._strings = StopStrings(stop_texts)
        self._min_tokens = min_tokens
        self._max_tokens = max_tokens
        self.num_tokens = 0
        self.at_stop_id = False  # the latest token is a stop, and its text no part of the reply
        self.called = False  # whoever reads the reply sets it where there was a whole tool call

    def most_tokens(self, room: int) -> int:
        """How many tokens there can be where the context has room for so many."""
        return room if self._max_tokens is None else min(room, self._max_tokens)

    def push(self, token_id: int, ended: bool = False) -> bool:
        """The reply's next token; returns whether it is over, but for what its text will say.

        ended: whether nothing may follow it, however few tokens there are.
        """
        self.num_tokens += 1
        self.at_stop_id = ended or (self.num_tokens > self._min_tokens and token_id in self._stop_ids)
        return self.at_stop_id or self.num_tokens == self._max_tokens

    def show(self, text: str) -> str:
        """What of the reply's text so far can be shown; the rest may be the beginning of a stop text."""
        return text if self.num_tokens <= self._min_tokens else self._strings.push(text)

    def flush(self) -> str:
        """Text that was held back, where none follows on it."""
        return self._strings.finish()

    @property
    def at_stop_text(self) -> bool:
        """Whether a stop text was found: nothing after it is part of the reply."""
        return self._strings.found is not None

    @property
    def stop_text(self) -> str | None:
        """The stop text that was found."""
        return self._strings.found

    @property
    def over(self) -> bool:
        """Whether no token is to follow."""
        return self.at_stop_id or self.at_stop_text or self.num_tokens == self._max_tokens

    @property
    def reason(self) -> FinishReason:
        """Why the reply ended, once it has; "length" also for a full context."""
        if not (self.at_stop_id or self.at_stop_text):
            return "length"
        return "tool_calls" if self.called else "stop"
