"""What putting each part of nano into blocks costs: perplexity and task scores, as a table in Markdown.

    python -m bench.blocks --cases 40

Weights are given the values that their blocks stand for: the table says what rounding the weights costs.
(Native code for blocks rounds the rows that it multiplies to int8, too; that is not in the table.)  nano has
rows that are no multiple of 32, the per-layer table's among them, and `quantize` leaves those; here they are
filled up with zeros, so that the table says what would be lost in the other sizes, where all rows fit.
"""

import argparse
import math
import sys
from collections.abc import Iterator

import tokenizers
import torch
import torch.nn.functional as F

from gemcut.api import Gemma
from gemcut.checkpoint.block_names import form_of
from gemcut.config import BlockForm, Quantization
from gemcut.engine.sampling_params import SamplingParams
from gemcut.evals.task import Case
from gemcut.kernels.block_layout import VALUES
from gemcut.kernels.blocks import from_blocks, to_blocks
from gemcut.many import Question
from gemcut.reply import Reply
from recipes.nano.build_data import draw_rng
from recipes.nano.evaluate import ANSWER_TOKENS, held_out_tasks
from recipes.nano.mix import TASKS
from recipes.nano.render import encode

PARTS = ("projections", "embedding", "per_layer_table")


def choice(**forms: BlockForm) -> Quantization:
    """These parts in blocks, the others as they are."""
    return Quantization(**{part: forms.get(part) for part in PARTS})


CHOICES = {
    "as trained": choice(),
    "int8, everything": choice(projections="int8", embedding="int8", per_layer_table="int8"),
    "int4, projections alone": choice(projections="int4"),
    "int4, embedding and head alone": choice(embedding="int4"),
    "int4, per-layer table alone": choice(per_layer_table="int4"),
    "int4, embedding and head in int8": choice(projections="int4", embedding="int8", per_layer_table="int4"),
    "int4, everything": choice(projections="int4", embedding="int4", per_layer_table="int4"),
}


def rounded(weight: torch.Tensor, form: BlockForm) -> torch.Tensor:
    """The values of the weight's blocks, its rows filled up where they must be."""
    width = weight.shape[-1]
    filled = F.pad(weight.float(), (0, -width % VALUES))
    return from_blocks(to_blocks(filled, form), form, torch.float32)[..., :width]


def load(model: str, quantization: Quantization) -> Gemma:
    """The model, its weights rounded.  Anew each time: an engine keeps what it computed."""
    gemma = Gemma.load(model, device="cpu")
    for name, parameter in gemma.model.named_parameters():
        form = form_of(name, quantization)
        if form is not None:
            parameter.data = rounded(parameter.data, form)
    return gemma


def held_out(gemma: Gemma, count: int) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Conversations of every task in words not seen in training: ids, and which of them the model says."""
    tokenizer = tokenizers.Tokenizer.from_file(str(gemma._loaded.folder / "tokenizer.json"))
    rng = draw_rng(0, "perplexity", 0)
    examples = [draw(rng, "held_out") for draw in TASKS.values() for _ in range(count)]
    for ids, mask in encode(tokenizer, examples):
        yield [int(number) for number in ids], torch.from_numpy(mask).bool()


def perplexity(gemma: Gemma, count: int) -> float:
    """Of what the model is to say, over `count` conversations of each task."""
    total, tokens = 0.0, 0
    for ids, said in held_out(gemma, count):
        losses = F.cross_entropy(gemma.logits(ids)[:-1], torch.tensor(ids[1:]), reduction="none")
        total += losses[said[1:]].sum().item()
        tokens += int(said[1:].sum())
    return math.exp(total / tokens)


def scores(gemma: Gemma, cases: int) -> dict[str, float]:
    """The share of right answers in every task, greedily, all replies made together."""
    sampling = SamplingParams(temperature=0, max_tokens=ANSWER_TOKENS)

    def question(case: Case) -> Question:
        tools = list(case.tools) if case.tools else None
        return Question(list(case.messages), {"tools": tools, "think": case.think, "sampling": sampling})

    tasks = held_out_tasks(cases)
    asked = [(task, case) for task in tasks for case in task.cases]
    right = dict.fromkeys((task.name for task in tasks), 0)
    for place, reply in gemma.replies([question(case) for _, case in asked]):
        task, case = asked[place]
        assert isinstance(reply, Reply), reply
        right[task.name] += task.score(reply, case.wanted)
    return {task.name: right[task.name] / len(task.cases) for task in tasks}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.blocks", description=__doc__)
    parser.add_argument("model", nargs="?", default="nano")
    parser.add_argument("--cases", type=int, default=40, help="of each task")
    parser.add_argument(
        "--rows", nargs="*", choices=CHOICES, default=list(CHOICES), help="only these rows of the table"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = [task.name for task in held_out_tasks(1)]
    print(f"| weights | perplexity | mean | {' | '.join(names)} |")
    print("|---|--:|--:|" + "--:|" * len(names))
    for label in args.rows:
        gemma = load(args.model, CHOICES[label])
        found = scores(gemma, args.cases)
        cells = " | ".join(f"{found[name]:.0%}" for name in names)
        mean = sum(found.values()) / len(found)
        print(f"| {label} | {perplexity(gemma, args.cases):.4f} | {mean:.1%} | {cells} |")
        sys.stdout.flush()
        gemma.close()


if __name__ == "__main__":
    main()
