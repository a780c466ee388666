"""A small model whose files are in bfloat16, as those of the hub are."""

import json
from pathlib import Path

import torch

from gemcut.config import TextConfig
from gemcut.opened import Opened, open_checkpoint
from tests.quant.models import EDGE, write_model


def write_bf16(folder: Path, text: TextConfig = EDGE) -> Opened:
    write_model(folder, text, dtype=torch.bfloat16)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "bfloat16"}))
    return open_checkpoint(folder)
