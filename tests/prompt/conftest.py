"""A small vocabulary of Gemma 4's kind, and the real one where it is at hand."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend

from gemcut.prompt.template import ChatTemplate
from gemcut.prompt.tokenizer import MEDIA_TOKENS, TEXT_TOKENS, Tokenizer, build_backend

NANO = Path(__file__).resolve().parents[2] / "gemcut/nano"


def small_backend(without: tuple[str, ...] = (), bytes_up_to: int = 256) -> Backend:
    """Control tokens, bytes, printable ASCII, a few letters beyond it, and some merges."""
    merges = [
        ("t", "h"),
        ("th", "e"),
        ("▁", "the"),
        ("c", "a"),
        ("ca", "l"),
        ("cal", "l"),
        ("\n", "\n"),
        ("<", "|"),
    ]
    merges += [("▁", "▁"), ("u", "s"), ("us", "e"), ("use", "r"), ("{", "a"), ("{a", ":"), ("|", ">")]
    pieces = [t for t in (*TEXT_TOKENS.values(), *MEDIA_TOKENS.values()) if t not in without]
    pieces += [f"<0x{byte:02X}>" for byte in range(bytes_up_to)]
    pieces += [chr(c) for c in range(33, 127)] + ["▁", "\n", "é", "ß", "你"] + [a + b for a, b in merges]
    control = [t for t in pieces if t in TEXT_TOKENS.values() or t in MEDIA_TOKENS.values()]
    return build_backend({piece: i for i, piece in enumerate(pieces)}, merges, control)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The small vocabulary."""
    return Tokenizer(small_backend())


@pytest.fixture(scope="session")
def real_tokenizer(shared: Path) -> Tokenizer:
    """Gemma 4's vocabulary."""
    return Tokenizer.from_gguf(shared / "data/gemma-4-vocab.gguf")


@pytest.fixture(scope="session")
def nano_template() -> ChatTemplate:
    """nano's own template, which is in the package."""
    return ChatTemplate.from_folder(NANO)


@pytest.fixture(scope="session")
def edge_template(shared: Path) -> ChatTemplate:
    """The official template of E2B and E4B."""
    return ChatTemplate((shared / "data/chat_template.edge.jinja").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def workstation_template(shared: Path) -> ChatTemplate:
    """The official template of 12B, 26B and 31B."""
    return ChatTemplate((shared / "data/chat_template.workstation.jinja").read_text(encoding="utf-8"))
