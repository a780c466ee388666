"""Reading a JSON file key by key, so that nothing in it is ignored unseen."""

import json
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from gemcut.errors import BadConfig, CheckpointNotFound


def parse_object(text: str | bytes, complain: Callable[[str], Exception]) -> dict[str, Any]:
    """The JSON object that `text` holds.

    Raises what `complain` makes of "is not JSON …" where it is none, or where a key comes twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            raise complain(f"has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
        return values

    try:
        values = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as problem:  # no UTF-8, no JSON, or a number of thousands of digits
        raise complain(f"is not JSON ({problem})") from problem
    if not isinstance(values, dict):
        raise complain(f"holds a JSON {type(values).__name__} and not an object")
    return values


class Section:
    """One object of a config file; each key is taken once, and what is left at `close` is an error.

    Every method that takes a key raises BadConfig where the key is missing or its value cannot be used.
    """

    def __init__(self, file: Path, name: str, values: Mapping[str, Any]) -> None:
        self.file = file
        self.name = name
        self.left = dict(values)
        self.known: set[str] = set()

    @classmethod
    def read(cls, file: Path) -> "Section":
        """The outermost object of a JSON file.

        Raises CheckpointNotFound without the file, BadConfig where it is not a JSON object.
        """
        try:
            text = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as problem:
            raise CheckpointNotFound(
                f"{file.parent} has no {file.name}: name a folder with a model, or a size to download"
            ) from problem
        except OSError as problem:  # most often a file of another user's
            raise BadConfig(f"{file} cannot be read ({problem.strerror}); make it readable") from problem

        def complain(what: str) -> BadConfig:
            return BadConfig(f"{file} {what}; download it again with: gemcut pull MODEL")

        return cls(file, "", parse_object(text, complain))

    def fail(self, key: str, what: str) -> NoReturn:
        """Raise BadConfig that names the file, the section and the key."""
        raise BadConfig(f"{self.file}: {self.name}{key} {what}")

    def has(self, key: str) -> bool:
        """Whether the key is there with a value other than null."""
        self.known.add(key)
        return self.left.get(key) is not None

    def take(self, key: str) -> Any:
        """The key's value, whatever it is."""
        self.known.add(key)
        if key not in self.left:
            self.fail(key, "is missing; take config.json from the hub's folder of this model")
        return self.left.pop(key)

    def integer(self, key: str, *, at_least: int = 1) -> int:
        """A whole number."""
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            self.fail(key, f"is {value!r} and must be a whole number of at least {at_least}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.take(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            self.fail(key, f"is {value!r} and must be a number")
        return float(value)

    def positive(self, key: str) -> float:
        """A finite number above 0."""
        value = self.number(key)
        if value <= 0:
            self.fail(key, f"is {value!r} and must be above 0")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.take(key)
        if not isinstance(value, bool):
            self.fail(key, f"is {value!r} and must be true or false")
        return value

    def one_of(self, key: str, *allowed: Any) -> Any:
        """A value that must be one of a few."""
        value = self.take(key)
        if not any(value == other and type(value) is type(other) for other in allowed):
            options = " or ".join(json.dumps(other) for other in allowed)
            self.fail(key, f"is {value!r}, and gemcut computes only with {options}")
        return value

    def integers(self, key: str, *, at_least: int = 0) -> tuple[int, ...]:
        """A whole number or a list of them."""
        value = self.take(key)
        numbers = value if isinstance(value, list) else [value]
        if not numbers or any(not isinstance(n, int) or isinstance(n, bool) or n < at_least for n in numbers):
            self.fail(key, f"is {value!r} and must be whole numbers of at least {at_least}")
        return tuple(numbers)

    def child(self, key: str) -> "Section":
        """The object under a key."""
        value = self.take(key)
        if not isinstance(value, dict):
            self.fail(key, f"is {value!r} and must be an object")
        return Section(self.file, f"{self.name}{key}.", value)

    def expect(self, **allowed: tuple[Any, ...]) -> None:
        """Keys that may be absent, and where they are there, must have one of these values."""
        for key, values in allowed.items():
            self.known.add(key)
            if key in self.left:
                self.one_of(key, *values)

    def ignore(self, *keys: str) -> None:
        """Keys that may be there with any value, because nothing that is computed depends on them."""
        for key in keys:
            self.known.add(key)
            self.left.pop(key, None)

    def close(self) -> None:
        """Raise BadConfig for the first key that nobody asked for."""
        for key, value in self.left.items():
            near = get_close_matches(key, self.known, n=1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else "remove it if the model computes the same without it"
            )
            self.fail(key, f"is a key that gemcut does not know (its value is {value!r}); {hint}")
