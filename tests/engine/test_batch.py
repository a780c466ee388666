"""Steps over pages give each row what it gives in one whole forward; small mistakes do not go unseen."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gemcut.engine.batch import Batch, BatchBuilder
from gemcut.engine.pages import PageLayout
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.kernels.page_pool import RowLayout
from gemcut.kernels.page_sight import PageSight
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import whole_sequences
from tests.parity.tiny import TINY, fill, model_config

PAGE, PROMPT, REPLY = 4, 61, 9
Mutant = Callable[[Batch], Batch]


@pytest.fixture(scope="module", params=["e2b", "31b"])
def model(request: pytest.FixtureRequest) -> Gemma4:
    model = Gemma4(model_config(TINY[request.param])).requires_grad_(False)
    fill(model, seed=0)
    return model.double()


def ids_of(number: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(number)
    return tuple(torch.randint(20, 300, (PROMPT + REPLY,), generator=generator).tolist())


def through_pages(model: Gemma4, int8: bool = False) -> Tensor:
    """Hidden states of all rows of two known sequences: prompts in chunks, then one by one."""
    layout = PageLayout(page_tokens=PAGE, window=24, full_pages=60, sliding_pages=60)
    scheduler = Scheduler(layout, Limits(step_tokens=40, max_running=2))
    runner = Runner(model, layout, int8)
    found: dict[int, list[Tensor]] = {0: [], 1: []}
    for number in found:
        scheduler.add(
            Request(id=number, prompt_ids=ids_of(number)[:PROMPT], max_tokens=REPLY + 1, score_prompt=True)
        )
    while scheduler.running or scheduler.waiting:
        planned = scheduler.next_step({})
        made, ended = {}, []
        for rows, hidden in zip(planned, runner.run(planned, {}), strict=True):
            found[rows.progress.request.id].append(hidden)
            known, ids = rows.start + len(rows.ids), ids_of(rows.progress.request.id)
            if rows.chooses:
                made[rows.progress.key] = ids[known : known + 1] or (5,)
            if known == len(ids):
                ended.append(rows.progress.key)
        scheduler.commit(made, ended)
    return torch.cat(found[0] + found[1])


@torch.inference_mode()
def at_once(model: Gemma4) -> Tensor:
    ids = torch.tensor(ids_of(0) + ids_of(1))
    lengths = [PROMPT + REPLY] * 2
    return model(model.embed(ids), whole_sequences(lengths, model.config.text, torch.device("cpu")))


def on_sights(kind: str, change: Callable[[PageSight], PageSight]) -> Mutant:
    def mutate(batch: Batch) -> Batch:
        sights = {**batch.step.sights, kind: change(batch.step.sights[kind])}
        return replace(batch, step=replace(batch.step, sights=sights))

    return mutate


def a_slot_further(batch: Batch) -> Batch:
    writer = batch.step.writer
    slots = {**writer.slots, "full_attention": writer.slots["full_attention"].clone()}
    slots["full_attention"][0] += 1
    return replace(batch, step=replace(batch.step, writer=replace(writer, slots=slots)))


def without_its_second_page(sight: PageSight) -> PageSight:
    tables = sight.tables.clone()
    tables[:, 1:2] = tables[:, :1]
    return replace(sight, tables=tables)


MUTANTS: dict[str, Mutant] = {
    "a window that is one too short": on_sights(
        "sliding_attention", lambda sight: replace(sight, lows=torch.where(sight.lows > 0, sight.lows + 1, 0))
    ),
    "a window that is one too long": on_sights(
        "sliding_attention", lambda sight: replace(sight, lows=(sight.lows - 1).clamp(min=0))
    ),
    "a row written one slot further": a_slot_further,
    "a page that is missed, full": on_sights("full_attention", without_its_second_page),
    "a page that is missed, sliding": on_sights("sliding_attention", without_its_second_page),
}


def test_steps_over_pages_give_what_one_forward_gives(model: Gemma4) -> None:
    torch.testing.assert_close(through_pages(model), at_once(model), atol=1e-9, rtol=0)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_small_mistakes_move_the_rows_far(
    mutant: str, model: Gemma4, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = BatchBuilder.build
    monkeypatch.setattr(BatchBuilder, "build", lambda self, planned: MUTANTS[mutant](build(self, planned)))
    error = float((through_pages(model) - at_once(model)).abs().max())
    assert not error <= 1e-3  # where nothing was written there may be anything, also no number


@pytest.mark.parametrize("wrong", ["the rotated dimensions", "all dimensions", "none"])
def test_a_weight_folded_into_the_wrong_dimensions_is_seen(
    wrong: str, model: Gemma4, monkeypatch: pytest.MonkeyPatch
) -> None:
    def queries(self: RowLayout, q: Tensor, weight: Tensor) -> Tensor:
        if self.rotated is None:
            return q
        turned, middle = self._split(q)
        turned_weight, middle_weight = self._split(weight)
        if wrong != "none":
            turned = turned * turned_weight
        if wrong == "all dimensions":
            middle = middle * middle_weight
        return torch.cat((turned, middle), dim=-1)

    monkeypatch.setattr(RowLayout, "queries", queries)
    moved = float((through_pages(model) - at_once(model)).abs().max()) > 1e-3
    assert moved == model.config.text.attention_k_eq_v


def test_int8_changes_the_rows_a_little(model: Gemma4) -> None:
    want = at_once(model)
    error = through_pages(model, int8=True) - want
    assert 1e-5 < float(error.square().mean().sqrt() / want.square().mean().sqrt()) < 0.02
