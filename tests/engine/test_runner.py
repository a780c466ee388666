"""Planned steps over pages give what the naive loop gives, whatever runs beside."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gemcut.engine.pages import PageLayout
from gemcut.engine.request import MediaSpan, Request
from gemcut.engine.runner import Runner
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.model.gemma4 import Gemma4
from tests.parity.tiny import TINY, fill, greedy, model_config


@pytest.fixture(scope="module", params=list(TINY))
def model(request: pytest.FixtureRequest) -> Gemma4:
    torch.set_num_threads(1)
    model = Gemma4(model_config(TINY[request.param])).requires_grad_(False)
    fill(model, seed=0)
    return model.double()


def run_all(
    model: Gemma4, layout: PageLayout, limits: Limits, requests: list[Request], soft: dict[int, Tensor]
) -> dict[int, list[int]]:
    """The greedy replies of all requests, of which one comes every other step."""
    scheduler, runner = Scheduler(layout, limits), Runner(model, layout, int8=False)
    made: dict[int, list[int]] = {request.id: [] for request in requests}
    coming, step = list(requests), 0
    while coming or scheduler.waiting or scheduler.running:
        if coming and step % 2 == 0:
            scheduler.add(coming.pop(0))
        step += 1
        planned = scheduler.next_step({})
        results, ended = {}, []
        for rows, hidden in zip(planned, runner.run(planned, soft), strict=True) if planned else ():
            if not rows.chooses:
                continue
            token = int(runner.logits(hidden[-1:]).argmax())
            reply = made[rows.progress.request.id]
            reply.append(token)
            results[rows.progress.key] = (token,)
            if len(reply) == rows.progress.request.max_tokens:
                ended.append(rows.progress.key)
        scheduler.commit(results, ended)
    return made


def naive(model: Gemma4, request: Request, soft: Tensor) -> list[int]:
    return greedy(model, request.prompt_ids, request.max_tokens, soft)


@st.composite
def prompts(draw: st.DrawFn) -> list[tuple[list[int], int]]:
    """Prompts that share beginnings, and how many tokens follow."""
    shared = draw(st.lists(st.integers(3, 290), min_size=1, max_size=60))
    found = []
    for _ in range(draw(st.integers(1, 5))):
        kept = draw(st.integers(0, len(shared)))
        own = draw(st.lists(st.integers(3, 290), min_size=1, max_size=40))
        found.append((shared[:kept] + own, draw(st.integers(1, 12))))
    return found


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_prompts=prompts(),
    page_tokens=st.sampled_from([1, 4, 16]),
    step_tokens=st.integers(4, 40),
    spare=st.integers(0, 30),
)
def test_greedy_replies_equal_the_naive_loops(
    model: Gemma4, given_prompts: list[tuple[list[int], int]], page_tokens: int, step_tokens: int, spare: int
) -> None:
    longest = max(len(ids) + length for ids, length in given_prompts)
    window = model.config.text.sliding_window
    layout = PageLayout(
        page_tokens=page_tokens,
        window=window,
        full_pages=2 + longest // page_tokens + spare,
        sliding_pages=3 + (window + step_tokens) // page_tokens + spare,
    )
    requests = [
        Request(id=i, prompt_ids=tuple(ids), max_tokens=n) for i, (ids, n) in enumerate(given_prompts)
    ]
    made = run_all(model, layout, Limits(step_tokens=step_tokens, max_running=4), requests, {})
    for request in requests:
        assert made[request.id] == naive(model, request, torch.empty(0, 1))


@pytest.mark.parametrize("step_tokens", [7, 64])
def test_media_go_through_pages_as_through_the_naive_loop(model: Gemma4, step_tokens: int) -> None:
    """Images longer than a chunk, and longer than the window, and a beginning with the same image."""
    text = model.config.text
    image = model.config.media_tokens.image
    layout = PageLayout(page_tokens=4, window=text.sliding_window, full_pages=80, sliding_pages=60)
    generator = torch.Generator().manual_seed(0)
    requests, soft = [], {}
    whole = text.bidirectional_images
    for number, (before, tokens) in enumerate([(5, 9), (3, 40), (5, 9)]):
        ids = [*range(110, 110 + before), *[image] * tokens, *range(120, 131)]
        span = MediaSpan(before, before + tokens, bytes([tokens]), whole)
        requests.append(Request(id=number, prompt_ids=tuple(ids), max_tokens=8, media=(span,)))
        first = generator.manual_seed(tokens)
        soft[number] = torch.randn(tokens, text.hidden_size, generator=first, dtype=torch.float64)
    made = run_all(model, layout, Limits(step_tokens=step_tokens, max_running=3), requests, soft)
    for request in requests:
        assert made[request.id] == naive(model, request, soft[request.id])
    assert made[0] == made[2]
