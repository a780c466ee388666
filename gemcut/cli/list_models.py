"""`gemcut list`: what each size is, takes, and needs."""

import json
from collections.abc import Sequence
from typing import Any

from gemcut.cli.figures import count, size, tokens
from gemcut.cli.model_facts import ModelFacts, read_facts
from gemcut.cli.options import AsJson
from gemcut.family import FAMILIES
from gemcut.media.audio import MOST_SECONDS
from gemcut.media.image import BUDGETS
from gemcut.media.video import MOST_FRAMES, TOKENS_OF_A_FRAME, USUAL_FRAMES

LEGEND = """
* is on this machine; `gemcut pull NAME` downloads the others.
weights: all of them.  context: the most tokens.  memory: of the text model's weights in bfloat16;
`gemcut show NAME` adds what images, sound and video cost in tokens, what keys and values take, and more."""


def list_models(as_json: AsJson = False) -> None:
    """Show the sizes: what each takes, and what it needs."""
    facts = [read_facts(row.name) for row in FAMILIES]
    if as_json:
        print(json.dumps([row_json(fact) for fact in facts], indent=2))
    else:
        print(table(facts))
        print(LEGEND)


def row_json(facts: ModelFacts) -> dict[str, Any]:
    """One size as a JSON object."""
    return {
        "name": facts.name,
        "hub_id": facts.hub_id,
        "takes": list(facts.takes),
        "media_tokens": media_tokens(facts),
        "parameters": facts.parameters,
        "active_parameters": facts.active,
        "context_tokens": facts.text.max_position_embeddings,
        "load_bytes": facts.load_bytes,
        "disk_bytes": facts.disk_bytes,
        "folder": None if facts.folder is None else str(facts.folder),
    }


def media_tokens(facts: ModelFacts) -> dict[str, Any]:
    """What each kind of media that the model takes costs in tokens."""
    costs: dict[str, Any] = {
        "image": {"most": facts.image_tokens, "budgets": list(BUDGETS)},
        "audio": {"per_s": facts.sound_tokens_per_s, "most_s": MOST_SECONDS},
        "video": {"per_frame": TOKENS_OF_A_FRAME, "frames": USUAL_FRAMES, "most_frames": MOST_FRAMES},
    }
    return {kind: cost for kind, cost in costs.items() if kind in facts.takes}


def table(facts: Sequence[ModelFacts]) -> str:
    """The sizes, a line each, in less than 80 columns."""
    rows = [("  name", "hub id", "takes", "weights", "context", "memory")]
    for fact in facts:
        here = " " if fact.folder is None else "*"
        hub_id = "(in the package)" if fact.hub_id is None else fact.hub_id
        needs = (count(fact.parameters), tokens(fact.text.max_position_embeddings), size(fact.load_bytes))
        rows.append((f"{here} {fact.name}", hub_id, " ".join(fact.takes), *needs))
    return "\n".join(f"{a:<6} {b:<25} {c:<22} {d:>7} {e:>7} {f:>7}" for a, b, c, d, e, f in rows)
