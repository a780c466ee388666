"""nano's shape: Gemma 4's edge structure in four to six million weights."""

from pathlib import Path

from gemcut.config import MediaTokens, ModelConfig, Rope, TextConfig
from gemcut.prompt.tokenizer import Tokenizer

S, G = "sliding_attention", "full_attention"


def nano_config(tokenizer_folder: Path) -> ModelConfig:
    """The model for the tokenizer in this folder."""
    tokenizer = Tokenizer.from_folder(tokenizer_folder)
    special, media = tokenizer.special, tokenizer.special.media
    text = TextConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=160,
        intermediate_size=320,
        layer_types=(S, S, G, S, G, S, G, S, G),
        num_attention_heads=4,
        num_key_value_heads=2,
        num_global_key_value_heads=1,
        head_dim=32,
        global_head_dim=64,
        sliding_window=128,
        attention_k_eq_v=False,
        num_kv_shared_layers=4,  # run for learnt tokens only: half the price of the others
        use_double_wide_mlp=False,
        hidden_size_per_layer_input=80,  # a table costs no arithmetic
        vocab_size_per_layer_input=tokenizer.vocab_size,
        experts=None,
        bidirectional_images=False,
        local_rope=Rope(theta=10_000.0, rotated=1.0),
        global_rope=Rope(theta=1_000_000.0, rotated=0.25),
        final_logit_softcapping=30.0,
        rms_norm_eps=1e-6,
        max_position_embeddings=4096,
        pad_token_id=special.pad,
        bos_token_id=special.bos,
        eos_token_id=special.eos,
    )
    tokens = MediaTokens(
        image=media.image,
        begin_image=media.image_open,
        end_image=media.image_close,
        audio=media.audio,
        begin_audio=media.audio_open,
        end_audio=media.audio_close,
        video=media.video,
    )
    return ModelConfig(
        text=text, vision=None, audio=None, media_tokens=tokens, soft_tokens_per_image=280, dtype="bfloat16"
    )
