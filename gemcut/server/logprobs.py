"""Log probabilities as OpenAI's API tells them: those of the answer's tokens, not of thoughts and marks."""

from collections.abc import Sequence
from typing import Any

from gemcut.engine.logprobs import TokenLogprobs
from gemcut.prompt.channels import ChannelState, declares_tools, entered_state, open_tail
from gemcut.prompt.tokenizer import Tokenizer

LEAST = -9999.0  # what stands for a probability of zero, which JSON has no logarithm of


class TextLogprobs:
    """Finds the tokens of the answer among those of a reply; prompt_ids: what the model read for it."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._has_tools = declares_tools(prompt_ids, tokenizer.special)
        self._state: ChannelState = "text"
        for token_id in open_tail(prompt_ids, tokenizer.special):
            self._is_text(token_id)

    def of(self, tokens: Sequence[TokenLogprobs]) -> list[dict[str, Any]]:
        """What is told of the reply's next tokens."""
        return [logprob_json(self._tokenizer, item) for item in tokens if self._is_text(item.token_id)]

    def _is_text(self, token_id: int) -> bool:
        entered = entered_state(self._state, token_id, self._tokenizer.special, self._has_tools)
        if entered is not None:
            self._state = entered
        return self._state == "text" and not self._tokenizer.is_control(token_id)


def logprob_json(tokenizer: Tokenizer, item: TokenLogprobs) -> dict[str, Any]:
    """One token, and the likeliest in its place."""
    top = [_entry(tokenizer, *likely) for likely in item.top]
    return {**_entry(tokenizer, item.token_id, item.logprob), "top_logprobs": top}


def _entry(tokenizer: Tokenizer, token_id: int, logprob: float) -> dict[str, Any]:
    data = tokenizer.token_bytes(token_id)
    text = data.decode(errors="replace")
    return {"token": text, "logprob": max(logprob, LEAST), "bytes": list(data)}
