"""The train stage: nano from random weights, on the data that the data stage wrote.

Everything lies in one folder: the state of the run, its log, the model as it is now and then (`latest`), and
the model at the end, which is copied to where gemcut finds it.
"""

import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import gemcut
from gemcut.checkpoint.config_file import generation_config_json
from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import GenerationConfig, ModelConfig
from gemcut.errors import BadTraining
from gemcut.model.gemma4 import Gemma4
from gemcut.train.batches import Shape, Texts
from gemcut.train.copying import plant_copying
from gemcut.train.examples import Examples, read_examples
from gemcut.train.initial import initialise
from gemcut.train.log import TrainingLog
from gemcut.train.loop import Options, Phase, Training
from gemcut.train.objective import compiled, mean_loss
from gemcut.train.optimiser import Rates
from gemcut.train.schedule import Budget, Schedule
from recipes.nano.config import text_config

PACKAGED = Path(gemcut.__file__).parent / "nano"
SHAPE = Shape(groups=6, tokens=512, learnt=192)
RATES = Rates(matrices=6e-3, embeddings=3e-3, others=3e-3, decay=0.1)
SCHEDULE = Schedule(warm_up=60, decay_from=0.4)
COPYING_UNTIL = 0.12
ALL_UNTIL = 0.6
SAVE_EVERY_S = 240.0
EXPORT_EVERY_S = 600.0


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """What the command line said."""

    folder: Path
    minutes: float
    seed: int
    device: str
    compiled: bool
    resume: bool
    package: bool  # whether the finished model replaces the packaged one


def train(command: TrainCommand) -> None:
    """Trains nano and writes its model folder.  Raises BadTraining where data or state cannot be used."""
    folder = command.folder
    config = text_config(folder / "tokenizer")
    model = Gemma4(config)
    initialise(model, command.seed)
    plant_copying(model, command.seed)
    model.to(command.device)
    phases = (
        Phase("copying", texts(folder / "copying.npz", config), COPYING_UNTIL),
        Phase("all", texts(folder / "all.npz", config), ALL_UNTIL),
        Phase("practice", texts(folder / "practice.npz", config), 1.0),
    )
    options = Options(
        shape=SHAPE,
        rates=RATES,
        budget=Budget(minutes=command.minutes),
        schedule=SCHEDULE,
        seed=command.seed,
    )
    loss_of = compiled(mean_loss) if command.compiled and can_compile() else mean_loss
    training = Training(model, phases, options, loss_of)
    state = folder / "state.pt"
    if command.resume:
        training.resume(state)
    elif (folder / "train.csv").exists():
        (folder / "train.csv").unlink()
    log = TrainingLog(folder / "train.csv", every_s=20.0)
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"nano: {weights / 1e6:.2f} M weights, {command.minutes:g} minutes on {command.device}",
        file=sys.stderr,
    )
    saved = exported = time.monotonic()
    for report in training.steps():
        log.add(report)
        if time.monotonic() - saved >= SAVE_EVERY_S:
            training.save(state)
            saved = time.monotonic()
        if time.monotonic() - exported >= EXPORT_EVERY_S:
            export(model, folder / "tokenizer", folder / "latest")
            exported = time.monotonic()
    log.close()
    training.save(state)
    export(model, folder / "tokenizer", folder / "model")
    if command.package:
        package(folder / "model")
    print(f"nano: written to {PACKAGED if command.package else folder / 'model'}", file=sys.stderr)


def package(model: Path) -> None:
    """Puts a model folder to where gemcut finds nano."""
    for file in sorted(model.iterdir()):
        shutil.copy(file, PACKAGED / file.name)


def can_compile() -> bool:
    """Whether torch.compile has its C++ compiler; says so where it does not."""
    if any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return True
    print("nano: there is no C++ compiler, so every update takes half as long again", file=sys.stderr)
    return False


def texts(file: Path, config: ModelConfig) -> Texts:
    """The examples of a file that fit into a row."""
    return Texts(fitting(read_examples(file), SHAPE), config.text.vocab_size)


def fitting(examples: Examples, shape: Shape) -> Examples:
    """The examples that fit into a row.  Raises BadTraining where fewer than nine in ten do."""
    fits = (examples.lengths <= shape.tokens) & (examples.num_learnt <= shape.learnt)
    if fits.mean() < 0.9:
        raise BadTraining(
            f"{fits.sum()} of {len(fits)} examples fit into rows of {shape.tokens} tokens; widen the rows"
        )
    rows = np.repeat(fits, examples.lengths)
    offsets = np.concatenate([[0], np.cumsum(examples.lengths[fits])])
    return Examples(examples.ids[rows], examples.mask[rows], offsets.astype(np.int64))


def export(model: Gemma4, tokenizer: Path, folder: Path) -> None:
    """Writes a model folder that gemcut and transformers load: bfloat16 weights, greedy by default."""
    text = model.config.text
    stops = json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"]
    generation = GenerationConfig(
        stop_ids=(text.eos_token_id, stops["<turn|>"], stops["<|tool_response>"]),
        suppress_ids=(),
        do_sample=False,
        temperature=1.0,
        top_k=64,
        top_p=0.95,
        min_p=0.0,
        repetition_penalty=1.0,
    )
    extra_files = {file.name: file.read_bytes() for file in sorted(tokenizer.iterdir())}
    extra_files["chat_template.jinja"] = (PACKAGED / "chat_template.jinja").read_bytes()
    said = json.dumps(generation_config_json(generation, text), indent=2)
    extra_files["generation_config.json"] = f"{said}\n".encode()
    tensors = ((name, parameter.detach().to(torch.bfloat16)) for name, parameter in model.named_parameters())
    write_checkpoint(folder, model.config, tensors, extra_files=extra_files, overwrite=True)
