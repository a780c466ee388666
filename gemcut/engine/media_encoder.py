"""Images and sound to soft tokens, each distinct one once."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock

import torch
from torch import Tensor

from gemcut.model.gemma4 import Gemma4
from gemcut.prompt.media import Prepared, PreparedImage, PreparedSound

MOST_PATCHES = 16_384  # of images that are encoded together, more only where a single image has them
KEPT_BYTES = 256 * 2**20  # of soft tokens


class MediaEncoder:
    """A model's way from prepared media to soft tokens; the latest ones are kept, by their content.

    Many threads may call it.
    """

    def __init__(self, model: Gemma4) -> None:
        self._model = model
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self._lock = Lock()
        self.num_encoded = 0  # media that really went through an encoder

    @torch.inference_mode()
    def encode(self, media: Sequence[Prepared]) -> Tensor:
        """The soft tokens (S, C) of all media, in order."""
        with self._lock:
            missing = {item.digest: item for item in media if item.digest not in self._kept}
            made = dict(self._encode(list(missing.values())))
            self.num_encoded += len(made)
            parts = [made[item.digest] if item.digest in made else self._kept[item.digest] for item in media]
            self._keep(media, made)
        embedding = self._model.model.language_model.embed_tokens.weight
        return torch.cat([embedding.new_empty(0, embedding.shape[1]), *parts])

    def _encode(self, media: Sequence[Prepared]) -> Iterator[tuple[bytes, Tensor]]:
        device = self._model.model.language_model.norm.weight.device
        for batch in _batches([item for item in media if isinstance(item, PreparedImage)]):
            pixels = torch.cat([torch.from_numpy(item.patches.pixels) for item in batch]).to(device)
            soft = self._model.encode_images(pixels, [item.patches.grid for item in batch])
            for item, tokens in zip(batch, torch.split(soft, [item.tokens for item in batch]), strict=True):
                yield item.digest, tokens
        if sounds := [item for item in media if isinstance(item, PreparedSound)]:
            clips = [torch.from_numpy(item.frames).to(device) for item in sounds]
            for sound, tokens in zip(sounds, self._model.encode_sounds(clips), strict=True):
                yield sound.digest, tokens

    def _keep(self, media: Sequence[Prepared], made: dict[bytes, Tensor]) -> None:
        """Keeps the soft tokens that were used latest, as far as there is room."""
        self._kept.update({digest: tokens.clone() for digest, tokens in made.items()})
        for item in media:
            self._kept.move_to_end(item.digest)
        held = sum(tokens.numel() * tokens.element_size() for tokens in self._kept.values())
        while held > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            held -= dropped.numel() * dropped.element_size()


def _batches(images: Sequence[PreparedImage]) -> Iterator[list[PreparedImage]]:
    """The images in groups of at most MOST_PATCHES."""
    batch: list[PreparedImage] = []
    patches = 0
    for image in images:
        if batch and patches + len(image.patches.pixels) > MOST_PATCHES:
            yield batch
            batch, patches = [], 0
        batch.append(image)
        patches += len(image.patches.pixels)
    if batch:
        yield batch
