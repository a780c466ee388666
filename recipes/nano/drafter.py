"""The drafter stage: an assistant for nano, which learns to say what nano says next.

It is taught on nano's own greedy replies: on the training texts, at every place up to which nano itself would
have said the text.  From such a place it drafts several tokens, each from the row that it handed on to
itself, as it will in the engine; what is right is nano's own choice, there and at the places behind.

Letters: G texts, T tokens of a text, M places to draft from, B nano's width, V vocabulary.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import gemcut
from gemcut.checkpoint.write import write_checkpoint
from gemcut.config import DrafterConfig, TextConfig
from gemcut.kernels.attention import Sight
from gemcut.load import load
from gemcut.model.drafter import Drafter, FreshKeys
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import Step, packed_step
from gemcut.train.examples import Examples, read_examples
from gemcut.train.initial import initialise
from gemcut.train.schedule import Schedule

PACKAGED = Path(gemcut.__file__).parent / "nano" / "drafter"
TEXTS = 32  # of a batch, of about the same length
POOL = 16  # batches' worth of texts that are sorted by length together
LONGEST = 384  # tokens of a text
ROUNDS = 5  # tokens that are drafted from each place
RATE = 4e-3
SCHEDULE = Schedule(warm_up=50, decay_from=0.3)
HELD_OUT = 512  # texts, the last ones, to measure on
SAVE_EVERY_S = 60.0
TELL_EVERY = 50  # updates


@dataclass(frozen=True, kw_only=True)
class DrafterCommand:
    """What the command line said.

    model: nano, or the folder of another state of it.  steps: at most so many updates, None for no limit.
    """

    folder: Path
    model: str
    minutes: float
    seed: int
    resume: bool
    package: bool  # whether the drafter goes to where gemcut finds it
    steps: int | None


def drafter_config(target: TextConfig) -> DrafterConfig:
    """Four layers, as all assistants have, of a bit more than half of nano's width."""
    text = replace(
        target,
        hidden_size=96,
        intermediate_size=256,
        layer_types=("sliding_attention", "sliding_attention", "sliding_attention", "full_attention"),
        num_kv_shared_layers=4,
        use_double_wide_mlp=False,
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=0,
        final_logit_softcapping=None,
    )
    return DrafterConfig(text=text, backbone_hidden_size=target.hidden_size, clusters=None, dtype="bfloat16")


@dataclass(frozen=True)
class Texts:
    """A batch.  ids: (G, T) int64.  learnt: (G, T) bool, what nano is to say.  lengths: (G,)."""

    ids: Tensor
    learnt: Tensor
    lengths: Tensor


def texts(examples: Examples, seed: int, skip: int) -> Iterator[Texts]:
    """Batches for ever, without the first `skip`; the same for the same seed."""
    short = np.flatnonzero(examples.lengths <= LONGEST)
    number = epoch = 0
    while True:
        order = np.random.default_rng((seed, epoch)).permutation(short)
        for start in range(0, len(order) - TEXTS * POOL + 1, TEXTS * POOL):
            pool = order[start : start + TEXTS * POOL]
            pool = pool[np.argsort(examples.lengths[pool], kind="stable")]
            for batch in np.random.default_rng((seed, epoch, start)).permutation(pool.reshape(POOL, TEXTS)):
                if number >= skip:
                    yield padded(examples, batch)
                number += 1
        epoch += 1


def padded(examples: Examples, chosen: np.ndarray) -> Texts:
    """These examples as rows of one length."""
    lengths = examples.lengths[chosen]
    ids = np.zeros((len(chosen), int(lengths.max())), np.int64)
    learnt = np.zeros(ids.shape, bool)
    for row, index in enumerate(chosen):
        part = slice(int(examples.offsets[index]), int(examples.offsets[index + 1]))
        ids[row, : lengths[row]], learnt[row, : lengths[row]] = examples.ids[part], examples.mask[part]
    return Texts(*(torch.from_numpy(x) for x in (ids, learnt, lengths.astype(np.int64))))


@dataclass(frozen=True)
class Lesson:
    """What nano makes of a batch, for a drafter to learn.

    hidden: (G, T, B), its rows.  choices: (G, T), the token that it would say behind each.
    places: (G, T) bool, tokens to draft from: those of its replies that it said itself.
    right: (G, T) bool, whether the text goes on with nano's choice.
    """

    texts: Texts
    hidden: Tensor
    choices: Tensor
    places: Tensor
    right: Tensor
    keys: FreshKeys


