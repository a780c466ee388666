"""The senses stage: nano learns to see and hear, from its text weights on.

First the towers learn alone what is where (each letter, each shape, each word), which is quick; then the
whole model learns to answer questions, on small pictures first and on pictures of the models' budgets at
the end, beside text, of which nothing is to be forgotten.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from gemcut.kernels.norm import rms_norm
from gemcut.load import load
from gemcut.model.gemma4 import Gemma4
from gemcut.train.batches import Batch, Shape
from gemcut.train.initial import initialise
from gemcut.train.log import TrainingLog
from gemcut.train.loop import Options, Phase, Training
from gemcut.train.objective import compiled, mean_loss
from gemcut.train.optimiser import Rates
from gemcut.train.schedule import Budget, Schedule
from recipes.nano.config import VISION, nano_config
from recipes.nano.drawing import COLORS, KINDS, POOLING
from recipes.nano.neighbours import plant_neighbours
from recipes.nano.printed import TOP
from recipes.nano.seen import BINS, IGNORED, LETTERS, SAID
from recipes.nano.senses_mix import LARGE_MIX, SMALL_MIX, Asking, Drawer, Looking, SensesBatch, Weights
from recipes.nano.speech import BANK
from recipes.nano.train import EXPORT_EVERY_S, SAVE_EVERY_S, TrainCommand, can_compile, export, package, texts
from recipes.nano.voices import open_bank

SHAPE = Shape(groups=5, tokens=640, learnt=192)
TEXT_ROWS = 2  # of each batch of questions, so that text is not forgotten
RATES = Rates(matrices=6e-3, embeddings=3e-3, others=3e-3, decay=0.05, slowed=("language_model", 0.5))
SCHEDULE = Schedule(warm_up=40, decay_from=0.65)
LOOKING_UNTIL = 0.225
SETTLING_UNTIL = 0.425
FINDING_UNTIL = 0.49
SMALL_UNTIL = 0.73
SETTLED, FOUND = 0.02, 0.25  # rates at which the towers come to rest, and at which they begin to find
LOOKING = {"strips": 16, "pages": 0, "shapes": 10, "charts": 1, "clips": 5}
SETTLING = {"strips": 10, "pages": 1, "shapes": 6, "charts": 2, "clips": 4}  # pages: as reading is asked for
FINDING = SETTLING | {"shapes": 9}
THIRDS = (("left", "middle", "right"), ("top", "middle", "bottom"))
EVENLY = Weights(blank=0.15, ground=1.0)
EXACTLY = Weights(blank=0.4, ground=0.1)  # each shape is found once, and has its own colour
BLANK = 0.15  # how much a place counts where nothing is
PLACED = 8.0  # how much a place counts, where a whole side is 2 long
DENSE = 0.5  # how much what the towers learn alone counts beside the answers
STATE, TABLE, MODEL = "senses.pt", "senses.csv", "whole"


class Named(nn.Module):
    """A head that knows things by the decoder's own embeddings of their names.

    So soft tokens come to look like the words for what they show, which the decoder knows how to handle.
    names: token ids of each.
    """

    def __init__(self, model: Gemma4, names: list[list[int]]) -> None:
        super().__init__()
        table = model.model.language_model.embed_tokens.weight.detach()
        means = torch.stack([table[ids].mean(0) for ids in names])
        self.register_buffer("names", F.normalize(means, dim=-1))  # (names, C)
        self.nothing = nn.Parameter(torch.zeros(table.shape[1]))
        self.sharpness = nn.Parameter(torch.tensor(10.0))

    def forward(self, soft: Tensor) -> Tensor:
        """(S, C) -> (S, 1 + names), the first for nothing."""
        known = torch.cat((self.nothing[None], self.names))
        return self.sharpness * F.normalize(soft, dim=-1) @ known.T


class Senses(nn.Module):
    """The model, with heads that say what its soft tokens hold; the heads are thrown away after training."""

    def __init__(
        self,
        model: Gemma4,
        vocabulary: Callable[[Sequence[str]], list[list[int]]],
        language_loss: Callable[[Gemma4, Batch, Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.model = model
        self.language_loss = language_loss
        width = model.config.text.hidden_size
        self.letters = nn.Linear(width, POOLING * (len(LETTERS) + 1))
        self.before = nn.Linear(width, len(LETTERS) + 2)
        self.kinds, self.colors = Named(model, vocabulary(KINDS)), Named(model, vocabulary(COLORS))
        self.first = Named(model, vocabulary(LETTERS))
        self.values = Named(model, vocabulary([str(value + 1) for value in range(TOP)]))
        self.across, self.down = (Named(model, vocabulary(names)) for names in THIRDS)
        self.place = nn.Linear(width, 2)
        self.words = nn.Linear(width, len(SAID) + 1)
        inner = (len(LETTERS) + 1, len(KINDS) + 1, len(COLORS) + 1, TOP + 1)
        self.patches = nn.ModuleList(nn.Linear(VISION.hidden_size, count) for count in inner)
        # shares of places that were named rightly, since the last line
        self.right: dict[str, list[float]] = {}

    def named(self, soft: Tensor, marks: Tensor, weights: Weights) -> Tensor:
        """The loss of naming what each soft token of an image (S, C) holds; see `SensesBatch`."""
        letters = self.letters(soft).view(len(soft) * POOLING, -1)
        loss = self._cross_entropy("letters", letters, marks[:, :POOLING].reshape(-1))
        firsts = first_letter(marks[:, :POOLING])
        loss = loss + self._cross_entropy("first", self.first(soft), firsts)
        loss = loss + self._cross_entropy("before", self.before(soft), marks[:, POOLING + 2])
        loss = loss + self._cross_entropy("kinds", self.kinds(soft), marks[:, POOLING], weights.blank)
        loss = loss + self._cross_entropy("values", self.values(soft), marks[:, POOLING + 3])
        counts = torch.where(marks[:, POOLING] > 0, 1.0, weights.ground)
        loss = loss + self._cross_entropy("colors", self.colors(soft), marks[:, POOLING + 1], counts=counts)
        return loss + self.placed(soft, marks[:, POOLING + 4 :])

    def placed(self, soft: Tensor, places: Tensor) -> Tensor:
        """The loss of knowing where something lies in its picture; places: (S, 2), 1 to BINS or IGNORED."""
        known = places[:, 0] > 0
        if not known.any():
            return soft.sum() * 0
        soft, places = soft[known], places[known]
        loss = PLACED * F.mse_loss(self.place(soft), (2 * places - 1) / BINS - 1)
        for what, head, at in (("across", self.across, 0), ("down", self.down, 1)):
            loss = loss + self._cross_entropy(what, head(soft), (3 * places[:, at] - 1) // BINS + 1)
        return loss

    def noticed(self, hidden: Tensor, marks: Tensor) -> Tensor:
        """The loss of naming what each patch (N, D) is a part of; marks: (N, PATCH_MARKS)."""
        normed = rms_norm(hidden, None, VISION.rms_norm_eps)
        named = zip(("letter", "kind", "color", "value"), self.patches, marks.T, strict=True)
        losses = [self._cross_entropy(f"{what}_of_patch", head(normed), said) for what, head, said in named]
        return torch.stack(losses).sum()

    def heard(self, soft: Tensor, said: Tensor) -> Tensor:
        """The loss of naming the word that each soft token of a clip (A, C) ends; said: (A,)."""
        return self._cross_entropy("words", self.words(soft), said)

    def _cross_entropy(
        self, what: str, logits: Tensor, targets: Tensor, blank: float = BLANK, counts: Tensor | None = None
    ) -> Tensor:
        if not (targets > 0).any():
            return logits.sum() * 0
        weights = torch.where(targets == 0, blank, 1.0) * (targets != IGNORED)
        weights = weights if counts is None else weights * counts
        said = logits.argmax(-1)
        counted = (targets > 0) | ((targets == 0) & (said > 0))  # what is there, and what only seems to be
        self.right.setdefault(what, []).append((said == targets)[counted].float().mean().item())
        losses = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
        return (losses * weights).sum() / weights.sum()

    def tell(self) -> str:
        """The shares that were right since the last call."""
        said = " ".join(f"{what} {sum(r) / len(r):.3f}" for what, r in sorted(self.right.items()))
        self.right.clear()
        return said


def first_letter(letters: Tensor) -> Tensor:
    """The leftmost letter of each soft token, 0 for none; letters: (S, POOLING), see `Seen.marks`."""
    place = (letters != 0).int().argmax(-1, keepdim=True)
    return letters.gather(-1, place)[:, 0]


def senses_loss(senses: Senses, batch: SensesBatch) -> Tensor:
    """What is named wrongly, and answered wrongly where the batch has questions."""
    model = senses.model
    parts, losses = [], []
    if batch.grids:
        tower = model.model.vision_tower
        with torch.set_grad_enabled(not batch.frozen):
            hidden = tower.encode_patches(batch.pixels, batch.positions, batch.grids)
            pooled = tower.pool(hidden, batch.grids)
        if not batch.frozen:
            losses.append(senses.noticed(hidden, batch.patch_marks))
        parts.append(model.model.embed_vision(pooled))
        losses.append(senses.named(parts[-1], batch.marks, batch.weights))
    if batch.mel:
        with torch.set_grad_enabled(not batch.frozen):
            clips = torch.cat(model.model.audio_tower(batch.mel))
        parts.append(model.model.embed_audio(clips))
        losses.append(senses.heard(parts[-1], batch.said))
    dense = torch.stack(losses).sum()
    if batch.text is None:
        return dense
    soft = torch.cat(parts)[batch.order]
    room = batch.text.ids.numel() - len(soft)
    answers = senses.language_loss(model, batch.text, F.pad(soft, (0, 0, 0, room)))
    senses.right.setdefault("answers", []).append(answers.item())
    return answers + DENSE * dense


def from_text(folder: Path, seed: int) -> Gemma4:
    """The whole model, its decoder as the text stage left it in <folder>/model, its towers at their start."""
    model = Gemma4(nano_config(folder / "tokenizer"))
    initialise(model, seed)
    plant_neighbours(model.model.vision_tower)
    trained = load(str(folder / "model"), device="cpu", dtype="float32", offline=True).model.state_dict()
    model.load_state_dict(trained, strict=False)
    return model


def teach(command: TrainCommand) -> None:
    """Trains nano's senses and writes its model folder.  Raises BadTraining for unusable data or state."""
    folder = command.folder
    model = from_text(folder, command.seed).to(command.device)
    drawer = Drawer(Tokenizer.from_file(str(folder / "tokenizer/tokenizer.json")), open_bank(BANK))
    kept = texts(folder / "kept.npz", model.config)
    phases = (
        Phase("looking", Looking(drawer, EVENLY, **LOOKING), LOOKING_UNTIL),
        Phase("settling", Looking(drawer, EVENLY, **SETTLING), SETTLING_UNTIL, last_rate=SETTLED),
        Phase("finding", Looking(drawer, EXACTLY, **FINDING), FINDING_UNTIL, rate=FOUND, last_rate=SETTLED),
        Phase("small", Asking(drawer, SMALL_MIX, kept, TEXT_ROWS, frozen=True), SMALL_UNTIL),
        Phase("large", Asking(drawer, LARGE_MIX, kept, TEXT_ROWS, frozen=True), 1.0),
    )
    options = Options(
        shape=SHAPE,
        rates=RATES,
        budget=Budget(minutes=command.minutes),
        schedule=SCHEDULE,
        seed=command.seed,
    )
    senses = Senses(
        model, drawer.vocabulary, compiled(mean_loss) if command.compiled and can_compile() else mean_loss
    )
    training = Training(senses, phases, options, senses_loss)
    state = folder / STATE
    if command.resume:
        training.resume(state)
    elif (folder / TABLE).exists():
        (folder / TABLE).unlink()
    log = TrainingLog(folder / TABLE, every_s=20.0)
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"nano: {weights / 1e6:.2f} M weights, {command.minutes:g} minutes", file=sys.stderr)
    saved = exported = told = time.monotonic()
    for report in training.steps():
        log.add(report)
        if time.monotonic() - told >= 20.0:
            print(f"  {senses.tell()}", file=sys.stderr, flush=True)
            told = time.monotonic()
        if time.monotonic() - saved >= SAVE_EVERY_S:
            training.save(state)
            saved = time.monotonic()
        if time.monotonic() - exported >= EXPORT_EVERY_S:
            export(model, folder / "tokenizer", folder / "latest")
            exported = time.monotonic()
    log.close()
    training.save(state)
    export(model, folder / "tokenizer", folder / MODEL)
    if command.package:
        package(folder / MODEL)
    print(f"nano: written to {folder / MODEL}", file=sys.stderr)
