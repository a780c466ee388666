"""Rows in tiles: the same numbers to the last bit, whatever runs beside them."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from gemcut.engine.pages import PageLayout
from gemcut.engine.progress import Key
from gemcut.engine.request import MediaSpan, Request
from gemcut.engine.runner import Runner
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.model.gemma4 import Gemma4
from tests.parity.tiny import TINY, fill, model_config

LAYOUT = {"page_tokens": 4, "full_pages": 200, "sliding_pages": 200}
Results = dict[Key, list[Tensor]]


def model_of(size: str, dtype: torch.dtype) -> Gemma4:
    model = Gemma4(model_config(TINY[size])).requires_grad_(False)
    fill(model, seed=0)
    return model.to(dtype)


def results(
    model: Gemma4, requests: list[Request], soft: Mapping[int, Tensor], step_tokens: int, tiled: bool = True
) -> Results:
    """The logits behind each request's tokens, greedily chosen; a request comes every other step."""
    layout = PageLayout(window=model.config.text.sliding_window, **LAYOUT)
    limits = Limits(step_tokens=step_tokens, max_running=4)
    scheduler, runner = Scheduler(layout, limits), Runner(model, layout, int8=False, batch_invariant=tiled)
    found: Results = {(request.id, 0): [] for request in requests}
    coming, step = list(requests), 0
    while coming or scheduler.waiting or scheduler.running:
        if coming and step % 2 == 0:
            scheduler.add(coming.pop(0))
        step += 1
        planned = scheduler.next_step({})
        made, ended = {}, []
        for rows, hidden in zip(planned, runner.run(planned, soft), strict=True) if planned else ():
            if rows.chooses:
                logits = runner.logits(hidden[-1:])[0]
                seen = found[rows.progress.key]
                seen.append(logits)
                made[rows.progress.key] = (int(logits.argmax()),)
                if len(seen) == rows.progress.request.max_tokens:
                    ended.append(rows.progress.key)
        scheduler.commit(made, ended)
    return found


def request(number: int, length: int, image: int = 0) -> tuple[Request, Tensor]:
    """A prompt with an image of so many soft tokens in it, if any."""
    ids = [110 + (number * 31 + place * 7) % 150 for place in range(length)]
    soft = torch.randn(image, 48, generator=torch.Generator().manual_seed(number))
    spans = (MediaSpan(5, 5 + image, bytes([number]), whole=True),) if image else ()
    return Request(id=number, prompt_ids=tuple(ids), max_tokens=6, media=spans), soft


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", list(TINY))
def test_logits_are_the_same_alone_and_in_any_company(size: str, dtype: torch.dtype) -> None:
    model = model_of(size, dtype)
    image = 20 if model.config.text.bidirectional_images else 0
    asked = [request(1, 37), request(2, 30, image), request(3, 5), request(4, 21)]
    width = model.config.text.hidden_size
    soft = {one.id: tokens[:, :width].to(dtype) for one, tokens in asked}
    together = results(model, [one for one, _ in asked], soft, step_tokens=24)
    for one, _ in asked:
        (alone,) = results(model, [one], soft, step_tokens=64).values()
        for here, there in zip(together[one.id, 0], alone, strict=True):
            assert torch.equal(here, there)


def test_without_tiles_the_last_bits_depend_on_the_company() -> None:
    """So the test above can fail."""
    model = model_of("e2b", torch.float32)
    asked = [request(number, 20 + number)[0] for number in range(5)]
    together = results(model, asked, {}, step_tokens=24, tiled=False)
    differ = 0
    for one in asked:
        (alone,) = results(model, [one], {}, step_tokens=64, tiled=False).values()
        differ += sum(not torch.equal(a, b) for a, b in zip(together[one.id, 0], alone, strict=True))
    assert differ > 0
