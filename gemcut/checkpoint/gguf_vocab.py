"""The vocabulary in a GGUF file.

Only the metadata is read, and by this module: the gguf package takes half a minute for Gemma 4's 262,144
tokens and 514,906 merges, because it wraps every string in arrays; this takes about a second.
Source: the GGUF specification, versions 2 and 3.

    "GGUF"  u32 version  u64 tensors  u64 pairs   then the pairs: string key, u32 type, value
    string  u64 length, bytes                     array  u32 type of its items, u64 length, items
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gemcut.errors import BadTokenizer, BadWeightFile, CheckpointNotFound

# struct's letter for each type of number
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
MODEL = "gemma4"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class GgufVocab:
    """What a GGUF file says about tokens.

    tokens: the piece of each id.  kinds: what each is (1 ordinary, 2 unknown, 3 control, 4 user-defined,
    5 unused, 6 byte).  merges: the pairs that BPE joins, in order of preference.
    """

    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[tuple[str, str], ...]
    bos_id: int
    eos_id: int
    unknown_id: int
    pad_id: int
    chat_template: str | None


def read_gguf_vocab(file: Path) -> GgufVocab:
    """The vocabulary of a GGUF file with a Gemma 4 model, or with its vocabulary alone.

    Raises CheckpointNotFound without the file, BadWeightFile where it is no whole GGUF file, BadTokenizer
    where it has no vocabulary of Gemma 4.
    """
    pairs = _read_pairs(file)

    def value(name: str, kind: type[T]) -> T:
        key = f"tokenizer.{name}"
        if not isinstance(pairs.get(key), kind):
            raise BadTokenizer(f"{file} has no {key} of a vocabulary; give a GGUF file of Gemma 4")
        found: T = pairs[key]
        return found

    def array(name: str, kind: type[T]) -> tuple[T, ...]:
        items = value(name, tuple)
        if not items or not isinstance(items[0], kind):  # the items of a GGUF array are of one type
            raise BadTokenizer(
                f"{file} has a tokenizer.{name} that cannot be used; give a GGUF file of Gemma 4"
            )
        return items

    model = value("ggml.model", str)
    if model != MODEL:
        raise BadTokenizer(f"{file} has the vocabulary of a {model!r} model; give a GGUF file of {MODEL!r}")
    tokens, kinds = array("ggml.tokens", str), array("ggml.token_type", int)
    texts = array("ggml.merges", str)
    bad = next((text for text in texts if text.count(" ") != 1), None)
    if bad is not None:
        raise BadTokenizer(f"{file} has the merge {bad!r}, which is no pair; download the file again")
    merges = tuple((left, right) for left, _, right in (text.partition(" ") for text in texts))
    if len(kinds) != len(tokens):
        raise BadTokenizer(
            f"{file} has {len(tokens)} tokens and {len(kinds)} types of them; download the file again"
        )
    ids = {name: value(f"ggml.{name}_token_id", int) for name in ("bos", "eos", "unknown", "padding")}
    for name, token in ids.items():
        if token >= len(tokens):
            raise BadTokenizer(
                f"{file} has {token} for its {name} token and {len(tokens)} tokens; download it again"
            )
    return GgufVocab(
        tokens=tokens,
        kinds=kinds,
        merges=merges,
        bos_id=ids["bos"],
        eos_id=ids["eos"],
        unknown_id=ids["unknown"],
        pad_id=ids["padding"],
        chat_template=value("chat_template", str) if "tokenizer.chat_template" in pairs else None,
    )


def _read_pairs(file: Path) -> Mapping[str, Any]:
    """The metadata whose keys begin with "tokenizer."."""
    try:
        with file.open("rb") as opened:
            head = opened.read(24)
            if head[:4] != b"GGUF" or len(head) < 24:
                raise BadWeightFile(f"{file} is no GGUF file: it begins with {head[:4]!r}; give another file")
            version, _, num_pairs = struct.unpack("<IQQ", head[4:])
            if version not in (2, 3):
                raise BadWeightFile(
                    f"{file} is GGUF of version {version}; gemcut reads 2 and 3, little-endian"
                )
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).pairs(num_pairs)
    except (FileNotFoundError, IsADirectoryError) as problem:
        raise CheckpointNotFound(f"{file} is no file; give the path of a GGUF file") from problem
    except (struct.error, UnicodeDecodeError, _Damaged) as problem:
        raise BadWeightFile(f"{file} is truncated or damaged ({problem}); download it again") from problem


class _Damaged(Exception):
    """The bytes cannot be GGUF metadata."""


class _Reader:
    """Reads one value after another."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 24

    def pairs(self, count: int) -> Mapping[str, Any]:
        found = {}
        for _ in range(count):
            key = self.string()
            value = self.value(self.number("I"))
            if key.startswith("tokenizer."):
                found[key] = value
        return found

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array(self.number("I"), self.number("Q"))
        if kind not in NUMBERS:
            raise _Damaged(f"a value of type {kind} at byte {self.at}")
        return self.number(NUMBERS[kind])

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return value

    def string(self) -> str:
        (text,) = self.array(STRING, 1)
        assert isinstance(text, str)
        return text

    def array(self, kind: int, count: int) -> tuple[Any, ...]:
        size = 8 if kind == STRING else struct.calcsize(f"<{NUMBERS[kind]}") if kind in NUMBERS else 0
        if size == 0:
            raise _Damaged(f"an array of type {kind} at byte {self.at}")
        if count * size > len(self.data) - self.at:
            raise _Damaged(f"{count} items at byte {self.at} of {len(self.data)}")
        if kind != STRING:
            values = struct.unpack_from(f"<{count}{NUMBERS[kind]}", self.data, self.at)
            self.at += count * size
            return values
        strings = []
        data, at, unpack = self.data, self.at, struct.Struct("<Q").unpack_from
        for _ in range(count):  # a million times: keep it tight
            (length,) = unpack(data, at)
            end = at + 8 + length
            text = data[at + 8 : end]
            if len(text) < length:
                raise _Damaged(f"a string of {length} bytes at byte {at} of {len(data)}")
            strings.append(text.decode())
            at = end
        self.at = at
        return tuple(strings)