@torch.no_grad()
def lesson(model: Gemma4, batch: Texts) -> Lesson:
    """Nano reads the batch."""
    groups, size = batch.ids.shape
    place = torch.arange(size).expand(groups, -1)
    numbers = torch.where(place < batch.lengths[:, None], 0, -1)  # the padding sees itself alone
    keys = FreshKeys()
    step = replace(packed_step(numbers, place, model.config.text), writer=keys)
    hidden = model(model.embed(batch.ids.reshape(-1)), step)  # (G·T, B)
    choices = model.logits(hidden).argmax(-1).view(groups, size)
    following = F.pad(batch.ids[:, 1:], (0, 1))
    right = (choices == following) & (place < batch.lengths[:, None] - 1)
    places = batch.learnt & F.pad(right[:, :-1], (1, 0))
    return Lesson(batch, hidden.view(groups, size, -1), choices, places, right, keys)


def drafting_sights(lesson: Lesson, places: Tensor, text: TextConfig) -> dict[str, Sight]:
    """What rows at these places see: (G, R) -> earlier keys of their text, in sliding layers the nearest."""
    size = lesson.texts.ids.shape[1]
    distance = places[..., None] - torch.arange(size)  # (G, R, T)
    earlier = distance > 0
    near = earlier & (distance < text.sliding_window)
    groups = len(places)
    return {
        "full_attention": Sight(groups=groups, mask=earlier, causal=False),
        "sliding_attention": Sight(groups=groups, mask=near, causal=False),
    }


def spread(places: Tensor) -> tuple[Tensor, Tensor]:
    """As many places of each text, (G, R), and which of them count, from a (G, T) mask."""
    count = places.sum(1)
    most = max(1, int(count.max()))
    order = places.int().argsort(dim=1, descending=True, stable=True)[:, :most]  # places first, in order
    return order.clamp(min=1), torch.arange(most) < count[:, None]


