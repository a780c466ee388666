"""From what a user calls a model to the folder that holds it."""

import re
from collections.abc import Callable
from pathlib import Path

from gemcut.checkpoint.config_file import CONFIG_FILE, GENERATION_FILE
from gemcut.checkpoint.index import INDEX_FILE, WEIGHT_FILE, weight_files
from gemcut.checkpoint.section import parse_object
from gemcut.errors import (
    BadConfig,
    BadOption,
    CheckpointError,
    CheckpointNotFound,
    DownloadFailed,
    UnknownModel,
)
from gemcut.family import family

# what the hub takes for a name; its library raises for any other
HUB_ID = re.compile(r"(?!.*(--|\.\.|\.git$))\b[\w.-]{1,96}\b/\b[\w.-]{1,96}\b", re.ASCII)
TOKENIZER_FILE = "tokenizer.json"
GGUF = ".gguf"
ASSISTANT = "-assistant"  # how the hub calls a model's drafter; it may come without a tokenizer
FILES_WE_USE = (
    CONFIG_FILE,
    GENERATION_FILE,
    WEIGHT_FILE,
    INDEX_FILE,
    "model-*-of-*.safetensors",
    TOKENIZER_FILE,
    "tokenizer_config.json",
    "chat_template.jinja",
    "processor_config.json",
)
PACKAGED_NANO = Path(__file__).resolve().parents[1] / "nano"

Report = Callable[[str], None]


def find_checkpoint(source: str, *, offline: bool, progress: Report | None = None) -> Path:
    """The folder of a model: a size ("nano", "e2b", …), a folder, or a hub id ("google/gemma-4-E2B-it").

    A GGUF file, whose name ends in .gguf, is given as it is: no folder, but a model all the same.
    The name of a size wins over a folder of that name ("./e2b" is the folder).  A model that is whole in the
    hub's cache is used without asking the hub; any other is downloaded, see `download`.
    offline: never use the network.
    Raises UnknownModel, CheckpointNotFound for a folder without a model, DownloadFailed.
    """
    place = _place(source)
    if isinstance(place, Path):
        return _packaged(place) if place == PACKAGED_NANO else _whole(place)
    cached = _cached(place)
    if cached is not None:
        return cached
    if offline:
        raise DownloadFailed(
            f"{place} is not whole in the hub's cache, there is no such folder, and downloads are off; "
            f"download it while there is a network, with: gemcut pull {source}"
        )
    return download(place, progress=progress)


def find_drafter(source: str, *, offline: bool, progress: Report | None = None) -> Path:
    """The folder of a drafter: of a size ("e2b": the assistant of that size), a folder, or a hub id.

    See `find_checkpoint`.
    """
    try:
        row = family(source)
    except UnknownModel:
        return find_checkpoint(source, offline=offline, progress=progress)
    if row.hub_id is not None:
        return find_checkpoint(row.hub_id + ASSISTANT, offline=offline, progress=progress)
    try:
        return _whole(PACKAGED_NANO / "drafter")
    except CheckpointNotFound as problem:
        raise CheckpointNotFound(
            f"nano has no trained drafter in {PACKAGED_NANO}; train it with: python -m recipes.nano drafter"
        ) from problem


def pull_checkpoint(source: str, *, progress: Report | None = None) -> Path:
    """Bring a size or a hub id into the hub's cache, or up to date there; files that are damaged come anew.

    Raises UnknownModel, DownloadFailed, BadOption for a model that does not come from the hub.
    """
    place = _place(source)
    if isinstance(place, Path):
        raise BadOption(f"{source} is not on the hub but in {place}; pull a size such as e2b, or a hub id")
    folder = _fetch(place, progress)
    damaged = _damaged(folder)
    for file in damaged:
        file.resolve().unlink()  # the cache keeps the contents elsewhere, under their hash
        file.unlink(missing_ok=True)
    return _whole(_fetch(place, progress) if damaged else folder)


def download(hub_id: str, *, progress: Report | None = None) -> Path:
    """The folder of a model of the hub, after what is missing or outdated in the hub's cache was downloaded.

    Goes on where an interrupted download stopped.  The hub's progress bars go to stderr, on a terminal;
    `progress` is told in one line what is being done.  HF_HUB_OFFLINE, HF_TOKEN and HF_HOME count.
    Raises DownloadFailed, which says what to do; CheckpointNotFound where the hub has no weights for us.
    """
    return _whole(_fetch(hub_id, progress))


