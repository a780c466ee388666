"""Strings of people, marked so that the tokenizer can tell them from the template's control tokens.

Every control string begins with "<". Before the template runs, a marker M goes behind each "<" that a person
wrote, so `<|turn>` becomes `<M|turn>`, and whatever control string stands in the rendered text is the
template's own, even where it glues strings of people together. Afterwards the markers come out again,
stretch by stretch. M is a caseless character of Unicode's private use and stands behind every "<" alike, so
trimming, upper-casing and the order of sorted keys stay as they were; a person who types M gets it back.
"""

from collections.abc import Mapping
from typing import Any

from gemcut.prompt.tokenizer import Tokenizer

MARKED = "<\ue000"


def protect(value: Any) -> Any:
    """The value with a marker behind every "<", in strings, keys and whatever lies within."""
    if isinstance(value, str):
        return value.replace("<", MARKED)
    if isinstance(value, Mapping):
        return {protect(key): protect(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [protect(item) for item in value]
    return value


def encode_protected(text: str, tokenizer: Tokenizer) -> list[int]:
    """Token ids of a rendered text: unmarked control strings as control tokens, all else as plain text."""
    ids: list[int] = []
    for piece in tokenizer.split(text):
        ids += [piece] if isinstance(piece, int) else tokenizer.encode(piece.replace(MARKED, "<"))
    return ids
