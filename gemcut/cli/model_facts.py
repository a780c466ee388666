"""What users are told of a model: from its row in the family, and from its files where they are on disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gemcut.checkpoint.config_file import read_config, read_generation_config
from gemcut.checkpoint.find import find_checkpoint
from gemcut.config import AudioFrameConfig, GenerationConfig, ModelConfig, TextConfig
from gemcut.errors import CheckpointError
from gemcut.family import BYTES_OF_BFLOAT16, FAMILIES, Family, Size
from gemcut.media.audio import MOST_SAMPLES, MOST_SECONDS, RATE_HZ, soft_tokens_of_audio
from gemcut.model.layer_plan import unused_tensors

USUAL_IMAGE_TOKENS = 280  # in the configs of all sizes on the hub


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """One model.

    folder: where its files are, None where they would have to be downloaded.
    image_tokens: the most that an image takes unless told otherwise.  sound_tokens_per_s: what sound takes.
    parameters: all weights that it can use.  active: those that a step of one text token computes with.
    load_bytes: memory of the text model in bfloat16, without the per-layer table, which stays on disk.
    disk_bytes: of the files' tensors in bfloat16.
    generation: how it samples unless told otherwise; None until its files are there.
    """

    name: str
    title: str
    hub_id: str | None
    folder: Path | None
    takes: tuple[str, ...]
    image_tokens: int
    sound_tokens_per_s: int
    text: TextConfig
    generation: GenerationConfig | None
    parameters: int
    active: int
    load_bytes: int
    disk_bytes: int


def read_facts(source: str) -> ModelFacts:
    """What there is to tell of a size, a hub id or a folder; nothing is downloaded.

    Raises UnknownModel, or CheckpointError where the numbers are in files that are missing or damaged.
    """
    row = next((row for row in FAMILIES if source in (row.name, row.hub_id)), None)
    return _facts_of_files(source) if row is None else _facts_of_size(row, row.size)


def _facts_of_size(row: Family, size: Size) -> ModelFacts:
    folder: Path | None = None
    config: ModelConfig | None = None
    generation: GenerationConfig | None = None
    try:
        folder = find_checkpoint(row.name, offline=True, progress=None)
        config, generation = read_config(folder), read_generation_config(folder)
    except CheckpointError:  # not downloaded, or damaged: `run` says which
        folder = None
    return ModelFacts(
        name=row.name,
        title=row.title,
        hub_id=row.hub_id,
        folder=folder,
        takes=row.takes,
        image_tokens=USUAL_IMAGE_TOKENS if config is None else config.soft_tokens_per_image,
        sound_tokens_per_s=_sound_tokens_per_s(config),
        text=size.text,
        generation=generation,
        parameters=size.parameters.total,
        active=size.active_parameters,
        load_bytes=size.load_bytes,
        disk_bytes=size.disk_bytes,
    )


def _facts_of_files(source: str) -> ModelFacts:
    from gemcut.opened import open_checkpoint  # brings torch, which takes a second to import

    opened = open_checkpoint(find_checkpoint(source, offline=True, progress=None))
    place, config = opened.place, opened.config
    unused = unused_tensors(config.text)
    numels = {name: opened.num_values(name) for name in opened.weights.tensors if name not in unused}
    text = _sum(numels, "") - _sum(numels, "vision") - _sum(numels, "audio")
    table = _sum(numels, "embed_tokens_per_layer.")
    experts = _sum(numels, ".experts.")
    mixture = config.text.experts
    idle = 0 if mixture is None else experts - experts * mixture.top_k_experts // mixture.num_experts
    media = ("image", "video") if config.vision is not None else ()
    files = place.iterdir() if place.is_dir() else [place]
    return ModelFacts(
        name=source,
        title=source,
        hub_id=None,
        folder=place,
        takes=("text", *media, *(("audio",) if config.audio is not None else ())),
        image_tokens=config.soft_tokens_per_image,
        sound_tokens_per_s=_sound_tokens_per_s(config),
        text=config.text,
        generation=opened.generation,
        parameters=sum(numels.values()),
        active=text - table - idle,
        load_bytes=BYTES_OF_BFLOAT16 * (text - table),
        disk_bytes=sum(file.stat().st_size for file in files if file.is_file()),
    )


def _sound_tokens_per_s(config: ModelConfig | None) -> int:
    """25 in all sizes, with a tower or without."""
    audio = None if config is None else config.audio
    if isinstance(audio, AudioFrameConfig):
        return RATE_HZ // audio.audio_samples_per_token
    return soft_tokens_of_audio(MOST_SAMPLES) // MOST_SECONDS


def _sum(numels: Mapping[str, int], part: str) -> int:
    return sum(numel for name, numel in numels.items() if part in name)
