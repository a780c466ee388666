"""The decoder's tensors as the config tells them, against the module's own and the hub's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gemcut.family import FAMILIES, family
from gemcut.model.gemma4 import Gemma4
from gemcut.model.layer_plan import unused_tensors
from gemcut.model.text_tensors import text_tensors
from tests.checkpoint.models import MODELS, TEXT_ONLY

LISTS = {"e2b": "E2B", "e4b": "E4B", "12b": "12B", "26b": "26B-A4B", "31b": "31B"}


@pytest.mark.parametrize("name", [*MODELS, *(row.name for row in FAMILIES)])
def test_they_are_the_modules_parameters(name: str) -> None:
    text = MODELS[name].text if name in MODELS else family(name).size.text
    with torch.device("meta"):
        model = Gemma4(replace(TEXT_ONLY, text=text))
    assert text_tensors(text) == {name: tuple(one.shape) for name, one in model.named_parameters()}


@pytest.mark.parametrize("name", LISTS)
def test_they_are_the_hubs_tensors(name: str, shared: Path) -> None:
    lines = (shared / f"facts/checkpoint_keys/gemma-4-{LISTS[name]}-it.txt").read_text().splitlines()
    listed = [line.split("\t") for line in lines if line and not line.startswith("#")]
    text = family(name).size.text
    hubs = {tensor: tuple(json.loads(shape)) for tensor, shape, _ in listed if "language_model" in tensor}
    assert text_tensors(text) == {
        tensor: shape for tensor, shape in hubs.items() if tensor not in unused_tensors(text)
    }
