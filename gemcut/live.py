"""Replies under way, for who must not wait: a server that holds many of them in one thread."""

from gemcut.engine.logprobs import TokenLogprobs
from gemcut.engine.token_stream import TokenStream
from gemcut.prompt.assemble import Prompt
from gemcut.reply import CompletionReader, Delta, ReplyReader


class LiveReply:
    """One reply under way.

    prompt_ids: what the model reads for it, the same tuple for all replies to one prompt.  media_tokens: how
    many of them stand for media, which are not kept until the end: they are large.
    ended: whether its last piece was taken.
    """

    def __init__(self, prompt: Prompt, stream: TokenStream, reader: ReplyReader | CompletionReader) -> None:
        self.prompt_ids = prompt.token_ids
        self.media_tokens = sum(medium.tokens for medium in prompt.media)
        self.ended = False
        self._stream = stream
        self._reader = reader

    @property
    def prompt_logprobs(self) -> list[TokenLogprobs]:
        """Of each token of the prompt but the first, where asked for; whole once there is a piece."""
        return self._stream.prompt_logprobs

    def take(self) -> list[Delta]:
        """The pieces that are there since the last time, maybe none.  Raises what made the request fail."""
        deltas: list[Delta] = []
        if self.ended:
            return deltas
        for token in self._stream.take():
            deltas += self._reader.push(token)
            if self._reader.over:
                break
        if self._reader.over or self._stream.ended:
            self.close()
            deltas += self._reader.finish(self._stream.num_cached)
        return deltas

    def close(self) -> None:
        """Ends the reply, whose memory is free before the engine's next step."""
        self.ended = True
        self._stream.close()