def _fetch(hub_id: str, progress: Report | None) -> Path:
    """What `download` downloads, whether it is a whole model or not."""
    import huggingface_hub  # here: it takes a third of a second, and a model in a folder need not wait for it
    from huggingface_hub import errors

    if progress is not None:
        progress(
            f"downloading {hub_id} from the hub; if it is interrupted, the next start goes on from there"
        )
    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=list(FILES_WE_USE)))
    except errors.GatedRepoError as problem:
        raise DownloadFailed(
            f"the hub wants to know who downloads {hub_id}: accept the license at "
            f"https://huggingface.co/{hub_id}, then log in with: hf auth login"
        ) from problem
    except errors.RepositoryNotFoundError as problem:
        raise DownloadFailed(
            f"the hub has no model {hub_id}, or a private one, and there is no such folder; check the name, "
            "or log in with: hf auth login"
        ) from problem
    except errors.LocalEntryNotFoundError as problem:
        raise DownloadFailed(
            f"cannot reach the hub for {hub_id}, and its cache does not hold the model; check the network "
            "and HF_HUB_OFFLINE, or give the path of a folder that you copied here"
        ) from problem
    except Exception as problem:  # the errors of whichever HTTP client the hub's library uses; a full disk
        reason = " ".join(str(problem).split())
        raise DownloadFailed(
            f"downloading {hub_id} failed ({type(problem).__name__}: {reason}); "
            "start it again to go on from there"
        ) from problem


def _damaged(folder: Path) -> list[Path]:
    """Files that cannot be as the hub has them: weights that are not whole, JSON that is none."""
    from gemcut.checkpoint.safetensors_header import read_header  # brings torch, which takes a second

    found = []
    for file in folder.iterdir():
        try:
            if file.suffix == ".safetensors":
                read_header(file)
            elif file.suffix == ".json":
                parse_object(file.read_bytes(), BadConfig)
        except CheckpointError:
            found.append(file)
    return found


def _place(source: str) -> Path | str:
    """The folder that `source` means, or the hub id.  Raises UnknownModel, CheckpointNotFound."""
    try:
        row = family(source)
    except UnknownModel:
        folder = _existing(source)
        if folder is not None:
            return folder
        if HUB_ID.fullmatch(source):
            return source
        if "/" in source:
            raise CheckpointNotFound(f"there is no folder {source}; name a folder with a model") from None
        raise
    return PACKAGED_NANO if row.hub_id is None else row.hub_id


def _existing(source: str) -> Path | None:
    """What is on disk under this name, or None."""
    try:
        place = Path(source).expanduser()
        return place if source and place.exists() else None
    except (OSError, RuntimeError):  # a name longer than names can be; the home of a user who is not known
        return None


def _cached(hub_id: str) -> Path | None:
    """The folder of a model that is whole in the hub's cache, or None."""
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            hub_id, allow_patterns=list(FILES_WE_USE), local_files_only=True
        )
        whole = _whole(Path(folder))
    except (huggingface_hub.errors.LocalEntryNotFoundError, CheckpointError):
        return None
    complete = (whole / TOKENIZER_FILE).exists() or hub_id.endswith(ASSISTANT)
    return whole if complete else None  # a download may have stopped before the tokenizer


def _packaged(folder: Path) -> Path:
    """The folder of the embedded model.  Raises CheckpointNotFound where its files were not made."""
    try:
        return _whole(folder)
    except CheckpointNotFound as problem:
        raise CheckpointNotFound(
            f"{folder} has no trained nano; train it with: python -m recipes.nano train"
        ) from problem


def _whole(folder: Path) -> Path:
    """The folder itself, or the GGUF file.

    Raises CheckpointNotFound for another file, and where config.json or a file of weights is missing.
    """
    if folder.is_file():
        if folder.suffix == GGUF:
            return folder
        raise CheckpointNotFound(f"{folder} is a file; name the folder of a model, or a {GGUF} file")
    if not (folder / CONFIG_FILE).exists():
        raise CheckpointNotFound(f"{folder} has no {CONFIG_FILE}; name a folder with a model")
    weight_files(folder)
    return folder
