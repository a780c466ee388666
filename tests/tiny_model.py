"""A whole checkpoint of a few thousand random weights: for tests that need a model and not its wisdom."""

import json
import string
from dataclasses import replace
from pathlib import Path

import torch

from gemcut.checkpoint.write import write_checkpoint
from gemcut.model.gemma4 import Gemma4
from gemcut.prompt.tokenizer import BLANK, TEXT_TOKENS, build_backend
from tests.checkpoint.models import EDGE_TEXT, TEXT_ONLY

CONTEXT = 512  # tokens
TEMPLATE = """{{ bos_token }}
{%- for message in messages -%}
<|turn>{{ 'model' if message.role == 'assistant' else message.role }}\n{{ message.content }}<turn|>\n
{%- endfor -%}
<|turn>model\n"""


def write_tiny_model(folder: Path) -> None:
    """Writes the checkpoint. It answers with letters and blanks, greedily, until the context is full."""
    pieces = [*TEXT_TOKENS.values(), *(f"<0x{byte:02X}>" for byte in range(256)), BLANK, *string.printable]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = build_backend(ids, [], list(TEXT_TOKENS.values()))
    text = replace(
        EDGE_TEXT,
        vocab_size=len(ids),
        vocab_size_per_layer_input=len(ids),
        max_position_embeddings=CONTEXT,
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<bos>"],
        eos_token_id=ids["<eos>"],
    )
    config = replace(TEXT_ONLY, text=text)
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
