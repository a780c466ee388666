"""Images and sound to soft tokens, each distinct one once."""

from collections.abc import Iterator, Sequence
from threading import Lock

import torch
from torch import Tensor

from gemcut.model.gemma4 import Gemma4
from gemcut.prompt.latest import Latest
from gemcut.prompt.media import Prepared, PreparedImage, PreparedSound

MOST_PATCHES = 16_384  # of images that are encoded together, more only where a single image has them
KEPT_BYTES = 256 * 2**20  # of soft tokens


class MediaEncoder:
    """A model's way from prepared media to soft tokens; the latest ones are kept, by their content.

    together: encode several at once, which changes the last bits of what each becomes.
    Many threads may call it.
    """

    def __init__(self, model: Gemma4, together: bool = True) -> None:
        self._model = model
        self._most_patches = MOST_PATCHES if together else 0
        self._kept: Latest[Tensor] = Latest(KEPT_BYTES)
        self._lock = Lock()
        self.num_encoded = 0  # media that really went through an encoder

    @torch.inference_mode()
    def encode(self, media: Sequence[Prepared]) -> Tensor:
        """The soft tokens (S, C) of all media, in order."""
        norm = self._model.model.language_model.norm.weight
        none = norm.new_empty(0, len(norm))
        if not media:  # who has none does not wait for those of others
            return none
        with self._lock:
            kept = {item.digest: self._kept.get(item.digest) for item in media}
            missing = {item.digest: item for item in media if kept[item.digest] is None}
            made = dict(self._encode(list(missing.values())))
            self.num_encoded += len(made)
            for digest, tokens in made.items():  # a copy: they are views of their whole batch
                self._kept.put(digest, tokens.clone(), tokens.nbytes)
        soft = {digest: tokens for digest, tokens in kept.items() if tokens is not None} | made
        return torch.cat([none, *(soft[item.digest] for item in media)])

    def _encode(self, media: Sequence[Prepared]) -> Iterator[tuple[bytes, Tensor]]:
        device = self._model.model.language_model.norm.weight.device
        images = [item for item in media if isinstance(item, PreparedImage)]
        for batch in _batches(images, self._most_patches):
            pixels = torch.cat([torch.from_numpy(item.patches.pixels) for item in batch]).to(device)
            soft = self._model.encode_images(pixels, [item.patches.grid for item in batch])
            for item, tokens in zip(batch, torch.split(soft, [item.tokens for item in batch]), strict=True):
                yield item.digest, tokens
        sounds = [item for item in media if isinstance(item, PreparedSound)]
        for some in [sounds] if self._most_patches and sounds else [[sound] for sound in sounds]:
            clips = [torch.from_numpy(item.frames).to(device) for item in some]
            for sound, tokens in zip(some, self._model.encode_sounds(clips), strict=True):
                yield sound.digest, tokens


def _batches(images: Sequence[PreparedImage], most_patches: int) -> Iterator[list[PreparedImage]]:
    """The images in groups of at most so many patches, or alone."""
    batch: list[PreparedImage] = []
    patches = 0
    for image in images:
        if batch and patches + len(image.patches.pixels) > most_patches:
            yield batch
            batch, patches = [], 0
        batch.append(image)
        patches += len(image.patches.pixels)
    if batch:
        yield batch
