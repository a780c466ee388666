"""The request of /v1/completions: raw text or token ids, without the chat format."""

from typing import Annotated, Any

from pydantic import Field

from gemcut.server.chat_fields import StreamOptions
from gemcut.server.fields import Refused
from gemcut.server.sampling_fields import SamplingFields, TokenId, capped

USUAL_TOKENS = 16  # what OpenAI's API gives where max_tokens is not said
MOST_PROMPTS = 256
Ids = Annotated[list[TokenId], Field(min_length=1)]
Texts = Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]
Lists = Annotated[list[Ids], Field(min_length=1, max_length=MOST_PROMPTS)]


class CompletionRequest(SamplingFields):
    """Prompts to be continued; control strings in them count, and a missing <bos> is added."""

    model: str | None = None
    prompt: str | Texts | Ids | Lists
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    user: str | None = None
    refused = {
        "suffix": Refused("Gemma 4 does not fill in the middle", ("",)),
        "best_of": Refused("use n", (1,)),
        "prompt_logprobs": Refused("use echo with logprobs"),
        "ignore_eos": Refused("use min_tokens", (False,)),
    }

    @property
    def prompts(self) -> list[Any]:
        """Each prompt: text, or ids."""
        given = self.prompt
        if isinstance(given, str) or isinstance(given[0], int):
            return [given]
        return list(given)

    def most_tokens(self, most: int | None) -> int:
        """How many tokens may follow.  most: what the operator lets anybody have."""
        usual = USUAL_TOKENS if most is None else min(most, USUAL_TOKENS)
        asked = capped(self.max_tokens, most)
        return usual if self.max_tokens is None or asked is None else asked
