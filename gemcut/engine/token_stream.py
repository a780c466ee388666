"""The tokens of one sample on their way from the engine's thread to who asked for them."""

import queue
from collections.abc import Callable, Iterator

from gemcut.engine.logprobs import TokenLogprobs
from gemcut.engine.naive import Token
from gemcut.engine.progress import Key


class TokenStream(Iterator[Token]):
    """The tokens of one sample as they are made; `close` ends it early.

    Both are known once a token came:
    prompt_logprobs: of each token of the prompt but the first, where asked for.
    num_cached: how many of the prompt's tokens were not computed for this request.

    ring: called, in the engine's thread, whenever something is there for `take`; it must not wait.
    """

    def __init__(
        self, key: Key, cancel: Callable[[Key], None], ring: Callable[[], None] | None = None
    ) -> None:
        self.key = key
        self.prompt_logprobs: list[TokenLogprobs] = []
        self.num_cached = 0
        self.ended = False  # nothing more will be given
        self._cancel = cancel
        self._ring = ring
        self._queue: queue.SimpleQueue[Token | Exception | None] = queue.SimpleQueue()

    def __next__(self) -> Token:
        """The next token.  Raises what made the request fail, and StopIteration at the end."""
        if self.ended:
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, Token):
            return item
        self.ended = True
        if item is None:
            raise StopIteration
        raise item

    def take(self) -> list[Token]:
        """The tokens that are there; it never waits.  Raises what made the request fail."""
        tokens: list[Token] = []
        while not self.ended and not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, Token):
                tokens.append(item)
                continue
            self.ended = True
            if item is not None:
                raise item
        return tokens

    def put(self, item: Token | Exception | None) -> None:
        """Hands over a token, an error, or None at the end."""
        self._queue.put(item)
        if self._ring is not None:
            self._ring()

    def close(self) -> None:
        """Ends the sample, whose pages are free before the next step."""
        if not self.ended:
            self.ended = True
            self._cancel(self.key)
