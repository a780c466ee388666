"""Training text as token ids with a mask that tells which tokens the model is to learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gemcut.errors import BadTraining

KEYS = ("ids", "mask", "offsets")


@dataclass(frozen=True)
class Examples:
    """Examples one behind the other.

    ids: (total,) uint16 or wider.  mask: (total,) uint8, 1 for the tokens that the model is to say.
    offsets: (examples + 1,) where each begins and the last ends.
    """

    ids: NDArray[np.integer]
    mask: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example, (examples,)."""
        return np.diff(self.offsets)

    @property
    def num_learnt(self) -> NDArray[np.int64]:
        """Tokens of each example that are learnt, (examples,); its first token cannot be."""
        before = np.concatenate([[0], np.cumsum(self.mask, dtype=np.int64)])
        counts: NDArray[np.int64] = before[self.offsets[1:]] - before[self.offsets[:-1]]
        return counts - self.mask[self.offsets[:-1]]

    def check(self, vocab_size: int) -> None:
        """Raises BadTraining where no model with this vocabulary can be trained on the examples."""
        offsets = self.offsets
        if len(self) < 1:
            raise BadTraining("there are no examples to train on; give at least one")
        if len(self.ids) != len(self.mask):
            raise BadTraining(
                f"there are {len(self.ids)} token ids and {len(self.mask)} mask values; give one for each"
            )
        if offsets[0] != 0 or offsets[-1] != len(self.ids) or self.lengths.min() < 2:
            raise BadTraining(
                f"the offsets lead from {offsets[0]} to {offsets[-1]} over {len(self.ids)} token ids; "
                "they must cover them all, in order, two tokens an example at least"
            )
        if (largest := int(self.ids.max())) >= vocab_size:
            raise BadTraining(
                f"token id {largest} is not below the vocabulary's {vocab_size}; use the model's tokenizer"
            )
        if not (self.num_learnt > 0).all():
            first = int(np.argmin(self.num_learnt > 0))
            raise BadTraining(
                f"example {first} has no token to learn; mark some after its first, or leave it out"
            )


def from_lists(rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Examples:
    """Examples from (ids, mask) of each."""
    lengths = [len(ids) for ids, _ in rows]
    return Examples(
        ids=np.concatenate([np.asarray(ids, np.int64) for ids, _ in rows]) if rows else np.zeros(0, np.int64),
        mask=np.concatenate([np.asarray(mask, np.uint8) for _, mask in rows])
        if rows
        else np.zeros(0, np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def read_examples(path: Path) -> Examples:
    """Examples from an .npz file with the arrays ids, mask and offsets.

    Raises BadTraining where the file is missing, damaged or lacks one of them.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = [key for key in KEYS if key not in arrays]
            if missing:
                raise BadTraining(
                    f"{path} has no array {missing[0]}; it must hold {', '.join(KEYS)}: make it again"
                )
            return Examples(*(arrays[key] for key in KEYS))
    except FileNotFoundError:
        raise BadTraining(f"there is no training data in {path}; make it first") from None
    except (OSError, ValueError, BadZipFile) as error:
        raise BadTraining(f"{path} cannot be read as training data: {error}; make it again") from None
