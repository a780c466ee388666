"""/v1/completions: what follows raw prompts, several at once where a list is given."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gemcut.live import LiveReply
from gemcut.server.chat_fields import wants_usage
from gemcut.server.completion_chunks import CompletionChunks
from gemcut.server.completion_fields import CompletionRequest
from gemcut.server.fields import read_fields
from gemcut.server.models import Served
from gemcut.server.running import Ring
from gemcut.server.sampling_fields import check_samples
from gemcut.server.serving import Serving


class CompletionAsked:
    """Prompts to be continued, as `endpoint.Asked` has it."""

    subject = "prompt"

    def __init__(self, request: CompletionRequest, serving: Serving) -> None:
        self.model = request.model
        self.is_streamed = bool(request.stream)
        self._wants_usage = wants_usage(self.is_streamed, request.stream_options)
        self.log = {"user": request.user}
        self._request = request
        check_samples(len(request.prompts) * (request.n or 1), serving.options.most_samples)
        most = request.most_tokens(serving.options.most_reply_tokens)
        params = request.params(most, request.logprobs)
        scored = request.logprobs if request.echo else None
        self._params = replace(params, prompt_logprobs=scored)

    def ask(self, served: Served, ring: Ring) -> list[LiveReply]:
        """Starts what follows each prompt; all of them, or none."""
        started: list[LiveReply] = []
        try:
            for prompt in self._request.prompts:
                started += served.gemma.live_completions(prompt, self._params, ring)
        except Exception:
            for reply in started:
                reply.close()
            raise
        return started

    def answer(self, served: Served, replies: Sequence[LiveReply]) -> CompletionChunks:
        """What follows, as chunks."""
        return CompletionChunks(
            served,
            replies,
            prompts=self._request.prompts if self._request.echo else None,
            usage=self._wants_usage,
            logprobs=self._request.logprobs is not None,
        )


def read_completion(given: Any, serving: Serving) -> CompletionAsked:
    """A request's body, checked.  Raises Refusal and what else is wrong with it."""
    return CompletionAsked(read_fields(CompletionRequest, given), serving)
