"""Which files of a folder hold its weights; known without opening them, and without torch."""

from pathlib import Path

from gemcut.checkpoint.section import parse_object
from gemcut.errors import BadWeightFile, CheckpointNotFound

WEIGHT_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
AGAIN = "download it again with: gemcut pull MODEL"


def weight_files(folder: Path) -> dict[Path, set[str] | None]:
    """The weight files of a folder, each with the names that the index places there (None without an index).

    Raises CheckpointNotFound without weights or with a shard missing, BadWeightFile for a damaged index.
    """
    if (folder / WEIGHT_FILE).exists():
        return {folder / WEIGHT_FILE: None}
    index = folder / INDEX_FILE
    if not index.exists():
        others = sorted(
            path.name for path in folder.glob("*") if path.suffix in (".bin", ".gguf", ".pt", ".pth")
        )
        found = f" (gemcut does not read {', '.join(others)})" if others else ""
        if others and all(name.endswith(".gguf") for name in others):
            found = f" (give the path of a file instead: {', '.join(others)})"
        raise CheckpointNotFound(f"{folder} has no {WEIGHT_FILE} and no {INDEX_FILE}{found}; {AGAIN}")

    def complain(what: str) -> BadWeightFile:
        return BadWeightFile(f"{index} {what}; {AGAIN}")

    try:
        text = index.read_bytes()
    except OSError as problem:
        raise complain(f"cannot be read ({problem.strerror})") from problem
    places = parse_object(text, complain).get("weight_map")
    if (
        not isinstance(places, dict)
        or not places
        or not all(isinstance(shard, str) for shard in places.values())
    ):
        raise complain("has no weight_map from tensors to files")
    files: dict[Path, set[str] | None] = {}
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise complain(f"names the file {shard!r}, which is not a plain name of a .safetensors file")
        if not (folder / shard).exists():
            raise CheckpointNotFound(f"{folder} lacks {shard}, which {INDEX_FILE} names; {AGAIN}")
        files[folder / shard] = {name for name, place in places.items() if place == shard}
    return files
