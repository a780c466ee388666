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
    """

    def __init__(self, key: Key, cancel: Callable[[Key], None]) -> None:
        self.key = key
        self.prompt_logprobs: list[TokenLogprobs] = []
        self.num_cached = 0
        self._cancel = cancel
        self._queue: queue.SimpleQueue[Token | Exception | None] = queue.SimpleQueue()
        self._ended = False

    def __next__(self) -> Token:
        """The next token.  Raises what made the request fail, and StopIteration at the end."""
        if self._ended:
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, Token):
            return item
        self._ended = True
        if item is None:
            raise StopIteration
        raise item

    def put(self, item: Token | Exception | None) -> None:
        """Hands over a token, an error, or None at the end."""
        self._queue.put(item)

    def close(self) -> None:
        """Ends the sample, whose pages are free before the next step."""
        if not self._ended:
            self._ended = True
            self._cancel(self.key)
