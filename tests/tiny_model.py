"""A whole checkpoint of a few thousand random weights: for tests that need a model and not its wisdom."""

import json
import string
from dataclasses import replace
from pathlib import Path

import torch

from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import MediaTokens
from gemcut.model.gemma4 import Gemma4
from gemcut.prompt.tokenizer import BLANK, MEDIA_TOKENS, TEXT_TOKENS, build_backend
from tests.checkpoint.models import EDGE, EDGE_TEXT, TEXT_ONLY

CONTEXT = 512  # tokens; four times as many with senses
TEMPLATE = """{{ bos_token }}
{%- for message in messages -%}
<|turn>{{ 'model' if message.role == 'assistant' else message.role }}
{% if message.content is string %}{{ message.content }}{% else %}
{%- for part in message.content %}
{{- part.text if part.type == 'text' else '<|' ~ part.type ~ '|>' }}
{%- endfor %}{% endif %}<turn|>\n
{%- endfor -%}
<|turn>model\n"""


def write_tiny_model(folder: Path, senses: bool = False) -> None:
    """Writes the checkpoint. It answers with letters and blanks, greedily, until the context is full.

    senses: whether it takes images, sound and video too.
    """
    control = [*TEXT_TOKENS.values(), *MEDIA_TOKENS.values()]
    pieces = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), BLANK, *string.printable]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = build_backend(ids, [], control)
    text = replace(
        EDGE_TEXT,
        vocab_size=len(ids),
        vocab_size_per_layer_input=len(ids),
        max_position_embeddings=4 * CONTEXT if senses else CONTEXT,
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<bos>"],
        eos_token_id=ids["<eos>"],
    )
    media_tokens = MediaTokens(**{part: ids[token] for part, token in MEDIA_TOKENS.items()})
    whole = replace(EDGE, dtype="float32") if senses else TEXT_ONLY
    config = replace(whole, text=text, media_tokens=media_tokens)
    generator = torch.Generator().manual_seed(0)
    weights = [
        (name, 0.1 * torch.randn(parameter.shape, generator=generator))
        for name, parameter in Gemma4(config).named_parameters()
    ]
    letters = set(string.ascii_letters) | {BLANK}
    generation = {
        "eos_token_id": [ids["<eos>"], ids["<turn|>"]],
        "do_sample": False,
        "suppress_tokens": [number for piece, number in ids.items() if piece not in letters],
    }
    extra_files = {
        "tokenizer.json": backend.to_str().encode(),
        "chat_template.jinja": TEMPLATE.encode(),
        "generation_config.json": json.dumps(generation).encode(),
    }
    write_checkpoint(folder, config, weights, extra_files=extra_files)
