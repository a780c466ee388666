"""What is asked of the engine: token ids in, token ids out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaSpan:
    """Where the soft tokens of one image, frame or clip stand: positions `start` to `end` - 1.

    digest: equal for equal content.
    whole: its rows see each other, so they run in one step, and no prefix is reused that ends among them.
    """

    start: int
    end: int
    digest: bytes
    whole: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One prompt, and how many tokens may follow it.

    id: of the caller's choice, like no other that is under way.
    num_samples: replies to this one prompt.
    media: spans in order of position.
    boundaries: positions at which the beginning should stay findable after the request has gone on, such as
    the end of each turn; the prompt's end is one without being named.
    adapter: what else the keys and values depend on; beginnings are shared only where it is equal.
    score_prompt: the result of every row of the prompt is wanted, so none of it is taken from a cache.
    """

    id: int
    prompt_ids: tuple[int, ...]
    max_tokens: int
    num_samples: int = 1
    media: tuple[MediaSpan, ...] = ()
    boundaries: tuple[int, ...] = ()
    adapter: bytes = b""
    score_prompt: bool = False

    @property
    def most_tokens(self) -> int:
        """Tokens of the prompt and of the longest reply."""
        return len(self.prompt_ids) + self.max_tokens


def cut_back(position: int, media: tuple[MediaSpan, ...], page_tokens: int) -> int:
    """The last page's edge up to `position` that lies inside no span that is whole."""
    edge = position - position % page_tokens
    for span in reversed(media):
        if span.whole and span.start < edge < span.end:
            edge = span.start - span.start % page_tokens
    return edge
