"""Writing a checkpoint in the hub's layout, shard by shard."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gemcut.checkpoint.config_file import CONFIG_FILE, config_json, quantized_config_json
from gemcut.checkpoint.drafter_section import drafter_config_json
from gemcut.checkpoint.index import INDEX_FILE, WEIGHT_FILE
from gemcut.config import DrafterConfig, ModelConfig, QuantizedConfig
from gemcut.errors import BadOption, WeightMismatch

SHARD_BYTES = 4 * 2**30
UNFINISHED = ".writing-"


def write_checkpoint(
    folder: Path,
    config: ModelConfig | QuantizedConfig | DrafterConfig,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    shard_bytes: int = SHARD_BYTES,
    extra_files: Mapping[str, bytes],
    overwrite: bool = False,
) -> None:
    """Write config.json, weights under the hub's names, and `extra_files` (name to contents) into a folder.

    Holds one shard of at most `shard_bytes` at a time (or one tensor that is bigger).  The files are written
    beside their places and moved there when all are whole, config.json last: without it nothing loads.
    Raises BadOption where the folder has a model already and `overwrite` is false, or cannot be written,
    WeightMismatch where a name comes twice or none comes.
    """
    before = [*folder.glob(CONFIG_FILE), *folder.glob("model*.safetensors"), *folder.glob(INDEX_FILE)]
    if before and not overwrite:
        raise BadOption(f"{folder} already has {before[0].name}; name another folder or allow overwriting")
    reserved = [name for name in extra_files if name == CONFIG_FILE or Path(name).name != name]
    assert not reserved, f"not extra files: {reserved}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{UNFINISHED}*"):  # by a writer that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as place:
            beside = Path(place)
            written = _write_weights(beside, tensors, shard_bytes)
            for name, contents in extra_files.items():
                (beside / name).write_bytes(contents)
            (beside / CONFIG_FILE).write_text(json.dumps(_said(config), indent=2) + "\n")
            for stale in before:  # config.json first: what is half replaced must not look whole
                stale.unlink()
            for name in (*written, *extra_files, CONFIG_FILE):
                shutil.move(beside / name, folder / name)
    except (OSError, SafetensorError) as problem:  # no right to write there, a full disk
        raise BadOption(f"{folder} cannot be written ({problem}); name another folder") from problem


def _said(config: ModelConfig | QuantizedConfig | DrafterConfig) -> dict[str, Any]:
    if isinstance(config, DrafterConfig):
        return drafter_config_json(config)
    return quantized_config_json(config) if isinstance(config, QuantizedConfig) else config_json(config)


def _write_weights(folder: Path, tensors: Iterable[tuple[str, Tensor]], shard_bytes: int) -> list[str]:
    """Write the shards, and the index where there are several; the names of the files."""
    places: dict[str, int] = {}
    total = number = 0
    for shard in _shards(tensors, shard_bytes):
        number += 1
        again = sorted(places.keys() & shard)
        if again:
            raise WeightMismatch(f"the tensor {again[0]} was given twice; give each name once")
        save_file(shard, folder / f"shard-{number}", metadata={"format": "pt"})
        (folder / f"shard-{number}").chmod(0o644)  # the library leaves it to its owner alone
        places |= dict.fromkeys(shard, number)
        total += sum(tensor.nbytes for tensor in shard.values())
        del shard  # or it would stay while the next one is filled
    if number == 0:
        raise WeightMismatch("there are no tensors to write; give at least one")
    names = {n: f"model-{n:05}-of-{number:05}.safetensors" for n in range(1, number + 1)}
    names = {1: WEIGHT_FILE} if number == 1 else names
    for n, name in names.items():
        (folder / f"shard-{n}").rename(folder / name)
    if number == 1:
        return [WEIGHT_FILE]
    index = {"metadata": {"total_size": total}, "weight_map": {key: names[n] for key, n in places.items()}}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")
    return [*names.values(), INDEX_FILE]


def _shards(tensors: Iterable[tuple[str, Tensor]], shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    """Runs of tensors, on the CPU and contiguous, of at most `shard_bytes` each."""
    shard: dict[str, Tensor] = {}
    filled = 0
    for name, tensor in tensors:
        if shard and filled + tensor.nbytes > shard_bytes:
            yield shard
            shard, filled = {}, 0
        if name in shard:
            raise WeightMismatch(f"the tensor {name} was given twice; give each name once")
        shard[name] = tensor.detach().cpu().contiguous()
        filled += tensor.nbytes
    if shard:
        yield shard
