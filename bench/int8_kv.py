"""What int8 keys and values cost in exactness: nano on its held-out conversations, tiny models at random.

    python -m bench.int8_kv [--cases 12]

Each text is read through pages in chunks of 64 tokens, in the model's dtype and in int8, and compared with
one forward without a cache: perplexity, logits' root mean square error against their spread, and how often
the likeliest token is another one.
"""

import argparse
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gemcut.api import Gemma
from gemcut.engine.memory import kind_memory
from gemcut.engine.pages import PageLayout
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import whole_sequences
from recipes.nano.evaluate import held_out_tasks
from tests.parity.tiny import TINY, fill, model_config


@dataclass(frozen=True)
class Text:
    """Tokens, of which those from `begin` to `end` - 1 are scored."""

    ids: tuple[int, ...]
    begin: int
    end: int


Texts = list[Text]


def nano_texts(gemma: Gemma, cases: int) -> Texts:
    """Held-out conversations with the answers that are wanted, where these are texts; answers are scored."""
    found = []
    close = gemma.tokenizer.special.turn_close
    for task in held_out_tasks(cases):
        for case in task.cases:
            if isinstance(case.wanted, str):
                answer = {"role": "assistant", "content": case.wanted}
                messages = [*case.messages, answer, {"role": "user", "content": "Thank you."}]
                begin = len(gemma.prompt(list(case.messages), tools=list(case.tools)).token_ids)
                ids = gemma.prompt(messages, tools=list(case.tools)).token_ids
                found.append(Text(ids, begin, ids.index(close, begin) + 1))
    return found


def random_texts(cases: int) -> Texts:
    """Token ids without any sense, for random weights."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(20, 300, (cases, 300), generator=generator).tolist()
    return [Text(tuple(row), 1, 300) for row in ids]


@torch.inference_mode()
def at_once(model: Gemma4, ids: tuple[int, ...]) -> Tensor:
    """Logits (T, V) without a cache."""
    step = whole_sequences([len(ids)], model.config.text, torch.device("cpu"))
    return model.logits(model(model.embed(torch.tensor(ids)), step))


def through_pages(model: Gemma4, texts: Texts, int8: bool) -> list[Tensor]:
    """Logits (T, V) of each text."""
    window = model.config.text.sliding_window
    most = max(len(text.ids) for text in texts)
    layout = PageLayout(
        page_tokens=16, window=window, full_pages=3 + most // 16, sliding_pages=8 + (window + 64) // 16
    )
    scheduler, runner = (
        Scheduler(layout, Limits(step_tokens=64, max_running=1)),
        Runner(model, layout, int8),
    )
    found = []
    for number, ids in enumerate([text.ids for text in texts]):
        scheduler.add(Request(id=number, prompt_ids=ids, max_tokens=1, score_prompt=True))
        parts, rows_read = [], 0
        while rows_read < len(ids):
            (rows,) = scheduler.next_step({})
            parts.append(runner.logits(runner.run([rows], {})[0]))
            rows_read += len(rows.ids)
            if rows.chooses:
                scheduler.cancel(number)
            scheduler.commit({}, ())
        found.append(torch.cat(parts))
    return found


def perplexity(logits: list[Tensor], texts: Texts) -> float:
    """Of the tokens that are scored."""
    losses = []
    for each, text in zip(logits, texts, strict=True):
        ids = torch.tensor(text.ids[text.begin : text.end])
        rows = each[text.begin - 1 : text.end - 1].double()
        losses.append(torch.nn.functional.cross_entropy(rows, ids, reduction="sum"))
    return math.exp(float(sum(losses)) / sum(text.end - text.begin for text in texts))


def row(name: str, model: Gemma4, texts: Texts) -> str:
    """A line of the table."""
    want = [at_once(model, text.ids) for text in texts]
    exact, int8 = (through_pages(model, texts, how) for how in (False, True))
    there, mine = torch.cat(want).double(), torch.cat(int8).double()
    error = (mine - there).square().mean().sqrt() / there.std()
    other = (mine.argmax(-1) != there.argmax(-1)).double().mean()
    text, width = model.config.text, next(model.parameters()).dtype.itemsize
    usual, small = (
        sum(
            kind_memory(text, kind, size, compact=True).token_bytes
            for kind in ("full_attention", "sliding_attention")
        )
        for size in (width, 1)
    )
    figures = [perplexity(logits, texts) for logits in (want, exact, int8)]
    return (
        f"{name:16} {usual:6d} {small:6d}   {figures[0]:10.4f} {figures[1]:10.4f} {figures[2]:10.4f}"
        f"   {100 * error:6.3f} %   {100 * other:5.2f} %"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=12)
    args = parser.parse_args()
    print("model            bytes a token   perplexity: at once, pages, int8   logits' error   other token")
    gemma = Gemma.load("nano", device="cpu")
    print(row("nano", gemma._loaded.model, nano_texts(gemma, args.cases)))
    for name, text in TINY.items():
        model = Gemma4(model_config(text)).requires_grad_(False)
        fill(model, seed=0)
        print(row(f"tiny {name}", model, random_texts(args.cases)))


if __name__ == "__main__":
    main()
