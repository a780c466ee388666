"""nano's config: the row of the family, with the ids of its own vocabulary."""

from pathlib import Path

from gemcut.config import MediaTokens, ModelConfig
from gemcut.errors import BadTraining
from gemcut.family import family
from gemcut.prompt.tokenizer import Tokenizer


def nano_config(tokenizer_folder: Path) -> ModelConfig:
    """The model for the tokenizer in this folder.  Raises BadTraining for another vocabulary than nano's."""
    tokenizer = Tokenizer.from_folder(tokenizer_folder)
    special, media = tokenizer.special, tokenizer.special.media
    text = family("nano").size.text
    ours = (text.vocab_size, text.pad_token_id, text.eos_token_id, text.bos_token_id)
    theirs = (tokenizer.vocab_size, special.pad, special.eos, special.bos)
    if ours != theirs:
        raise BadTraining(
            f"size, <pad>, <eos> and <bos> of the vocabulary in {tokenizer_folder} are {theirs}, and nano's"
            f" are {ours}; make it with: python -m recipes.nano data"
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
        text=text, vision=None, audio=None, media_tokens=tokens, soft_tokens_per_image=280, dtype="float32"
    )
