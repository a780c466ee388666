"""The vocabulary in a GGUF file: a part of its metadata."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gemcut.checkpoint.gguf_header import GgufHeader, read_gguf_header
from gemcut.errors import BadTokenizer

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
    return gguf_vocab(read_gguf_header(file))


def gguf_vocab(header: GgufHeader) -> GgufVocab:
    """The same of a header that was read already.  Raises BadTokenizer."""
    file, pairs = header.file, header.pairs

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
        if not 0 <= token < len(tokens):
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
