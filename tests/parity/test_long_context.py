"""Positions at the ends of the models' contexts: the same logits as transformers', far from the beginning."""

from dataclasses import replace

import pytest
import torch

from gemcut.config import Rope
from gemcut.engine.pages import PageLayout
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.model.step import whole_sequences
from tests.parity.tiny import TINY, greedy, pair

TOLERANCE = 2e-4
LENGTH = 60
ENDS = {"e2b": 131_072, "31b": 262_144}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("rotated", [0.25, 1.0])
@torch.inference_mode()
def test_logits_at_the_end_of_the_context_equal_transformers(name: str, rotated: float) -> None:
    """RoPE and attention with positions up to the very last one."""
    end = ENDS[name]
    text = replace(
        TINY[name],
        max_position_embeddings=end,
        global_rope=Rope(theta=TINY[name].global_rope.theta, rotated=rotated),
    )
    ours, theirs = pair(text)
    ids = torch.randint(20, 300, (1, LENGTH), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(end - LENGTH, end)
    want = theirs(ids, position_ids=positions[None]).logits[0]
    step = replace(whole_sequences([LENGTH], text, torch.device("cpu")), positions=positions)
    got = ours.logits(ours(ours.embed(ids[0]), step))
    torch.testing.assert_close(got, want, atol=TOLERANCE, rtol=0)
    one_off = replace(step, positions=torch.cat((positions[:-1], positions[-1:] - 1)))
    moved = ours.logits(ours(ours.embed(ids[0]), one_off))
    assert float((moved - want).abs().max()) > TOLERANCE


@pytest.mark.parametrize(("name", "length"), [("e2b", 5000), ("31b", 2000)])
def test_a_prompt_of_many_windows_is_read_with_pages_for_one(name: str, length: int) -> None:
    """In sliding layers there is memory for a window of 24 and the rows of a step, no more."""
    text = replace(TINY[name], max_position_embeddings=8192)
    ours, _ = pair(text, dtype=torch.float64)
    ids = torch.randint(20, 300, (length,), generator=torch.Generator().manual_seed(0)).tolist()
    layout = PageLayout(
        page_tokens=16, window=24, full_pages=2 + (length + 4) // 16, sliding_pages=3 + (24 + 512) // 16
    )
    scheduler, runner = Scheduler(layout, Limits(step_tokens=512, max_running=1)), Runner(ours, layout, False)
    scheduler.add(Request(id=0, prompt_ids=tuple(ids), max_tokens=4))
    made: list[int] = []
    while len(made) < 4:
        (rows,) = scheduler.next_step({})
        (hidden,) = runner.run([rows], {})
        if rows.chooses:
            made.append(int(runner.logits(hidden)[-1].argmax()))
        scheduler.commit({rows.progress.key: made[-1:]}, ())
    assert made == greedy(ours, ids, 4)
