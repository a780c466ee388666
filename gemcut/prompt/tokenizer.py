"""Text ↔ token ids, with control tokens kept apart from text.

A control token (`<|turn>`, `<bos>`, …) is one id that the model obeys. The same characters in a person's text
are only characters: `encode` makes control tokens out of them when it is asked to, and never otherwise.
"""

import ctypes
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from gemcut.checkpoint.gguf_vocab import GgufVocab, read_gguf_vocab
from gemcut.config import MediaTokens
from gemcut.errors import BadTokenizer, UnsupportedInput


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """Ids of the control tokens, by their part in the chat format.

    media_tokens is None for a vocabulary without them (a text model of one's own).
    """

    pad: int
    eos: int
    bos: int
    unk: int
    turn_open: int
    turn_close: int
    channel_open: int
    channel_close: int
    tool_open: int
    tool_close: int
    call_open: int
    call_close: int
    response_open: int
    response_close: int
    quote: int
    think: int
    media_tokens: MediaTokens | None

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens with which a reply is over."""
        return frozenset((self.turn_close, self.eos, self.response_open, self.turn_open))

    @cached_property
    def marks(self) -> frozenset[int]:
        """The tokens at which a channel or a call of a reply begins or ends, or all of it."""
        opened = (self.channel_open, self.channel_close, self.call_open, self.call_close)
        return self.ends.union(opened)

    @property
    def media(self) -> MediaTokens:
        """The media tokens.  Raises UnsupportedInput where the vocabulary has none."""
        if self.media_tokens is None:
            raise UnsupportedInput(
                "this model's vocabulary has no tokens for images, audio and video; "
                "give it text only, or use another model"
            )
        return self.media_tokens


TEXT_TOKENS = {
    "pad": "<pad>",
    "eos": "<eos>",
    "bos": "<bos>",
    "unk": "<unk>",
    "turn_open": "<|turn>",
    "turn_close": "<turn|>",
    "channel_open": "<|channel>",
    "channel_close": "<channel|>",
    "tool_open": "<|tool>",
    "tool_close": "<tool|>",
    "call_open": "<|tool_call>",
    "call_close": "<tool_call|>",
    "response_open": "<|tool_response>",
    "response_close": "<tool_response|>",
    "quote": '<|"|>',
    "think": "<|think|>",
}
MEDIA_TOKENS = {
    "begin_image": "<|image>",
    "image": "<|image|>",
    "end_image": "<image|>",
    "begin_audio": "<|audio>",
    "audio": "<|audio|>",
    "end_audio": "<audio|>",
    "video": "<|video|>",
}
BLANK = "▁"  # how the vocabulary writes " "

CONTROL_KINDS = (3, 4)  # in a GGUF file: control, and user-defined, which are the marks of calls and channels

Name = TypeVar("Name")


class Tokenizer:
    """Gemma 4's tokenizer: BPE on the text between control tokens, bytes for characters without a piece.

    Nothing in it changes once it is built, so many threads may share one.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.special = _special_tokens(backend)
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        self._byte_of_id = _byte_tokens(backend)
        self._control = _control_tokens(backend)  # string -> id
        self._control_text = {number: text for text, number in self._control.items()}
        # `prompt.escape` keeps people's "<" apart, so only strings that begin with it may be found in a text
        longest_first = sorted((t for t in self._control if t.startswith("<")), key=len, reverse=True)
        self._control_pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in self._control])
        backend.encode_special_tokens = True  # text is only text; `split` finds the control tokens
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        _give_back()

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """The tokenizer of a checkpoint folder's tokenizer.json.

        Raises BadTokenizer where the file is missing, damaged, or not Gemma 4's.
        """
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise BadTokenizer(
                f"{folder} has no tokenizer.json; download the model again or copy the file into it"
            )
        try:
            backend = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            problem = " ".join(str(error).split())
            raise BadTokenizer(f"{file} cannot be read ({problem}); download the model again") from error
        return cls(backend)

    @classmethod
    def from_gguf(cls, file: Path) -> "Tokenizer":
        """The tokenizer in a GGUF file: the same ids as tokenizer.json gives.

        Raises BadTokenizer where the vocabulary is damaged or not Gemma 4's, and as `read_gguf_vocab` does.
        """
        return cls.from_vocab(read_gguf_vocab(file), file)

    @classmethod
    def from_vocab(cls, vocabulary: GgufVocab, file: Path) -> "Tokenizer":
        """The same of a vocabulary that was read from the file already.  Raises BadTokenizer."""
        tokens = vocabulary.tokens
        ids = {token: number for number, token in enumerate(tokens)}
        if len(ids) < len(tokens):
            raise BadTokenizer(f"{file} has {len(tokens) - len(ids)} of its tokens twice; download it again")
        control = [t for t, kind in zip(tokens, vocabulary.kinds, strict=True) if kind in CONTROL_KINDS]
        try:
            backend = build_backend(ids, vocabulary.merges, control)
        except Exception as error:  # the library raises nothing narrower
            problem = " ".join(str(error).split())
            raise BadTokenizer(
                f"the vocabulary of {file} is damaged ({problem}); download it again"
            ) from error
        return cls(backend)

    def description(self) -> dict[str, Any]:
        """What tokenizer.json says of it."""
        found: dict[str, Any] = json.loads(self._backend.to_str())
        return found

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of the text; `<bos>` is never added.

        special: whether control strings in the text become control tokens. By default they stay plain text.
        Raises UnsupportedInput for half a surrogate pair, which broken clients and files contain.
        """
        if not special:
            return self._encode_plain(text)
        ids: list[int] = []
        for piece in self.split(text):
            ids += [piece] if isinstance(piece, int) else self._encode_plain(piece)
        return ids

    def split(self, text: str) -> Iterator[str | int]:
        """The text in order, as stretches of plain text and the ids of the control tokens between them."""
        for number, piece in enumerate(self._control_pattern.split(text)):
            if number % 2:  # what the pattern found stands between what it did not
                yield self._control[piece]
            elif piece:
                yield piece

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """The text of token ids; byte runs that are no UTF-8 become U+FFFD, one a byte.

        special: whether control tokens are written out. By default they are dropped.
        Raises BadTokenizer for an id outside the vocabulary.
        """
        for number in ids:
            self._check(number)
        kept = ids if special else [number for number in ids if number not in self._control_text]
        text: str = self._backend.decode(list(kept), skip_special_tokens=False)
        return text

    @cached_property
    def longest(self) -> int:
        """Characters of the longest token: no text has fewer tokens than its length divided by this."""
        return max(map(len, self._backend.get_vocab(with_added_tokens=True)))

    def is_control(self, token_id: int) -> bool:
        """Whether the id is a control token."""
        return token_id in self._control_text

    def byte_value(self, token_id: int) -> int | None:
        """The byte that a byte-fallback token stands for; None for every other token."""
        return self._byte_of_id.get(token_id)

    def token_bytes(self, token_id: int) -> bytes:
        """What one token adds to the text, in UTF-8: a byte token its byte, a control token its string.

        Raises BadTokenizer for an id outside the vocabulary.
        """
        self._check(token_id)
        byte = self._byte_of_id.get(token_id)
        if byte is not None:
            return bytes([byte])
        if token_id in self._control_text:
            return self._control_text[token_id].encode()
        return str(self._backend.id_to_token(token_id)).replace(BLANK, " ").encode()

    def _encode_plain(self, text: str) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedInput(
                f"the text has {text[error.start]!a} at position {error.start}, half of a character; "
                "give valid Unicode"
            ) from error
        return self._backend.encode(text, add_special_tokens=False).ids

    def _check(self, token_id: int) -> None:
        if not 0 <= token_id < self.vocab_size:
            raise BadTokenizer(
                f"there is no token {token_id} in this vocabulary; ids are 0 to {self.vocab_size - 1}"
            )


def build_backend(
    ids: dict[str, int], merges: Sequence[tuple[str, str]], control: Sequence[str]
) -> tokenizers.Tokenizer:
    """Gemma 4's pipeline around a vocabulary: what tokenizer.json would describe.

    ids: every piece with its id, control tokens included.  control: the pieces that are control tokens.
    Source: facts/tokenizer.md, section 1.
    """
    model = models.BPE(vocab=ids, merges=list(merges), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.Replace(" ", BLANK)
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return backend


def _special_tokens(backend: tokenizers.Tokenizer) -> SpecialTokens:
    text = _find_ids(backend, TEXT_TOKENS)
    if missing := [string for part, string in TEXT_TOKENS.items() if part not in text]:
        raise BadTokenizer(
            f"the vocabulary lacks {' '.join(missing)}, so it is not Gemma 4's; "
            "use the tokenizer.json that belongs to the model"
        )
    media = _find_ids(backend, MEDIA_TOKENS)
    complete = len(media) == len(MEDIA_TOKENS)
    return SpecialTokens(**text, media_tokens=MediaTokens(**media) if complete else None)


def _byte_tokens(backend: tokenizers.Tokenizer) -> dict[int, int]:
    """The byte of each byte token, by id."""
    strings = {byte: f"<0x{byte:02X}>" for byte in range(256)}
    ids = _find_ids(backend, strings)
    if missing := [string for byte, string in strings.items() if byte not in ids]:
        raise BadTokenizer(
            f"the vocabulary lacks {len(missing)} of the 256 byte tokens, {missing[0]} first, so it is not "
            "Gemma 4's; use the tokenizer.json that belongs to the model"
        )
    return {number: byte for byte, number in ids.items()}


def _control_tokens(backend: tokenizers.Tokenizer) -> dict[str, int]:
    """The id of each control token: those that the file marks as special, and all of Gemma 4's."""
    added = backend.get_added_tokens_decoder()
    marked = {token.content: number for number, token in added.items() if token.special}
    ours = {string: string for string in (*TEXT_TOKENS.values(), *MEDIA_TOKENS.values())}
    return marked | _find_ids(backend, ours)


def _find_ids(backend: tokenizers.Tokenizer, strings: Mapping[Name, str]) -> dict[Name, int]:
    """The id of each string that is in the vocabulary, under the string's name."""
    found = {name: backend.token_to_id(string) for name, string in strings.items()}
    return {name: number for name, number in found.items() if number is not None}


def _give_back() -> None:
    """Freed memory, to the system: reading a vocabulary frees 180 MB, which glibc would keep for later."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
