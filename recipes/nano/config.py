"""nano's config: the row of the family, with the ids of its own vocabulary."""

from pathlib import Path

from gemcut.config import ModelConfig
from gemcut.errors import BadTraining
from gemcut.family import family
from gemcut.prompt.tokenizer import Tokenizer


def nano_config(tokenizer_folder: Path) -> ModelConfig:
    """The model for the tokenizer in this folder.  Raises BadTraining for another vocabulary than nano's."""
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
        soft_tokens_per_image=280,
        dtype="float32",
    )
