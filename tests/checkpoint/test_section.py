"""Reading JSON key by key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemcut.checkpoint.section import Section
from gemcut.errors import BadConfig, CheckpointNotFound

FILE = Path("model/config.json")


def section(**values: Any) -> Section:
    return Section(FILE, "text_config.", values)


def test_what_was_taken_and_ignored_is_no_error_at_the_end() -> None:
    one = section(width=3, theta=2, on=True, kind="a", ids=[1, 2], note="x", dropout=0)
    assert one.integer("width") == 3
    assert one.number("theta") == 2.0
    assert one.flag("on") is True
    assert one.one_of("kind", "a", "b") == "a"
    assert one.integers("ids") == (1, 2)
    one.ignore("note", "absent")
    one.expect(dropout=(0,), absent=(1,))
    one.close()


def test_a_single_number_is_a_list_of_one() -> None:
    assert section(eos=106).integers("eos") == (106,)


def test_an_unknown_key_is_named_with_file_section_value_and_a_guess() -> None:
    one = section(hidden_size=3, hiden_sise=4)
    one.integer("hidden_size")
    with pytest.raises(BadConfig, match=r"model/config.json: text_config.hiden_sise .*4.*'hidden_size'"):
        one.close()


def test_an_unknown_key_like_no_other_gets_advice_and_no_guess() -> None:
    with pytest.raises(BadConfig, match="text_config.zebra is a key that gemcut does not know .*; remove it"):
        section(zebra=1).close()


@pytest.mark.parametrize("read", [Section.integer, Section.number, Section.flag, Section.take, Section.child])
def test_a_missing_key_is_named(read: Callable[[Section, str], Any]) -> None:
    with pytest.raises(BadConfig, match="model/config.json: text_config.width is missing"):
        read(section(), "width")


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (Section.integer, 0),
        (Section.integer, 1.5),
        (Section.integer, "3"),
        (Section.integer, True),
        (Section.integer, None),
        (Section.number, "3"),
        (Section.number, False),
        (Section.number, float("nan")),
        (Section.number, float("inf")),
        (Section.positive, 0.0),
        (Section.flag, 1),
        (Section.flag, None),
        (Section.integers, []),
        (Section.integers, [1, "2"]),
        (Section.integers, [-1]),
        (Section.integers, None),
        (Section.child, [1]),
    ],
)
def test_a_value_of_another_kind_is_named(read: Callable[[Section, str], Any], value: Any) -> None:
    with pytest.raises(BadConfig, match="text_config.width is .* and must be"):
        read(section(width=value), "width")


def test_a_value_that_we_cannot_compute_with_lists_those_we_can() -> None:
    with pytest.raises(
        BadConfig, match=r"text_config.act is 'relu', and gemcut computes only with .*\"gelu\""
    ):
        section(act="relu").one_of("act", "gelu", "silu")
    with pytest.raises(BadConfig, match="text_config.bias is True, and gemcut computes only with false"):
        section(bias=True).expect(bias=(False,))


def test_one_is_not_true() -> None:
    with pytest.raises(BadConfig, match="is 1, and gemcut computes only with true"):
        section(on=1).one_of("on", True)


def test_a_file_that_is_not_there_is_a_checkpoint_not_found(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=f"{tmp_path} has no config.json"):
        Section.read(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"a": "\xff"}', "is not JSON"),
        (b"[1]", "holds a JSON list and not an object"),
        (b'{"a": {"b": 1, "b": 2}}', "has the key 'b' twice"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "is not JSON"),
    ],
)
def test_a_file_that_is_no_json_object_says_so(text: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(BadConfig, match=f"config.json {what}.*gemcut pull"):
        Section.read(tmp_path / "config.json")


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to("config.json")
    with pytest.raises(BadConfig, match="config.json cannot be read .*symbolic links.*; make it readable"):
        Section.read(tmp_path / "config.json")
