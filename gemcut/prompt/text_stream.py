"""Token ids → text, one at a time, never half a character."""

from gemcut.prompt.tokenizer import Tokenizer


class TextStream:
    """The text of a growing list of ids: what `push` and `finish` give, joined, is what `decode` gives.

    A run of byte tokens is held until it ends, because decoding judges it as a whole: if any of it is no
    UTF-8, each of its bytes becomes U+FFFD. Control tokens add nothing, and do not end a run.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._run = bytearray()

    def push(self, token_id: int) -> str:
        """The text that is certain with this token; often its own, "" while a character is incomplete."""
        if self._tokenizer.is_control(token_id):
            return ""
        byte = self._tokenizer.byte_value(token_id)
        if byte is not None:
            self._run.append(byte)
            return ""
        text = self._tokenizer.token_bytes(token_id).decode()
        return self.finish() + text if self._run else text

    def finish(self) -> str:
        """The text still held; afterwards the stream starts anew."""
        run = bytes(self._run)
        self._run.clear()
        try:
            return run.decode()
        except UnicodeDecodeError:
            return "\ufffd" * len(run)
