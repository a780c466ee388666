"""nano's config: the row of the family, with the ids of its own vocabulary, and its towers."""

from dataclasses import replace
from pathlib import Path

from gemcut.config import AudioTowerConfig, ModelConfig, VisionTowerConfig
from gemcut.errors import BadTraining
from gemcut.family import family
from gemcut.prompt.tokenizer import Tokenizer

SOFT_TOKENS_PER_IMAGE = 70  # most of its training is on images of this size
VISION = VisionTowerConfig(
    hidden_size=96,
    intermediate_size=288,
    num_hidden_layers=3,
    num_attention_heads=4,
    head_dim=24,
    patch_size=16,
    pooling_kernel_size=3,
    position_embedding_size=3360,  # an image of 1 × 1,120 soft tokens
    rope_theta=100.0,
    rms_norm_eps=1e-6,
    standardize=False,
    use_clipped_linears=False,
)
AUDIO = AudioTowerConfig(
    hidden_size=128,
    num_hidden_layers=3,
    num_attention_heads=4,
    attention_chunk_size=12,
    attention_context_left=13,
    attention_context_right=0,
    attention_logit_cap=50.0,
    attention_invalid_logits_value=-1e9,
    conv_kernel_size=5,
    subsampling_conv_channels=(32, 16),
    output_proj_dims=128,
    residual_weight=0.5,
    gradient_clipping=1e10,
    rms_norm_eps=1e-6,
    use_clipped_linears=False,
)


def text_config(tokenizer_folder: Path) -> ModelConfig:
    """The model without towers for the tokenizer in this folder.

    Raises BadTraining for another vocabulary than nano's.
    """
    tokenizer = Tokenizer.from_folder(tokenizer_folder)
    special = tokenizer.special
    text = family("nano").size.text
    ours = (text.vocab_size, text.pad_token_id, text.eos_token_id, text.bos_token_id)
    theirs = (tokenizer.vocab_size, special.pad, special.eos, special.bos)
    if ours != theirs:
        raise BadTraining(
            f"size, <pad>, <eos> and <bos> of the vocabulary in {tokenizer_folder} are {theirs}, and nano's"
            f" are {ours}; make it with: python -m recipes.nano data"
        )
    return ModelConfig(
        text=text,
        vision=None,
        audio=None,
        media_tokens=special.media,
        soft_tokens_per_image=SOFT_TOKENS_PER_IMAGE,
        dtype="float32",
    )


def nano_config(tokenizer_folder: Path) -> ModelConfig:
    """The whole model for the tokenizer in this folder.  Raises BadTraining as `text_config` does."""
    return replace(text_config(tokenizer_folder), vision=VISION, audio=AUDIO)
