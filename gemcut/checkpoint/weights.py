"""Weights on disk, mapped into memory one tensor at a time."""

import math
import mmap
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gemcut.checkpoint.index import AGAIN, INDEX_FILE, weight_files
from gemcut.checkpoint.safetensors_header import TensorInfo, read_header
from gemcut.errors import BadWeightFile, WeightMismatch

__all__ = ["TensorInfo", "WeightFiles"]

# Linux sets memory aside for a writable private mapping unless told not to; nobody writes into these.
MAP_NORESERVE = 0x4000 if sys.platform == "linux" else 0
DRAFTER_ONLY = "pre_projection.weight"  # a drafter's names begin as a lone decoder's do
MADV_POPULATE_READ = 22  # Linux 5.14: map all pages in one call instead of one fault for each 64 KB


@dataclass(frozen=True)
class WeightFiles:
    """All tensors of a checkpoint, in one safetensors file or in many with an index.

    tensors: by name, file after file, in the order of the bytes.  Names are the hub's; a decoder that was
    saved alone has "model.layers.0…" on disk and "model.language_model.layers.0…" here, as in a whole model.
    """

    folder: Path
    tensors: Mapping[str, TensorInfo]

    @classmethod
    def open(cls, folder: Path) -> "WeightFiles":
        """Read the headers of a folder's weight files; no tensor is touched.

        Raises CheckpointNotFound without weights or with a shard missing, BadWeightFile for damaged files.
        """
        tensors: dict[str, TensorInfo] = {}
        for file, names in weight_files(folder).items():
            header = read_header(file)
            if names is not None and names != set(header):
                astray = min(names ^ set(header))
                where = "lacks" if astray in names else "has"
                raise BadWeightFile(
                    f"{file} {where} the tensor {astray}, unlike what {INDEX_FILE} says; {AGAIN}"
                )
            tensors |= header
        if "model.embed_tokens.weight" in tensors and DRAFTER_ONLY not in tensors:
            tensors = {
                name.replace("model.", "model.language_model.", 1): info for name, info in tensors.items()
            }
        return cls(folder, tensors)

    def stream(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Each named tensor as a CPU view of its file, in the order of the bytes; not to be written into.

        When the next one is asked for, the last one's memory is given back: one is resident at a time.
        A view that is kept stays valid, and reads its file again.
        Raises WeightMismatch for a name that is not there.
        """
        order = {name: place for place, name in enumerate(self.tensors)}
        for name in sorted(names, key=lambda name: order.get(name, -1)):
            mapping, tensor = self._map(name)
            if mapping is not None and sys.platform == "linux":
                with suppress(OSError):  # kernels before 5.14 do not know it
                    mapping.madvise(MADV_POPULATE_READ)
            yield name, tensor
            if mapping is not None:
                mapping.madvise(mmap.MADV_DONTNEED)

    def mapped(self, name: str) -> Tensor:
        """One tensor as a CPU view of its file: what is read of it is loaded, and may be dropped again.

        Raises WeightMismatch for a name that is not there.
        """
        return self._map(name)[1]

    def _map(self, name: str) -> tuple[mmap.mmap | None, Tensor]:
        """The view of a tensor, and the mapping under it (None for a tensor without values)."""
        if name not in self.tensors:
            raise WeightMismatch(f"{self.folder} has no tensor {name} among its {len(self.tensors)}; {AGAIN}")
        info = self.tensors[name]
        if info.num_bytes == 0:
            return None, torch.empty(info.shape, dtype=info.dtype)
        begin = info.start - info.start % mmap.ALLOCATIONGRANULARITY
        try:
            with info.file.open("rb") as opened:
                mapping = mmap.mmap(
                    opened.fileno(),
                    info.start + info.num_bytes - begin,
                    flags=mmap.MAP_PRIVATE | MAP_NORESERVE,
                    prot=mmap.PROT_READ | mmap.PROT_WRITE,  # a view of read-only memory makes torch warn
                    offset=begin,
                )
        except (OSError, ValueError) as problem:
            raise BadWeightFile(f"{info.file} changed while it was read ({problem}); {AGAIN}") from problem
        count, offset = math.prod(info.shape), info.start - begin
        if offset % info.dtype.itemsize == 0:
            flat = torch.frombuffer(mapping, dtype=info.dtype, count=count, offset=offset)
        else:  # old writers did not pad the header
            flat = torch.frombuffer(mapping, dtype=torch.uint8, count=info.num_bytes, offset=offset)
            flat = flat.clone().view(info.dtype)
        return mapping, flat.view(info.shape)
