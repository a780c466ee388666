"""Values that JSON can hold, rebuilt from plain types so that nothing else reaches a chat template."""

import math
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 100


def plain_json(value: Any, depth: int = 0) -> Any:
    """The value, rebuilt: None, bool, int, float, str, lists and dicts with str keys.

    Anything else would be printed by its own `__str__`, which may hold control strings.
    Raises ValueError, saying which value it was, for other types, non-finite numbers and endless nesting.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no JSON number")
        return float.__float__(value)
    if isinstance(value, list | tuple):
        return [plain_json(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"the key {wrong[0]!r} is no string")
        return {str.__str__(key): plain_json(item, depth + 1) for key, item in value.items()}
    raise ValueError(f"a value of type {type(value).__name__} is no JSON")