def rounds(drafter: Drafter, model: Gemma4, lesson: Lesson) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Each round's logits (M, V), what nano says (M,), and which rows count, (M,) bool.

    A row counts as long as nano says the text that was drafted before.
    """
    text, (groups, size) = model.config.text, lesson.texts.ids.shape
    places, counts = spread(lesson.places)
    rows = places + size * torch.arange(groups)[:, None]  # (G, R) of the G·T rows
    step = Step(
        positions=places.reshape(-1), sights=drafting_sights(lesson, places, text), writer=None, outputs=None
    )
    seen = lesson.keys.seen(text)
    hidden = lesson.hidden.view(groups * size, -1)[rows.reshape(-1) - 1]
    ids, right, choices = (x.reshape(-1) for x in (lesson.texts.ids, lesson.right, lesson.choices))
    here, counts = rows.reshape(-1), counts.reshape(-1)
    ends = torch.arange(groups) * size + lesson.texts.lengths - 2  # the last tokens that something follows
    last = ends[:, None].expand_as(rows).reshape(-1)
    for _ in range(ROUNDS):
        counts = counts & (here <= last)
        here = torch.minimum(here, last)
        token = model.model.language_model.embed_tokens(ids[here], hidden.dtype)
        own = drafter(token, hidden, seen, step)
        yield drafter.logits(own), choices[here], counts
        hidden = drafter.hand_on(own, step)
        counts = counts & right[here]
        here = here + 1


def loss(drafter: Drafter, model: Gemma4, batch: Texts) -> Tensor:
    """Nats a drafted token, of all rounds together."""
    total, number = torch.zeros(()), 0
    for logits, wanted, counts in rounds(drafter, model, lesson(model, batch)):
        total = total + F.cross_entropy(logits[counts], wanted[counts], reduction="sum")
        number += int(counts.sum())
    return total / max(1, number)


@torch.no_grad()
def acceptance(drafter: Drafter, model: Gemma4, examples: Examples) -> list[float]:
    """Of the texts kept back, the share of drafts whose first 1, 2, 3 … tokens are all right."""
    kept, asked = torch.zeros(ROUNDS), torch.zeros(ROUNDS)
    chosen = np.arange(len(examples) - HELD_OUT, len(examples))
    for part in np.array_split(chosen[examples.lengths[chosen] <= LONGEST], HELD_OUT // TEXTS):
        agreed: Tensor | None = None
        for number, (logits, wanted, counts) in enumerate(
            rounds(drafter, model, lesson(model, padded(examples, part)))
        ):
            same = logits.argmax(-1) == wanted
            agreed = same if agreed is None else agreed & same
            kept[number] += (agreed & counts).sum()
            asked[number] += counts.sum()
    return (kept / asked.clamp(min=1)).tolist()


def start(config: DrafterConfig, seed: int) -> Drafter:
    """A drafter with random weights."""
    drafter = Drafter(config)
    initialise(drafter, seed)
    with torch.no_grad():  # its name begins as a norm's does
        weight = drafter.post_projection.weight
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed + 1)))
        weight.mul_(weight.shape[1] ** -0.5)
    return drafter


class DrafterTraining:
    """A drafter in training: its optimiser, and how far it is."""

    def __init__(self, model: Gemma4, command: DrafterCommand) -> None:
        self.model = model
        self.command = command
        self.drafter = start(drafter_config(model.config.text), command.seed)
        self.optimiser = torch.optim.AdamW(
            self.drafter.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.step = 0
        self.seconds = 0.0
        self.state = command.folder / "drafter.pt"

    @property
    def progress(self) -> float:
        """The share of the run that is over."""
        return self.seconds / (60 * self.command.minutes)

    @property
    def over(self) -> bool:
        """Whether the time, or the number of updates, is used up."""
        return self.progress >= 1 or self.step == self.command.steps

    def save(self) -> None:
        """Writes all that the rest of the run depends on."""
        saved = {"drafter": self.drafter.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save({**saved, "step": self.step, "seconds": self.seconds}, self.state)

    def resume(self) -> None:
        """Goes on from what was saved last, if anything was."""
        if not self.state.exists():
            return
        saved = torch.load(self.state)
        self.drafter.load_state_dict(saved["drafter"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.seconds = saved["step"], saved["seconds"]

    def update(self, batch: Texts) -> float:
        """One update; returns the loss before it."""
        begun = time.monotonic()
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * SCHEDULE.factor(self.step, self.progress)
        now = loss(self.drafter, self.model, batch)
        self.optimiser.zero_grad()
        now.backward()
        torch.nn.utils.clip_grad_norm_(self.drafter.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self.seconds += time.monotonic() - begun
        return float(now.detach())


def train_drafter(command: DrafterCommand) -> list[float]:
    """Trains the drafter and writes its folder, <folder>/drafter; returns what `acceptance` measures.

    Raises BadTraining and the errors of `load` for data and models that cannot be used.
    """
    model = load(command.model, device="cpu", dtype="float32", offline=True).model
    examples = read_examples(command.folder / "practice.npz")
    training = DrafterTraining(model, command)
    if command.resume:
        training.resume()
    weights = sum(parameter.numel() for parameter in training.drafter.parameters())
    print(f"drafter: {weights / 1e6:.2f} M weights, {command.minutes:g} minutes", file=sys.stderr)
    saved = time.monotonic()
    for batch in texts(replace(examples, offsets=examples.offsets[:-HELD_OUT]), command.seed, training.step):
        if training.over:
            break
        now = training.update(batch)
        if training.step % TELL_EVERY == 0:
            said = f"  {training.step} updates, {training.progress:.0%}, loss {now:.3f}"
            print(said, file=sys.stderr, flush=True)
        if time.monotonic() - saved >= SAVE_EVERY_S:
            training.save()
            saved = time.monotonic()
    training.save()
    found = acceptance(training.drafter, model, examples)
    print(f"  drafts right up to each place: {' '.join(f'{x:.1%}' for x in found)}", file=sys.stderr)
    write(training.drafter, command.folder / "drafter")
    if command.package:
        PACKAGED.mkdir(exist_ok=True)
        for file in sorted((command.folder / "drafter").iterdir()):
            shutil.copy(file, PACKAGED / file.name)
    return found


def write(drafter: Drafter, folder: Path) -> None:
    """Writes the drafter's folder: bfloat16 weights."""
    tensors = ((name, tensor.to(torch.bfloat16)) for name, tensor in drafter.state_dict().items())
    write_checkpoint(folder, drafter.config, tensors, extra_files={}, overwrite=True)
