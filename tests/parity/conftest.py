"""Where transformers is not DeepMind's code, the reference is set right: docs/differences.md."""

import pytest
from transformers.models.gemma4 import modeling_gemma4
from transformers.models.gemma4_unified import modeling_gemma4_unified


@pytest.fixture(autouse=True)
def _thirteen_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their audio mask lets a frame see 12 frames, DeepMind's code 13: it is widened."""
    original = modeling_gemma4.sliding_window_mask_function
    monkeypatch.setattr(
        modeling_gemma4, "sliding_window_mask_function", lambda window: original((window[0] + 1, window[1]))
    )


@pytest.fixture(autouse=True)
def _causal_global_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their 12B's plain forward lets images see themselves on all layers, its generate() on sliding ones.

    The latter is DeepMind's way, so the forward gets the masks of generate().
    """
    masks = modeling_gemma4_unified.create_masks_for_vision_model
    monkeypatch.setattr(modeling_gemma4_unified, "create_masks_for_generate", masks)
